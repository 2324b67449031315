"""What both engines of this process share: load once, then one thread that answers what waits."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from graft_predictor.engines.args import parse_engine_args
from graft_predictor.engines.base import Chunk, GenerateRequest, LoadPlan
from graft_predictor.engines.loading import load_model
from graft_predictor.engines.tokenizer import load_tokenizer
from graft_predictor.engines.worker import BatchWorker, Job

__all__ = ["InProcessEngine"]


class InProcessEngine:
    """A torch module, its tokenizer and the thread that works with them; a subclass says how a batch is answered."""

    def __init__(self, plan: LoadPlan, *, max_batch: int) -> None:
        self._plan = plan
        self._args = parse_engine_args(plan.engine.args)
        self._tokenizer: Any = None
        self._model: Any = None
        self._device = "cpu"
        self._context_length = plan.max_length
        self._worker = BatchWorker(self._handle, max_batch=max_batch, name="graft-engine")

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self._context_length

    def load(self) -> None:
        """Load model and tokenizer, and start the thread."""
        self._tokenizer = load_tokenizer(self._plan)
        loaded = load_model(self._plan, self._args)
        self._model, self._device, self._context_length = loaded.model, loaded.device, loaded.context_length
        self._prepare()
        self._worker.start()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Answer; closing the generator takes the job back."""
        job = Job(request, asyncio.get_running_loop())
        self._worker.put(job)
        async for chunk in job.chunks():
            yield chunk

    def is_healthy(self) -> bool:
        """True while the thread lives."""
        return self._worker.is_alive()

    def stop(self) -> None:
        """Stop the thread."""
        self._worker.stop()

    def _prepare(self) -> None:
        """Do what is left once model and tokenizer are there."""

    def _handle(self, batch: Sequence[Job]) -> None:
        """Answer the jobs; called in the thread."""
        raise NotImplementedError
