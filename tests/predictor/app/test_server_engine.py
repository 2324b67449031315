"""The whole predictor with a server's double behind it: what a client sees of whole answers, and of every way to break."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from graft_core.clock import SystemClock
from graft_core.contracts.adapter_manifest import BaseModelPin
from graft_predictor.app.loading import Loader
from graft_predictor.engines.base import Engine, LoadPlan
from graft_predictor.engines.remote.engine import RemoteEngine
from graft_predictor.engines.tokenizer import ChatCodec
from graft_predictor.pipeline.metrics import ServingMetrics
from graft_predictor.pipeline.request_log import RequestLog
from graft_predictor.pipeline.service import Service
from tests.predictor.adapters.files import an_artifact
from tests.predictor.builders import Arm, a_config, a_json_task, an_arm, events_of
from tests.predictor.doubles import LogStoreDouble
from tests.predictor.doubles.servers import ADAPTER, BASE, END, Fault, ServerDouble
from tests.predictor.doubles.tgi import TgiDouble
from tests.predictor.doubles.vllm import VllmDouble, error_body
from tests.predictor.engines.remote.arms import an_engine, loaded, server_of, until

pytestmark = pytest.mark.loopback

CACHED: dict[str, Any] = {"cache": {"memory": {"maxEntries": 10}}}
REPAIRING: dict[str, Any] = {"guardrails": {"output": [{"type": "json-schema", "action": "repair"}]}}


@pytest.fixture(params=["tgi", "vllm"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[ServerDouble, RemoteEngine]]:
    with loaded(request.param) as pair:
        yield pair


@pytest.fixture
async def pair(both: tuple[ServerDouble, RemoteEngine]) -> AsyncIterator[tuple[ServerDouble, Arm]]:
    double, engine = both
    yield double, an_arm(engine, **CACHED)
    await asyncio.to_thread(engine.stop)


def text_of(events: list[Any]) -> str:
    return "".join(
        e["choices"][0]["delta"].get("content", "") for e in events if isinstance(e, dict) and e.get("choices")
    )


async def test_a_chat_is_answered_whole_and_streamed(pair: tuple[ServerDouble, Arm]) -> None:
    _, arm = pair
    whole = (await arm.chat("hi")).json()
    *events, done = events_of(await arm.chat("ho", stream=True, stream_options={"include_usage": True}))

    assert whole["choices"][0]["message"]["content"] == "echo hi"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["model"] == "shop"
    assert text_of(events) == "echo ho"
    assert done == "[DONE]"
    assert events[-1]["usage"] == whole["usage"]


async def test_whatever_model_a_client_names_the_server_is_asked_for_its_one_adapter(
    pair: tuple[ServerDouble, Arm],
) -> None:
    double, arm = pair
    refused = [(await arm.chat(model=name)).status_code for name in (ADAPTER, BASE, "tgi", "")]
    await arm.chat("hi")

    assert refused == [404] * 4
    assert len(double.asked) == 1
    assert ADAPTER in json.dumps(double.asked[0])


async def test_an_answer_is_kept_and_one_that_was_cut_by_length_is_not(pair: tuple[ServerDouble, Arm]) -> None:
    double, arm = pair
    caches = [(await arm.chat("hi")).headers["x-graft-cache"] for _ in range(2)]
    short = [(await arm.chat("hi", max_tokens=3)).headers["x-graft-cache"] for _ in range(2)]

    assert (caches, short) == (["miss", "memory"], ["miss", "miss"])
    assert len(double.asked) == 3


@pytest.mark.parametrize("kind", ["cut", "end", "garbage", "event"])
async def test_row_64_a_truncated_answer_is_flagged_and_never_kept(pair: tuple[ServerDouble, Arm], kind: Any) -> None:
    double, arm = pair
    double.pause_s = 0.02
    double.faults.append(Fault(kind, after=2, body=error_body(500)))
    events = events_of(await arm.chat("hi", stream=True))
    again = await arm.chat("hi")

    assert text_of(events)
    assert events[-1]["error"]["code"] == "answer_truncated"
    assert "[DONE]" not in events
    assert again.headers["x-graft-cache"] == "miss"
    assert again.json()["choices"][0]["message"]["content"] == "echo hi"
    assert arm.count("graft_predictor_requests_total", outcome="error") == 1


async def test_row_64_a_truncated_whole_answer_is_502_and_its_tokens_are_told(
    pair: tuple[ServerDouble, Arm],
) -> None:
    double, arm = pair
    store = LogStoreDouble()
    arm.service.request_log = RequestLog(
        store,
        "log",
        release=arm.service.config.release,
        revision=arm.service.config.revision,
        sample_rate=1.0,
        store_text=False,
        clock=SystemClock(),
        on_dropped=arm.service.metrics.count_log_dropped,
    )
    arm.service.request_log.start()
    double.faults.append(Fault("cut", after=2))
    response = await arm.chat("hi")
    await asyncio.to_thread(arm.service.request_log.close)

    assert response.status_code == 502
    assert response.json()["error"]["code"] == "answer_truncated"
    (record,) = [json.loads(line) for data in store.files.values() for line in data.decode().splitlines()]
    assert record["completionTokens"] in {2, 4}
    assert record["promptTokens"] > 0


async def test_row_62_a_full_server_is_503_with_its_retry_after(pair: tuple[ServerDouble, Arm]) -> None:
    double, arm = pair
    double.faults.append(Fault("status", status=429, headers={"retry-after": "17"}))
    response = await arm.chat("hi", stream=True)

    assert (response.status_code, response.headers["retry-after"]) == (503, "17")
    assert response.json()["error"]["code"] == "engine_overloaded"


async def test_row_63_a_server_that_hangs_is_504_before_and_an_event_after_the_first_token(
    pair: tuple[ServerDouble, Arm],
) -> None:
    double, arm = pair
    double.faults.extend([Fault("silence"), Fault("hang", after=2)])
    before = await arm.chat("hi", stream=True)
    after = events_of(await arm.chat("hi", stream=True))

    assert (before.status_code, before.json()["error"]["code"]) == (504, "engine_timeout")
    assert text_of(after)
    assert after[-1]["error"]["code"] == "engine_timeout"


async def test_a_server_that_is_gone_is_502(pair: tuple[ServerDouble, Arm]) -> None:
    double, arm = pair
    double.__exit__()
    response = await arm.chat("hi")

    assert (response.status_code, response.json()["error"]["code"]) == (502, "engine_failed")


async def test_a_client_that_leaves_ends_the_servers_work(pair: tuple[ServerDouble, Arm]) -> None:
    double, arm = pair
    double.pause_s = 0.05
    leaving = asyncio.create_task(arm.chat("a long story"))
    await until(lambda: bool(double.asked))
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    await until(lambda: double.abandoned == 1)


async def test_row_66_equal_requests_at_one_time_are_asked_once(pair: tuple[ServerDouble, Arm]) -> None:
    double, arm = pair
    double.pause_s = 0.01
    responses = await asyncio.gather(*(arm.chat("hi") for _ in range(8)))

    assert {response.json()["choices"][0]["message"]["content"] for response in responses} == {"echo hi"}
    assert len(double.asked) == 1


async def test_a_guarded_answer_is_repaired_by_asking_once_more(both: tuple[ServerDouble, RemoteEngine]) -> None:
    double, engine = both
    arm = an_arm(engine, task=a_json_task(), **REPAIRING)
    answers = [b'{"keyword": 3}', b'{"keyword": "x"}']
    double.answer = lambda prompt: [*answers[b"is not valid" in bytes(i for i in prompt if i < 256)], END]
    response = await arm.chat("hi", stream=True)
    await asyncio.to_thread(engine.stop)

    assert response.headers["x-graft-guardrails"] == "json-schema=repaired"
    assert text_of(events_of(response)) == '{"keyword": "x"}'
    assert len(double.asked) == 2


async def test_a_guarded_answer_that_breaks_off_is_not_shown(both: tuple[ServerDouble, RemoteEngine]) -> None:
    double, engine = both
    arm = an_arm(engine, task=a_json_task(), **REPAIRING)
    double.faults.append(Fault("cut", after=2))
    response = await arm.chat("hi", stream=True)
    await asyncio.to_thread(engine.stop)

    assert (response.status_code, response.json()["error"]["code"]) == (502, "answer_truncated")


# ------------------------------------------------------------------ from configuration to Ready


def a_service(tmp_path: Path, double: ServerDouble, **server: Any) -> Service:
    artifact = an_artifact(tmp_path / "store" / "one")
    digest = artifact.manifest.digest
    kind = "tgi" if isinstance(double, TgiDouble) else "vllm"
    config = a_config(
        adapter={"uri": artifact.uri, "digest": digest},
        engine=server_of(kind, url=double.url, adapter=f"shop-{digest[7:19]}", **server),
    )
    if isinstance(double, TgiDouble):
        double.adapters = {f"shop-{digest[7:19]}"}
    elif isinstance(double, VllmDouble):
        double.cards[1]["id"] = f"shop-{digest[7:19]}"
    return Service(config, ServingMetrics(CollectorRegistry(), config.revision), SystemClock())


def a_loader(service: Service, tmp_path: Path, double: ServerDouble) -> Loader:
    def find_base(_: BaseModelPin) -> Path:
        raise AssertionError("a server has the base model; none is looked for here")

    def make(plan: LoadPlan) -> Engine:
        engine = an_engine(double, plan)
        engine._codec = ChatCodec(double.tokenizer)
        return engine

    return Loader(service, cache_dir=tmp_path / "cache", find_base=find_base, make_engine=make)


@pytest.mark.parametrize("make", [TgiDouble, VllmDouble])
async def test_readiness_waits_for_the_server_and_says_so(
    make: type[ServerDouble], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft_predictor.app.loading.SERVER_POLL_S", 0.02)
    with make() as double:
        double.is_healthy = False
        service = a_service(tmp_path, double)
        loading = asyncio.create_task(a_loader(service, tmp_path, double).run())
        await until(lambda: service.readiness.reason == "Unavailable")
        waiting = service.readiness
        double.is_healthy = True
        await loading

        assert (waiting.phase, waiting.is_ready) == ("Loading", False)
        assert "/health says HTTP 503" in waiting.message
        assert service.readiness.is_ready
        await asyncio.to_thread(service.close)


async def test_a_server_of_another_model_is_never_ready_and_says_which(tmp_path: Path) -> None:
    with TgiDouble() as double:
        double.info["model_id"] = "another"
        service = a_service(tmp_path, double)
        await a_loader(service, tmp_path, double).run()

    assert (service.readiness.phase, service.readiness.reason) == ("Failed", "Corrupt")
    assert "tgi serves 'another', expected 'base-bbbbbbbbbbbb'" in service.readiness.message


async def test_a_server_that_never_comes_is_given_up_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft_predictor.app.loading.SERVER_POLL_S", 0.3)
    with TgiDouble() as double:
        double.is_healthy = False
        service = a_service(tmp_path, double, startupSeconds=1)
        await a_loader(service, tmp_path, double).run()

    assert (service.readiness.phase, service.readiness.reason) == ("Failed", "Unavailable")


async def test_a_full_server_at_warm_up_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft_predictor.app.loading.SERVER_POLL_S", 0.02)
    with VllmDouble() as double:
        double.faults.extend([Fault("status", status=503, headers={"retry-after": "9"})] * 2)
        service = a_service(tmp_path, double)
        await a_loader(service, tmp_path, double).run()

        assert service.readiness.is_ready
        assert len(double.asked) == 3
        await asyncio.to_thread(service.close)
