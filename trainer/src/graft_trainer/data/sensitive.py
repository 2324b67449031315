"""Marks of texts that nobody wants a model to learn by heart: keys with a fixed shape, and benchmark canaries.

Only told as a warning with a count and a first line: whether a record may be learned is its owner's to know. Names, addresses and
numbers of persons have no fixed shape and are what many tasks are about; they are not looked for here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Sighting", "find_kinds"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """How often something was seen."""

    line: int
    """Of the first."""
    count: int
    """Records."""


_KINDS: Final[tuple[tuple[str, bytes, re.Pattern[bytes]], ...]] = (
    ("a private key", b"PRIVATE KEY-----", re.compile(rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----")),
    ("a cloud access key", b"AKIA", re.compile(rb"\bAKIA[0-9A-Z]{16}\b")),
    ("a code host's token", b"ghp_", re.compile(rb"\bghp_[A-Za-z0-9]{36}\b")),
    ("a model hub's token", b"hf_", re.compile(rb"\bhf_[A-Za-z0-9]{30,40}\b")),
    ("a benchmark's canary", b"BENCHMARK DATA SHOULD NEVER", re.compile(rb"BENCHMARK DATA SHOULD NEVER APPEAR")),
)
"""Kind, a piece that every such text has (fast to find), and its whole shape."""


def find_kinds(joined: bytes) -> Iterator[str]:
    """Yield the kinds that occur."""
    for kind, piece, shape in _KINDS:
        if piece in joined and shape.search(joined):
            yield kind
