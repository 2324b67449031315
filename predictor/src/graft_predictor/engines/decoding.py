"""Tokens to text, piece by piece: whole characters only, and nothing that could become a stop text."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from graft_predictor.engines.base import ContextLengthExceeded

__all__ = ["AnswerText", "IncrementalText", "StopScanner", "answer_limit"]

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


class AnswerText:
    """The text of one answer, from its tokens; the same for every engine, so that all of them end and read alike."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str], end_ids: Collection[int]) -> None:
        """Begin.

        Args:
            decode: Ids to text, without special tokens.
            stops: Texts that end the answer.
            end_ids: Tokens that end the answer.
        """
        self._text = IncrementalText(decode)
        self._stops = StopScanner(stops)
        self._end_ids = end_ids
        self._is_ended = False
        self.tokens = 0
        """Tokens so far, the one that ended the answer included."""

    @property
    def is_over(self) -> bool:
        """True once an end token or a stop text came; what comes after is not taken."""
        return self._is_ended or self._stops.is_stopped

    def push(self, token: int) -> str:
        """Add a token; return the text that is certain by now."""
        if self.is_over:
            return ""
        self.tokens += 1
        if token in self._end_ids:
            self._is_ended = True
            return ""
        return self._stops.push(self._text.push(token))

    def flush(self) -> str:
        """Return what was held back; there is nothing more to come."""
        return self._stops.push(self._text.flush()) + self._stops.flush()


def answer_limit(prompt_tokens: int, *, asked: int | None, default: int, context_length: int) -> int:
    """Return how many tokens the answer may have.

    Args:
        prompt_tokens: Of the rendered prompt.
        asked: max_tokens of the request.
        default: Where the request does not say.
        context_length: Of prompt and answer together.

    Returns:
        At least 1.

    Raises:
        ContextLengthExceeded: Prompt, or prompt and max_tokens, do not fit.
    """
    left = context_length - prompt_tokens
    if left < 1:
        raise ContextLengthExceeded(
            f"messages: the prompt has {prompt_tokens} tokens, the model takes {context_length}"
            " for prompt and answer; shorten it",
            path="messages",
        )
    if asked is not None and asked > left:
        raise ContextLengthExceeded(
            f"max_tokens: {asked}, but {prompt_tokens} prompt tokens leave {left} of the model's"
            f" {context_length}; ask for fewer or shorten the prompt",
            path="max_tokens",
        )
    return asked if asked is not None else min(default, left)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
