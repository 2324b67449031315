"""Liveness, readiness, metrics, and KServe's own routes around them."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from graft_core.contracts.serving_metrics import LATENCY_BUCKETS_S, OUTCOMES
from graft_predictor.app.lean_kserve import load_kserve
from graft_predictor.app.server import mount, wrap
from graft_predictor.rest.body import Limits
from tests.predictor.builders import REVISION, Arm, a_json_task, a_label_task, an_arm
from tests.predictor.doubles import ScriptedEngine

# KServe 0.21 answers V1 with a response class that FastAPI has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:ORJSONResponse is deprecated")

LIMITS = Limits(max_body_bytes=10_000, read_timeout_s=1)


@pytest.mark.parametrize("address", ["/readyz", "/v2/health/ready", "/v2/models/shop/ready"])
async def test_readiness_is_the_truth_with_its_reason(address: str) -> None:
    arm = an_arm(is_ready=False)
    arm.service.enter("Verifying", "fetching", reason="Unavailable")
    response = await arm.client.get(address)

    assert response.status_code == 503
    assert response.json() == {
        "name": "shop",
        "ready": False,
        "phase": "Verifying",
        "reason": "Unavailable",
        "message": "fetching",
        "revision": REVISION,
    }
    assert (await an_arm().client.get(address)).status_code == 200


async def test_a_dead_engine_is_not_ready() -> None:
    arm = an_arm()
    arm.engine.stop()

    assert (await arm.client.get("/readyz")).json()["reason"] == "EngineStopped"
    assert (await arm.chat()).status_code == 503


async def test_while_draining_readiness_is_gone_but_requests_are_answered() -> None:
    arm = an_arm()
    arm.service.drain()

    assert (await arm.client.get("/readyz")).json()["phase"] == "Draining"
    assert (await arm.chat()).status_code == 200


async def test_liveness_does_not_depend_on_readiness() -> None:
    assert (await an_arm(is_ready=False).client.get("/healthz")).status_code == 200


async def test_metrics_have_the_contracts_names_labels_and_buckets() -> None:
    arm = an_arm()
    await arm.chat("one")
    await arm.chat("one", stream=True)
    text = (await arm.client.get("/metrics")).text

    for outcome in OUTCOMES:
        assert f'graft_predictor_requests_total{{outcome="{outcome}",revision="{REVISION}"}}' in text
    for cache in ("miss", "memory"):
        for bound in LATENCY_BUCKETS_S:
            head = "graft_predictor_request_duration_seconds_bucket"
            assert f'{head}{{cache="{cache}",le="{bound}",revision="{REVISION}"}}' in text
    assert f'graft_predictor_time_to_first_token_seconds_count{{revision="{REVISION}"}} 1.0' in text
    assert f'graft_predictor_feedback_score_count{{revision="{REVISION}"}} 0.0' in text


async def test_models_are_not_loaded_or_unloaded_by_request() -> None:
    arm = an_arm()

    for verb in ("load", "unload"):
        assert (await arm.client.post(f"/v2/repository/models/shop/{verb}")).status_code == 403


# ---------------------------------------------------------------- KServe's V1 and V2
@pytest.fixture(scope="module", autouse=True)
def _kserve() -> None:
    load_kserve()


def with_kserve(arm: Arm) -> httpx.AsyncClient:
    """The arm's routes in front of KServe's, on an app of this test's own: KServe's is one for the process."""
    from kserve import ModelServer
    from kserve.errors import InvalidInput, ModelNotReady, invalid_input_handler, model_not_ready_handler
    from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
    from kserve.protocol.rest.v2_endpoints import register_v2_endpoints

    from graft_predictor.rest.kserve_model import GraftModel

    app = FastAPI()
    server: Any = ModelServer(enable_grpc=False)
    server.register_model(GraftModel(arm.service))
    register_v1_endpoints(app, server.dataplane, server.model_repository_extension)
    register_v2_endpoints(app, server.dataplane, server.model_repository_extension)
    app.add_exception_handler(ModelNotReady, model_not_ready_handler)
    app.add_exception_handler(InvalidInput, invalid_input_handler)
    mount(app, arm.service, LIMITS, [arm.registry])
    wrap(app, LIMITS)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://arm")


async def test_v1_predicts_labels() -> None:
    engine = ScriptedEngine(lambda _: "billing", scores={"billing": 0.75, "delivery": 0.25})
    client = with_kserve(an_arm(engine, task=a_label_task()))
    response = await client.post("/v1/models/shop:predict", json={"instances": ["a", "b"]})

    assert response.status_code == 200
    assert [p["label"] for p in response.json()["predictions"]] == ["billing", "billing"]


async def test_v1_predicts_texts_and_takes_fields() -> None:
    from graft_core.api.v1alpha1.task import TaskSpec, TaskType

    client = with_kserve(an_arm(task=TaskSpec(type=TaskType.CHAT, template="{{ q }}!")))
    response = await client.post("/v1/models/shop:predict", json={"instances": ["a", {"q": "b"}]})

    assert response.json() == {"predictions": ["echo a!", "echo b!"]}


async def test_v2_infers_labels_with_confidence() -> None:
    engine = ScriptedEngine(lambda _: "billing", scores={"billing": 0.75, "delivery": 0.25})
    client = with_kserve(an_arm(engine, task=a_label_task()))
    body = {"inputs": [{"name": "input", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}]}
    response = await client.post("/v2/models/shop/infer", json=body)
    described = (await client.get("/v2/models/shop")).json()

    outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
    assert outputs == {"label": ["billing", "billing"], "confidence": [0.75, 0.75]}
    assert response.json()["id"].startswith("gr-")
    assert [output["name"] for output in described["outputs"]] == ["label", "confidence"]


async def test_v2_infers_texts() -> None:
    client = with_kserve(an_arm())
    body = {"id": "mine", "inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["áo"]}]}
    response = await client.post("/v2/models/shop/infer", json=body)

    assert response.json()["outputs"][0]["data"] == ["echo áo"]
    assert response.json()["id"] == "mine"


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/v1/models/shop:predict", {"instances": []}),
        ("/v1/models/shop:predict", {"instances": [1]}),
        ("/v1/models/shop:predict", {"wrong": 1}),
        ("/v2/models/shop/infer", {"inputs": []}),
        ("/v2/models/shop/infer", {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}),
        ("/v2/models/shop/infer", {"inputs": [{"name": "x", "shape": [0], "datatype": "BYTES", "data": []}]}),
    ],
)
async def test_bad_v1_and_v2_bodies_are_400_by_field(address: str, body: dict[str, Any]) -> None:
    response = await with_kserve(an_arm()).post(address, json=body)

    assert response.status_code == 400, response.text


async def test_v1_that_is_no_json_is_refused() -> None:
    response = await with_kserve(an_arm()).post("/v1/models/shop:predict", content=b"instances=a")

    assert response.status_code == 400


async def test_v1_and_v2_are_503_before_the_model_is_ready() -> None:
    client = with_kserve(an_arm(is_ready=False))

    assert (await client.post("/v1/models/shop:predict", json={"instances": ["a"]})).status_code == 503
    assert (await client.get("/v1/models/shop")).status_code == 503


async def test_guardrails_hold_on_v1_too() -> None:
    arm = an_arm(ScriptedEngine(lambda _: "no"), task=a_json_task(), guardrails={"output": [{"type": "json-schema"}]})
    response = await with_kserve(arm).post("/v1/models/shop:predict", json={"instances": ["a"]})

    assert response.status_code == 422
    assert arm.count("graft_predictor_requests_total", outcome="blocked") == 1


async def test_a_large_v1_body_is_cut_off() -> None:
    response = await with_kserve(an_arm()).post("/v1/models/shop:predict", json={"instances": ["x" * 20_000]})

    assert response.status_code == 413


@pytest.mark.slow
def test_kserve_is_loaded_without_pandas() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from graft_predictor.app.lean_kserve import load_kserve; sys.argv = ['x', '--config', 'f'];"
        "load_kserve(); print('pandas' in sys.modules, 'torch' in sys.modules, sys.argv)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout

    assert out.strip() == "False False ['x', '--config', 'f']"
