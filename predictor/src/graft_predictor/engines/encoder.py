"""Classification with an encoder: one forward pass for all requests that wait."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from graft_core.tasks.messages import Message, to_text
from graft_predictor.engines.args import parse_engine_args
from graft_predictor.engines.base import Chunk, ContextLengthExceeded, EngineTraits, GenerateRequest, LoadPlan, Usage
from graft_predictor.engines.loading import load_model, load_tokenizer
from graft_predictor.engines.worker import BatchWorker, Job

__all__ = ["EncoderEngine"]

MAX_BATCH: Final = 32
"""Texts of one pass; more gain nothing on a CPU and make the first of them wait."""


class EncoderEngine:
    """transformers' sequence classification in this process. The answer's text is the label."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._args = parse_engine_args(plan.args)
        self._tokenizer: Any = None
        self._model: Any = None
        self._device = "cpu"
        self._context_length = plan.max_length
        self._worker = BatchWorker(self._handle, max_batch=MAX_BATCH, name="graft-engine")

    @property
    def traits(self) -> EngineTraits:
        """Its row of the table."""
        return EngineTraits(name="transformers", streams=False, structured="none", adapters="static")

    @property
    def context_length(self) -> int:
        """Most tokens of a text."""
        return self._context_length

    @property
    def chat_template(self) -> None:
        """Encoders read plain text."""
        return

    def load(self) -> None:
        """Load model and tokenizer, and start the thread."""
        self._tokenizer = load_tokenizer(self._plan)
        loaded = load_model(self._plan, self._args)
        self._model, self._device, self._context_length = loaded.model, loaded.device, loaded.context_length
        self._worker.start()

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the text."""
        ids: list[int] = self._tokenizer(to_text(messages), truncation=False, verbose=False)["input_ids"]
        return len(ids)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Classify; one chunk with the label and every label's probability."""
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

    def _handle(self, batch: Sequence[Job]) -> None:
        texts = [to_text(job.request.messages) for job in batch]
        encoded: list[list[int]] = self._tokenizer(texts, truncation=False, verbose=False)["input_ids"]
        fitting: list[tuple[Job, list[int]]] = []
        for job, ids in zip(batch, encoded, strict=True):
            if len(ids) > self._context_length:
                job.fail(_too_long(len(ids), self._context_length))
            else:
                fitting.append((job, ids))
        if not fitting:
            return
        for (job, ids), row in zip(fitting, self._forward([ids for _, ids in fitting]), strict=True):
            scores = dict(zip(self._plan.labels, row, strict=True))
            label = max(scores, key=scores.__getitem__)
            job.emit(Chunk(label, "stop", Usage(len(ids), 0), scores))

    def _forward(self, ids: list[list[int]]) -> list[list[float]]:
        """Return the labels' probabilities, (batch, labels)."""
        import torch

        padded = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            logits = self._model(**padded).logits.float()
            rows: list[list[float]] = torch.softmax(logits, dim=-1).tolist()
        return rows


def _too_long(tokens: int, limit: int) -> ContextLengthExceeded:
    return ContextLengthExceeded(
        f"messages: the text has {tokens} tokens, the model reads at most {limit}; shorten it", path="messages"
    )
