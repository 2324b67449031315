"""Tokens to text, piece by piece: whole characters only, and nothing that could become a stop text."""

from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["IncrementalText", "StopScanner"]

_INCOMPLETE: Final = "\ufffd"
"""What a tokenizer decodes half a character to."""


class IncrementalText:
    """Decodes a growing list of tokens.

    A token may hold part of a UTF-8 character, and some tokenizers write a token differently after another one, so each step decodes a
    window that starts one step earlier and gives out what is new (the method of text-generation-inference).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._window = 0
        self._read = 0

    def push(self, token_id: int) -> str:
        """Add a token; return the text that is certain by now."""
        self._ids.append(token_id)
        old, new = self._window_texts()
        if len(new) <= len(old) or new.endswith(_INCOMPLETE):
            return ""
        self._window, self._read = self._read, len(self._ids)
        return new[len(old) :]

    def flush(self) -> str:
        """Return what is left at the end, half characters as U+FFFD."""
        old, new = self._window_texts()
        self._window = self._read = len(self._ids)
        return new[len(old) :]

    def _window_texts(self) -> tuple[str, str]:
        return self._decode(self._ids[self._window : self._read]), self._decode(self._ids[self._window :])


class StopScanner:
    """Cuts a stream of text before the first stop text."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.is_stopped = False

    def push(self, text: str) -> str:
        """Add text; return what can no longer be part of a stop text."""
        if self.is_stopped:
            return ""
        if not self._stops:
            return text
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.is_stopped = True
            out, self._held = self._held[: min(found)], ""
            return out
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def flush(self) -> str:
        """Return what was held back; the end of the answer shows that it is no stop text."""
        out, self._held = self._held, ""
        return out


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
