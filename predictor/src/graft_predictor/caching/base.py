"""What is kept of an answer, and the two verbs of a tier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import orjson

from graft_predictor.engines.base import Usage

__all__ = ["MAX_ENTRY_CHARS", "CachedAnswer", "Tier"]

MAX_ENTRY_CHARS: Final = 256 * 1024
"""Longer answers are not kept: ten thousand of them would be gigabytes."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A complete answer that passed its guards. One that ended by length, or in an error, is never made into one."""

    text: str
    usage: Usage
    scores: Mapping[str, float] | None = None

    def to_bytes(self) -> bytes:
        """Serialize."""
        return orjson.dumps(
            {
                "text": self.text,
                "usage": [self.usage.prompt_tokens, self.usage.completion_tokens],
                "scores": dict(self.scores) if self.scores is not None else None,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "CachedAnswer":
        """Read what to_bytes wrote; raises ValueError where the bytes are something else."""
        try:
            raw = cast("dict[str, Any]", orjson.loads(data))
            prompt, completion = raw["usage"]
            return cls(str(raw["text"]), Usage(int(prompt), int(completion)), raw["scores"])
        except (KeyError, TypeError) as err:
            raise ValueError("not a cached answer") from err


class Tier(Protocol):
    """One place where answers wait. A tier that is broken is empty: it never fails a request."""

    async def get(self, key: bytes) -> CachedAnswer | None:
        """Return the answer, or None."""
        ...

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keep an answer."""
        ...
