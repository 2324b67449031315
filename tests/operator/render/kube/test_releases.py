"""What a ModelRelease is on a cluster: InferenceServices under each strategy and step, recipes, the route, the probe."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from graft_core.api.base import SecretKeyRef, SecretRef
from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.errors import Corrupt
from graft_operator.render.kube.engine_server import BaseModel
from graft_operator.render.kube.http_route import GatewayDefaults, host_of, render_route
from graft_operator.render.kube.inference_service import (
    merge_diff,
    render_canary,
    render_probe,
    render_promoted,
    render_service,
    render_template,
    render_without_canary,
)
from graft_operator.render.kube.predictor_pod import ArmModel, PodAccess, PredictorDefaults
from graft_operator.render.kube.record import Recipe, read_recipe, render_record
from tests.builders import BASE_REVISION, a_release
from tests.fakes.merging import merge_patch
from tests.operator.render.kube.golden import check_golden

IMAGE = "ghcr.io/graft-dev/predictor@sha256:" + "1" * 64
DEFAULTS = PredictorDefaults(image=IMAGE)
EVERY_DEFAULT = PredictorDefaults(
    image=IMAGE,
    service_account="predictor",
    image_pull_secrets=("registry",),
    env={"AWS_ENDPOINT_URL": "http://s3.storage.svc", "HF_ENDPOINT": "http://hub.svc"},
    gpu_resource="amd.com/gpu",
)
ACCESS = PodAccess(
    adapter=SecretRef(name="lake"), hub=SecretKeyRef(name="hub", key="token"), request_log=SecretRef(name="log")
)
OLD, NEW = "b" * 10, "c" * 10
GATEWAY = GatewayDefaults(domain="models.example.com", scheme="https")
RICH: dict[str, Any] = {
    "engine": {
        "resources": {"gpus": 1},
        "env": [{"name": "OMP_WAIT_POLICY", "value": "passive"}],
        "args": ["--dtype=bfloat16"],
    },
    "predictor": {"replicas": {"min": 2, "max": 4}, "resources": {"cpu": "4", "memory": "8Gi"}, "timeoutSeconds": 300},
    "requestLog": {"uri": "s3://lake/requests/", "secretRef": {"name": "log"}},
}


def a_model(revision: str = OLD) -> ArmModel:
    return ArmModel(
        revision,
        f"s3://lake/adapters/default/tune/{revision}/",
        "sha256:" + revision[0] * 64,
        BaseModel("Qwen/Qwen2.5-7B-Instruct", BASE_REVISION, rank=24),
    )


def a_record(
    revision: str = OLD,
    spec: dict[str, Any] | None = None,
    *,
    access: PodAccess | None = None,
    defaults: PredictorDefaults = DEFAULTS,
    is_knative: bool = False,
) -> dict[str, Any]:
    return render_record(
        a_release(spec), a_model(revision), access=access or PodAccess(), defaults=defaults, is_knative=is_knative
    )


def a_recipe(revision: str = OLD, spec: dict[str, Any] | None = None, *, is_knative: bool = False) -> Recipe:
    return read_recipe(a_record(revision, spec, is_knative=is_knative))


def told(record: dict[str, Any]) -> dict[str, Any]:
    """Open a record's JSON, for a golden that people can read."""
    return {**record, "data": {name: json.loads(text) for name, text in record["data"].items()}}


def a_service(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"mode": "Standard", "predictor": f"r{recipe.revision}", "is_local": False, **changes}
    return render_service(a_release(), "shop", recipe, **values)


def test_every_option_of_an_arm_reaches_its_record() -> None:
    check_golden("release-record", told(a_record()))
    check_golden("release-record-rich", told(a_record(OLD, RICH, access=ACCESS, defaults=EVERY_DEFAULT)))
    check_golden(
        "release-record-knative",
        told(a_record(OLD, RICH, access=PodAccess(ACCESS.adapter, ACCESS.hub), is_knative=True)),
    )


@pytest.mark.parametrize("kind", ["tgi", "vllm"])
def test_a_server_stands_beside_the_predictor(kind: str) -> None:
    engine = {
        "type": kind,
        "image": f"registry.example.com/{kind}@sha256:" + "2" * 64,
        "quantize": "bitsandbytes-nf4" if kind == "tgi" else "bitsandbytes",
        "resources": {"gpus": 2, "memory": "48Gi"},
        "args": ["--max-input-tokens=4000"] if kind == "tgi" else ["--max-model-len=4096"],
        "env": [{"name": "NCCL_DEBUG", "value": "WARN"}],
    }
    record = a_record(OLD, {"engine": engine}, access=ACCESS)
    check_golden(f"release-record-{kind}", told(record))
    config = PredictorConfig.model_validate_json(record["data"]["config.json"])
    assert config.engine.server is not None
    assert config.engine.server.adapter.endswith("b" * 12)


def test_a_service_under_each_strategy() -> None:
    check_golden("release-service-weights", a_service(a_recipe()))
    check_golden("release-service-scaled", a_service(a_recipe(OLD, RICH)))
    slot = render_service(a_release(), "shop-a", a_recipe(), mode="Standard", predictor=None, is_local=True)
    check_golden("release-service-slot", slot)
    knative = a_recipe(is_knative=True)
    check_golden("release-service-knative", a_service(knative, mode="Knative", predictor=None))


def test_a_canary_comes_beside_the_predictor_and_takes_its_place() -> None:
    stable, candidate = a_recipe(), a_recipe(NEW)
    service = a_service(stable)
    with_canary = merge_patch(service, render_canary(service, candidate, stable, f"r{NEW}"))
    check_golden("release-step-canary", with_canary)
    with_canary["spec"]["canary"][0]["trafficPercent"] = 100
    promoted = merge_patch(with_canary, render_promoted(with_canary, f"r{NEW}", candidate))
    check_golden("release-step-promoted", promoted)
    # The very predictor that KServe has run as a canary, so that its pods are not restarted.
    canary = with_canary["spec"]["canary"][0]["predictor"]
    assert promoted["spec"]["predictor"] == canary
    assert "canary" not in promoted["spec"]


def test_what_kserve_filled_in_stays_with_a_promoted_canary() -> None:
    stable, candidate = a_recipe(), a_recipe(NEW)
    service = a_service(stable)
    service["spec"]["predictor"]["filledInByKServe"] = "old"
    with_canary = merge_patch(service, render_canary(service, candidate, stable, f"r{NEW}"))
    with_canary["spec"]["canary"][0]["predictor"]["containers"][0]["filledInByKServe"] = {"cpu": "1"}
    promoted = merge_patch(with_canary, render_promoted(with_canary, f"r{NEW}", candidate))
    assert promoted["spec"]["predictor"]["containers"][0]["filledInByKServe"] == {"cpu": "1"}
    assert "filledInByKServe" not in promoted["spec"]["predictor"]


@pytest.mark.parametrize(
    ("stable", "canary", "raised"),
    [((1, 1), (1, 1), 1), ((4, 4), (1, 1), 5), ((1, 1), (2, 2), 3), ((2, 6), (2, 6), 4)],
    ids=["one and one: KServe does not lower below one", "raised by the canary's", "a larger canary", "autoscaled"],
)
def test_the_predictor_has_as_many_more_as_kserve_will_take_away(
    stable: tuple[int, int], canary: tuple[int, int], raised: int
) -> None:
    old = a_recipe(OLD, {"predictor": {"replicas": {"min": stable[0], "max": stable[1]}}})
    new = a_recipe(NEW, {"predictor": {"replicas": {"min": canary[0], "max": canary[1]}}})
    service = a_service(old)
    with_canary = merge_patch(service, render_canary(service, new, old, f"r{NEW}"))
    assert with_canary["spec"]["predictor"]["minReplicas"] == raised
    assert with_canary["spec"]["canary"][0]["predictor"]["minReplicas"] == canary[0]
    assert "maxReplicas" not in with_canary["spec"]["canary"][0]["predictor"]
    assert merge_patch(with_canary, render_without_canary(with_canary, old)) == service


def test_template_and_percent_of_knative_go_in_one_write() -> None:
    service = a_service(a_recipe(is_knative=True), mode="Knative", predictor=None)
    patch = render_template(service, a_recipe(NEW, is_knative=True), 0)
    check_golden("release-step-knative", merge_patch(service, patch))
    assert patch["spec"]["predictor"]["canaryTrafficPercent"] == 0


def test_the_route_names_only_who_serves() -> None:
    check_golden("release-route", render_route(a_release(), {"shop-a-predictor": 90, "shop-b-predictor": 10}, GATEWAY))
    assert host_of(a_release(), GATEWAY) == "shop-default.models.example.com"


def test_the_probe_asks_with_two_predictors_that_serve_nobody() -> None:
    check_golden("release-probe", render_probe(a_release(), "shop-probe", image=IMAGE, canary="split", percent=50))


def test_the_same_arm_is_the_same_bytes() -> None:
    assert a_record(OLD, RICH, access=ACCESS) == a_record(OLD, RICH, access=ACCESS)


def test_a_record_that_is_none_is_told_by_its_name() -> None:
    record = a_record()
    record["data"]["recipe.json"] = "{}"
    with pytest.raises(Corrupt, match=f"shop-{OLD}-[0-9a-f]{{8}}.*recipe.json"):
        read_recipe(record)


def test_a_merge_patch_turns_one_object_into_another() -> None:
    old = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1, 2], "gone": {"x": 1}}
    new = {"a": 1, "b": {"c": 3, "n": 4}, "e": [2]}
    assert merge_patch(old, merge_diff(old, new)) == new
    assert merge_diff(new, new) == {}


def containers(predictor: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (*predictor["containers"], *predictor.get("initContainers", []))


@pytest.mark.parametrize(
    ("kind", "is_knative"), [("transformers", False), ("transformers", True), ("vllm", False), ("tgi", False)]
)
def test_every_pod_passes_the_restricted_standard(kind: str, is_knative: bool) -> None:
    engine = {} if kind == "transformers" else {"type": kind, "image": "e@sha256:" + "3" * 64}
    predictor = a_recipe(OLD, {"engine": engine}, is_knative=is_knative).predictor
    probe = render_probe(a_release(), "p", image=IMAGE, canary="split", percent=50)["spec"]
    for pod in (predictor, probe["predictor"], probe["canary"][0]["predictor"]):
        whole = pod.get("securityContext", {})
        for one in containers(pod):
            security = {**whole, **one["securityContext"]}
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["runAsNonRoot"] is True
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert all(set(volume) <= {"name", "configMap", "emptyDir"} for volume in pod.get("volumes", []))


def test_no_secret_is_anywhere_but_by_name() -> None:
    record = a_record(OLD, RICH, access=ACCESS)
    text = json.dumps(record)
    assert '"name": "lake"' in json.dumps(told(record))
    assert "secretRef" not in json.loads(record["data"]["config.json"]).get("requestLog", {})
    assert "valueFrom" in text


def test_the_operators_store_stays_in_force_where_a_secret_says_nothing_else() -> None:
    defaults = replace(EVERY_DEFAULT, env={"AWS_ENDPOINT_URL": "http://s3.storage.svc", "AWS_REGION": "eu-1"})
    record = told(a_record(access=PodAccess(adapter=SecretRef(name="lake")), defaults=defaults))
    (fetcher,) = record["data"]["recipe.json"]["predictor"]["initContainers"]
    env = {one["name"]: one for one in fetcher["env"]}

    # graft_core.storage reads AWS's second names where the first ones are not set, and these are not if the Secret lacks them.
    assert env["AWS_ENDPOINT_URL"]["value"] == "http://s3.storage.svc"
    assert env["AWS_DEFAULT_REGION"]["value"] == "eu-1"
    for name, key in {"AWS_ENDPOINT_URL_S3": "AWS_ENDPOINT_URL", "AWS_REGION": "AWS_REGION"}.items():
        assert env[name]["valueFrom"]["secretKeyRef"] == {"name": "lake", "key": key, "optional": True}
