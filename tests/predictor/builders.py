"""Configurations, services and clients, of which a test says only what it is about."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.clock import Clock, SystemClock
from graft_core.contracts.predictor_config import PredictorConfig
from graft_predictor.app.server import mount, wrap
from graft_predictor.caching.base import Tier
from graft_predictor.caching.memory import MemoryTier
from graft_predictor.engines.base import Engine
from graft_predictor.pipeline.metrics import ServingMetrics
from graft_predictor.pipeline.pipeline import Caches, Pipeline
from graft_predictor.pipeline.service import Service
from graft_predictor.rest.body import Limits
from tests.predictor.doubles import ScriptedEngine

__all__ = ["REVISION", "SCHEMA", "Arm", "a_config", "a_json_task", "a_label_task", "an_arm", "events_of"]

REVISION = "0123456789"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["keyword"],
    "properties": {"keyword": {"type": "string"}},
}


def a_config(**changes: Any) -> PredictorConfig:
    raw: dict[str, Any] = {
        "release": {"namespace": "ml", "name": "shop", "uid": "u-1"},
        "revision": REVISION,
        "adapter": {"uri": "file:///adapters/one/", "digest": "sha256:" + "a" * 64},
        **changes,
    }
    return PredictorConfig.model_validate(raw)


def a_json_task() -> TaskSpec:
    return TaskSpec(type=TaskType.TEXT_TO_JSON, output_schema=SCHEMA)


def a_label_task() -> TaskSpec:
    return TaskSpec(type=TaskType.CLASSIFICATION, labels=("billing", "delivery"))


class Arm:
    """A whole arm in this process, without a socket: service, app and client."""

    def __init__(self, service: Service, app: FastAPI, registry: CollectorRegistry, engine: Engine) -> None:
        self.service = service
        self.app = app
        self.registry = registry
        self.engine = engine
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://arm"
        )

    async def chat(
        self, text: str = "hello", *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        return await self.client.post(
            "/v1/chat/completions", json={"model": "shop", "messages": messages, **body}, headers=dict(headers or {})
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"revision": REVISION, **labels}) or 0.0


def an_arm(
    engine: Engine | None = None,
    *,
    task: TaskSpec | None = None,
    exact: Tier | None = None,
    is_ready: bool = True,
    clock: Clock | None = None,
    limits: Limits | None = None,
    memory: bool = True,
    **config: Any,
) -> Arm:
    engine = engine or ScriptedEngine()
    registry = CollectorRegistry()
    spec = a_config(**config)
    service = Service(spec, ServingMetrics(registry, spec.revision), clock or SystemClock())
    if is_ready:
        caches = Caches("identity", MemoryTier(100) if memory else None, exact)
        service.open(Pipeline(spec, task or TaskSpec(type=TaskType.CHAT), engine, caches, service.clock))
    app = FastAPI()
    limits = limits or Limits(max_body_bytes=1_000_000, read_timeout_s=1.0)
    mount(app, service, limits, [registry])
    wrap(app, limits)
    return Arm(service, app, registry, engine)


def events_of(response: httpx.Response) -> list[Any]:
    """The data of a stream's events; `[DONE]` as it stands."""
    frames = [frame for frame in response.text.split("\n\n") if frame]
    assert all(frame.startswith("data: ") for frame in frames), frames
    data = [frame.removeprefix("data: ") for frame in frames]
    return [item if item == "[DONE]" else json.loads(item) for item in data]
