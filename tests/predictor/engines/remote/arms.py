"""Engines with a double behind them."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graft_core.contracts.adapter_manifest import BaseModelPin
from graft_core.contracts.predictor_config import EngineConfig
from graft_core.tasks.messages import Message
from graft_predictor.engines.base import GenerateRequest, LoadPlan, ModelClass, Sampling
from graft_predictor.engines.remote.engine import RemoteEngine
from graft_predictor.engines.remote.tgi import TgiDialect
from graft_predictor.engines.remote.upstream import Timeouts
from graft_predictor.engines.remote.vllm import VllmDialect
from graft_predictor.engines.tokenizer import ChatCodec
from tests.predictor.doubles.servers import ADAPTER, BASE, ServerDouble
from tests.predictor.doubles.tgi import TgiDouble
from tests.predictor.doubles.tokens import ByteTokenizerDouble
from tests.predictor.doubles.vllm import VllmDouble

__all__ = ["REVISION", "a_plan", "an_engine", "ask", "loaded", "server_of", "until"]

REVISION = "sha256:" + "b" * 64
SHORT = Timeouts(connect_s=0.5, first_token_s=0.4, inter_token_s=0.3)


def server_of(kind: str, **server: Any) -> dict[str, Any]:
    """The `engine` of a configuration; `url` must be given."""
    return {"type": kind, "server": {"model": BASE, "adapter": ADAPTER, **server}}


def a_plan(double: ServerDouble, *, model_class: ModelClass = "causal-lm", **server: Any) -> LoadPlan:
    kind = "tgi" if isinstance(double, TgiDouble) else "vllm"
    return LoadPlan(
        engine=EngineConfig.model_validate(server_of(kind, url=double.url, **server)),
        base=BaseModelPin(id="file:///models/base", revision=REVISION),
        base_dir=None,
        adapter_dir=Path("/nowhere"),
        model_class=model_class,
        max_length=64,
        max_concurrency=4,
    )


def an_engine(double: ServerDouble, plan: LoadPlan | None = None, *, watch_every_s: float = 60.0) -> RemoteEngine:
    """With short time-outs and the tokenizer of single bytes."""
    dialect = TgiDialect() if isinstance(double, TgiDouble) else VllmDialect()
    engine = RemoteEngine(plan or a_plan(double), dialect, timeouts=SHORT, watch_every_s=watch_every_s)
    engine._codec = ChatCodec(double.tokenizer)
    engine._end_ids = engine._codec.end_ids(Path("/nowhere"))
    engine._end_texts = tuple(engine._codec.tokens(sorted(engine._end_ids)))
    return engine


@contextmanager
def loaded(kind: str, *, template_has_bos: bool = False, **engine: Any) -> Generator[tuple[ServerDouble, RemoteEngine]]:
    """A double, and an engine that has found it to be the right one."""
    tokenizer = ByteTokenizerDouble(template_has_bos=template_has_bos)
    with TgiDouble(tokenizer) if kind == "tgi" else VllmDouble(tokenizer) as double:
        made = an_engine(double, **engine)
        made.load()
        yield double, made


def ask(text: str = "hi", **sampling: Any) -> GenerateRequest:
    return GenerateRequest((Message("user", text),), Sampling(**sampling))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or task does."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within five seconds")
