"""What is wrong with a field of an object: where, what was found, what was expected, what to do."""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Fault", "show_value"]

MAX_SHOWN_CHARS: Final = 80
"""Enough to recognise a value by."""

_HIDDEN: Final = re.compile(r"\.env\[\d+\]\.value$|\.system$|\.template$|annotations")
_CREDENTIALS: Final = re.compile(r"//[^/\s]*@")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault."""

    path: str
    """Such as `spec.method.adapter.r`; empty for the object as a whole."""
    message: str
    """Value found, value expected, hint."""

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.path}: {self.message}" if self.path else self.message


def show_value(path: str, value: object) -> str:
    """Write a value as a message may quote it: cut, and not at all where it may be a secret or a prompt."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    if _HIDDEN.search(path) or _CREDENTIALS.search(text):
        return "the value"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}… ({len(text)} characters)"
