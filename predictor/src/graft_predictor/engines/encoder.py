"""Classification with an encoder: one forward pass for all requests that wait."""

from collections.abc import Sequence
from typing import Final

from graft_core.tasks.messages import Message, to_text
from graft_predictor.engines.base import Chunk, ContextLengthExceeded, EngineTraits, LoadPlan, Usage
from graft_predictor.engines.in_process import InProcessEngine
from graft_predictor.engines.worker import Job

__all__ = ["EncoderEngine"]

MAX_BATCH: Final = 32
"""Texts of one pass; more gain nothing on a CPU and make the first of them wait."""


class EncoderEngine(InProcessEngine):
    """transformers' sequence classification in this process. The answer's text is the label, and there is one chunk."""

    def __init__(self, plan: LoadPlan) -> None:
        super().__init__(plan, max_batch=MAX_BATCH)

    @property
    def traits(self) -> EngineTraits:
        """Its row of the table."""
        return EngineTraits(name="transformers", streams=False, structured="none", adapters="static")

    @property
    def chat_template(self) -> None:
        """Encoders read plain text."""
        return

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the text."""
        ids: list[int] = self._tokenizer(to_text(messages), truncation=False, verbose=False)["input_ids"]
        return len(ids)

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
