"""Texts that a tokenizer would read as its own markup, and NUL.

A record that spells out `<|im_start|>` becomes a turn of its own once the chat template is around it: whoever writes the data
then writes the system prompt too. Such a record is refused by the token's name. With the tokenizer's own list the search is
exact; without one, it knows the marks of the common chat formats. Tokens that are plain words or HTML (`<s>`) are only
looked for where the tokenizer has them.

The search runs over whole batches at the speed of `bytes.find`, and looks at single records only where that hits.
"""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["ControlTokens"]

_GENERIC: Final = re.compile(
    r"<\|[A-Za-z0-9_ ]{1,40}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<[\uff5c][^<>\uff5c]{1,40}[\uff5c]>"
)
_GENERIC_SCREEN: Final = (b"<|", b"[INST]", b"[/INST]", b"<<", b"<start_of", b"<end_of", "<\uff5c".encode())
_MAX_SCREENS: Final = 24


class ControlTokens:
    """What may not stand in a record's texts."""

    def __init__(self, special_tokens: Sequence[str] = ()) -> None:
        """Take the tokenizer's list; one-character tokens are ordinary text and are left out."""
        known = sorted({token for token in special_tokens if len(token) > 1}, key=lambda token: (-len(token), token))
        self._exact = re.compile("|".join(map(re.escape, known))) if known else None
        screens = {token.encode() for token in known}
        if len(screens) > _MAX_SCREENS:
            # Many tokens share a beginning (<|reserved_special_token_0|> and on); two bytes of each are enough to screen.
            screens = {screen[:2] for screen in screens}
        self._screens = (*_GENERIC_SCREEN, *sorted(screens))
        self._marks = {screen[:1] for screen in self._screens}

    def may_occur(self, joined: bytes | bytearray) -> bool:
        """Say whether any record of a batch needs a look; never says no wrongly."""
        # One byte is found ten times as fast as several: most batches have none of these.
        begins = {mark: mark in joined for mark in self._marks}
        return any(begins[screen[:1]] and screen in joined for screen in self._screens)

    def find(self, text: str) -> str | None:
        """Return the first token that a text spells out, or None."""
        hit = (self._exact.search(text) if self._exact else None) or _GENERIC.search(text)
        return hit[0] if hit else None
