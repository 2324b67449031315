"""Marks of texts that nobody wants a model to learn by heart: keys with a fixed shape, and benchmark canaries.

Only told as a warning with a count and a first line: whether a record may be learned is its owner's to know. Names, addresses and
numbers of persons have no fixed shape and are what many tasks are about; they are not looked for here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from graft_trainer.data.screen import occurs

__all__ = ["Sighting", "find_kinds"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """How often something was seen."""

    line: int
    """Of the first."""
    count: int
    """Records."""


_KINDS: Final[tuple[tuple[str, bytes, int, re.Pattern[bytes]], ...]] = (
    ("a private key", b"PRIVATE KEY-----", 0, re.compile(rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----")),
    ("a cloud access key", b"AKIA", 1, re.compile(rb"\bAKIA[0-9A-Z]{16}\b")),
    ("a code host's token", b"ghp_", 3, re.compile(rb"\bghp_[A-Za-z0-9]{36}\b")),
    ("a model hub's token", b"hf_", 2, re.compile(rb"\bhf_[A-Za-z0-9]{30,40}\b")),
    ("a benchmark's canary", b"BENCHMARK DATA SHOULD NEVER", 0, re.compile(rb"BENCHMARK DATA SHOULD NEVER APPEAR")),
)
"""Kind, a piece that every such text has (fast to find), which of its bytes is rare in other texts, and the whole shape."""
_SHORT: Final = 8


def find_kinds(joined: bytes | bytearray) -> Iterator[str]:
    """Yield the kinds that occur."""
    for kind, piece, rare, shape in _KINDS:
        is_there = occurs(piece, joined, rare=rare) if len(piece) < _SHORT else piece in joined
        if is_there and shape.search(joined):
            yield kind
