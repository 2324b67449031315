"""Bodies of answers in OpenAI's shapes; `graft` beside them holds what OpenAI has no field for."""

from typing import Any, Final, Literal

import orjson

from graft_predictor.engines.base import Chunk, Usage
from graft_predictor.pipeline.exchange import Exchange

__all__ = ["ChatShape", "CompletionShape", "Shape", "classification"]


class Shape:
    """One answer's constant parts."""

    object_whole: str = ""
    object_chunk: str = ""

    def __init__(self, exchange: Exchange, *, model: str, created: int) -> None:
        self._head: Final = {"id": exchange.request_id, "created": created, "model": model}

    def whole(self, text: str, last: Chunk) -> bytes:
        """Return the body of an answer that is not streamed."""
        body: dict[str, Any] = {
            **self._head,
            "object": self.object_whole,
            "choices": [
                {"index": 0, **self._content(text, "whole"), "finish_reason": last.finish_reason, "logprobs": None}
            ],
            "usage": _usage(last.usage),
        }
        return orjson.dumps(body | _extension(last))

    def opening(self) -> bytes | None:
        """Return the first event, if the shape has one before the text."""
        return None

    def piece(self, chunk: Chunk, *, with_usage: bool) -> bytes:
        """Return the event of one chunk."""
        return self._event(
            self._content(chunk.text, "chunk") if chunk.text else self._empty(), None, with_usage=with_usage
        )

    def closing(self, last: Chunk, *, with_usage: bool) -> bytes:
        """Return the event that ends the answer."""
        return self._event(self._empty(), last.finish_reason, with_usage=with_usage, extra=_extension(last))

    def usage(self, last: Chunk) -> bytes:
        """Return the event that stream_options.include_usage asks for: no choices."""
        return _frame({**self._head, "object": self.object_chunk, "choices": [], "usage": _usage(last.usage)})

    def _event(
        self, content: dict[str, Any], finish: str | None, *, with_usage: bool, extra: dict[str, Any] | None = None
    ) -> bytes:
        body: dict[str, Any] = {
            **self._head,
            "object": self.object_chunk,
            "choices": [{"index": 0, **content, "finish_reason": finish, "logprobs": None}],
        }
        if with_usage:
            body["usage"] = None
        return _frame(body | (extra or {}))

    def _content(self, text: str, kind: Literal["whole", "chunk"]) -> dict[str, Any]:
        raise NotImplementedError

    def _empty(self) -> dict[str, Any]:
        raise NotImplementedError


class ChatShape(Shape):
    """chat.completion."""

    object_whole = "chat.completion"
    object_chunk = "chat.completion.chunk"

    def opening(self) -> bytes:
        """Return the event with the role."""
        return self._event({"delta": {"role": "assistant", "content": ""}}, None, with_usage=False)

    def _content(self, text: str, kind: Literal["whole", "chunk"]) -> dict[str, Any]:
        if kind == "chunk":
            return {"delta": {"content": text}}
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _empty(self) -> dict[str, Any]:
        return {"delta": {}}


class CompletionShape(Shape):
    """text_completion."""

    object_whole = "text_completion"
    object_chunk = "text_completion"

    def _content(self, text: str, kind: Literal["whole", "chunk"]) -> dict[str, Any]:
        return {"text": text}

    def _empty(self) -> dict[str, Any]:
        return {"text": ""}


def classification(text: str, last: Chunk) -> dict[str, Any]:
    """Return one text's result; a model without scores (a generator) says only the label."""
    scores = dict(last.scores) if last.scores is not None else None
    return {"label": text, "confidence": scores.get(text) if scores else None, "scores": scores}


def _extension(last: Chunk) -> dict[str, Any]:
    if last.scores is None:
        return {}
    return {"graft": {"confidence": max(last.scores.values()), "scores": dict(last.scores)}}


def _usage(usage: Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _frame(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
