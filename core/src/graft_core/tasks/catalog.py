"""Chat templates for tokenizers that bring none, and how to mask the loss for those that bring one.

Exact loss masks need to know which tokens are the assistant's. A template says so with `{% generation %}` spans; where it does
not, the prompt is rendered by itself and must be a prefix of the whole conversation, which is checked for each record.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from graft_core.errors import InvalidInput

__all__ = [
    "ChatTemplate",
    "MaskMethod",
    "choose_chat_template",
    "choose_mask_method",
    "has_generation_spans",
    "load_chat_template",
    "prefix_mask",
]

_SPAN: Final = re.compile(r"\{%-?\s*generation\s*-?%\}.*?\{%-?\s*endgeneration\s*-?%\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template that ships with Graft."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """64 hex digits over the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class MaskMethod(StrEnum):
    """How the tokens of the answer are told from the prompt's."""

    SPANS = "spans"
    """`apply_chat_template(…, return_assistant_tokens_mask=True)`."""
    PREFIX = "prefix"
    """The prompt's ids (with the generation prompt) must begin the conversation's ids; see prefix_mask."""


@cache
def load_chat_template(name: str) -> ChatTemplate:
    """Read a template of the folder `templates`.

    Raises InvalidInput: There is none of that name.
    """
    folder = files("graft_core.tasks").joinpath("templates")
    names = sorted(entry.name.removesuffix(".jinja") for entry in folder.iterdir() if entry.name.endswith(".jinja"))
    if name not in names:
        raise InvalidInput(f"chat template {name!r} is not one of {', '.join(names)}")
    return ChatTemplate(name, folder.joinpath(f"{name}.jinja").read_text(encoding="utf-8"))


def choose_chat_template(special_tokens: Collection[str]) -> ChatTemplate:
    """Choose for a tokenizer without a chat template: ChatML where it has the two tokens, else plain headings."""
    return load_chat_template("chatml" if {"<|im_start|>", "<|im_end|>"} <= set(special_tokens) else "plain")


def has_generation_spans(chat_template: str) -> bool:
    """Say whether the template marks the assistant's tokens."""
    return _SPAN.search(chat_template) is not None


def choose_mask_method(chat_template: str) -> MaskMethod:
    """Spans where the template has them, else the exact prefix."""
    return MaskMethod.SPANS if has_generation_spans(chat_template) else MaskMethod.PREFIX


def prefix_mask(prompt_ids: Sequence[int], full_ids: Sequence[int]) -> list[int]:
    """Mark the answer's tokens.

    Args:
        prompt_ids: The prompt alone, with the generation prompt.
        full_ids: Prompt and answer together, through the same template.

    Returns:
        0 for each token of the prompt, 1 for each of the answer (its end token too); as long as `full_ids`.

    Raises:
        InvalidInput: The prompt is not a prefix: the template renders a turn differently once it is answered.
    """
    size = len(prompt_ids)
    if list(full_ids[:size]) != list(prompt_ids):
        raise InvalidInput(
            "the tokenizer's chat template renders the prompt differently once the answer is there, so the loss cannot be masked exactly;"
            " use a template with {% generation %} spans"
        )
    if size == len(full_ids):
        raise InvalidInput("the answer has no tokens; there is nothing to learn")
    return [0] * size + [1] * (len(full_ids) - size)
