"""From a configuration to Ready or Failed, with the reason at every step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from graft_core.clock import SystemClock
from graft_core.contracts.adapter_manifest import BaseModelPin
from graft_core.errors import GraftError, InvalidInput, NotReady, Unavailable
from graft_predictor.app.loading import Loader
from graft_predictor.engines.base import Engine, LoadPlan
from graft_predictor.pipeline.exchange import Call
from graft_predictor.pipeline.metrics import ServingMetrics
from graft_predictor.pipeline.service import Service
from tests.predictor.adapters.files import an_artifact
from tests.predictor.builders import a_config
from tests.predictor.doubles import ScriptedEngine


class TemplateEngine(ScriptedEngine):
    """A scripted engine with the chat template that the hand-made adapter was trained with."""

    template = "the chat template"

    @property
    def chat_template(self) -> str:
        return self.template


def a_service(tmp_path: Path, **config: Any) -> Service:
    artifact = an_artifact(tmp_path / "store" / "one")
    spec = a_config(adapter={"uri": artifact.uri, "digest": artifact.manifest.digest}, **config)
    return Service(spec, ServingMetrics(CollectorRegistry(), spec.revision), SystemClock())


def a_loader(
    service: Service,
    tmp_path: Path,
    engine: Engine | None = None,
    find_base: Callable[[BaseModelPin], Path] | None = None,
) -> Loader:
    made = engine or TemplateEngine()
    return Loader(
        service,
        cache_dir=tmp_path / "cache",
        find_base=find_base or (lambda _: tmp_path),
        make_engine=lambda _: made,
    )


async def test_a_good_adapter_gets_ready_with_caches_and_log(tmp_path: Path) -> None:
    service = a_service(
        tmp_path,
        cache={"memory": {"maxEntries": 3}, "exact": {}},
        requestLog={"uri": f"file://{tmp_path}/log/"},
    )
    loader = a_loader(service, tmp_path)
    await loader.run()

    assert service.readiness.is_ready
    assert service.request_log is not None
    exchange = service.begin("chat")
    from graft_core.tasks.messages import Message

    text = "".join([c.text async for c in service.pipeline.run(Call((Message("user", "x"),)), exchange)])
    exchange.finish("ok")
    assert text == "echo x"
    service.close()
    loader.close()
    assert len(list((tmp_path / "log" / "ml" / "shop").rglob("*.jsonl"))) == 1
    assert list((tmp_path / "cache").glob("answers-ml-shop-0123456789.sqlite3"))


async def test_the_engine_is_given_what_the_manifest_says(tmp_path: Path) -> None:
    service = a_service(tmp_path, engine={"threads": 2, "args": ["--num-beams=2"]})
    plans: list[LoadPlan] = []

    def make(plan: LoadPlan) -> Engine:
        plans.append(plan)
        return TemplateEngine()

    await Loader(service, cache_dir=tmp_path / "cache", find_base=lambda _: tmp_path, make_engine=make).run()

    (plan,) = plans
    assert (plan.model_class, plan.max_length, plan.engine.threads) == ("causal-lm", 64, 2)
    assert plan.engine.args == ("--num-beams=2",)
    assert plan.base_dir == tmp_path


async def test_another_chat_template_fails_and_stops_the_engine(tmp_path: Path) -> None:
    service = a_service(tmp_path)
    engine = TemplateEngine()
    engine.template = "another"
    await a_loader(service, tmp_path, engine).run()

    assert service.readiness.phase == "Failed"
    assert "the prompt template has SHA-256" in service.readiness.message
    assert engine.is_stopped
    with pytest.raises(NotReady):
        _ = service.pipeline


async def test_a_changed_adapter_fails_with_the_file(tmp_path: Path) -> None:
    service = a_service(tmp_path)
    (tmp_path / "store" / "one" / "tokenizer_config.json").write_text("[]")
    await a_loader(service, tmp_path).run()

    assert service.readiness.phase == "Failed"
    assert service.readiness.reason == "Corrupt"
    assert "tokenizer_config.json" in service.readiness.message


async def test_what_is_out_of_reach_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def no_wait(seconds: float) -> None:
        waits.append(seconds)
        assert service.readiness.reason == "Unavailable"

    monkeypatch.setattr("graft_predictor.app.loading.asyncio.sleep", no_wait)
    service = a_service(tmp_path)
    faults: list[GraftError] = [Unavailable("the hub is out of reach") for _ in range(7)]

    def find(_: BaseModelPin) -> Path:
        if faults:
            raise faults.pop()
        return tmp_path

    await a_loader(service, tmp_path, find_base=find).run()

    assert service.readiness.is_ready
    assert waits == [1, 2, 4, 8, 16, 30, 30]


async def test_an_error_nobody_foresaw_is_told_by_its_type_alone(tmp_path: Path) -> None:
    class Broken(TemplateEngine):
        def load(self) -> None:
            raise ZeroDivisionError("secret")

    service = a_service(tmp_path)
    await a_loader(service, tmp_path, Broken()).run()

    assert service.readiness.reason == "InternalError"
    assert "ZeroDivisionError" in service.readiness.message
    assert "secret" not in service.readiness.message


async def test_a_guardrail_that_does_not_fit_the_task_fails(tmp_path: Path) -> None:
    service = a_service(tmp_path, guardrails={"output": [{"type": "json-schema"}]})
    await a_loader(service, tmp_path).run()

    assert service.readiness.reason == InvalidInput.reason
