"""Records as token ids, with a loss mask that is exactly the answer and the token that ends it.

The prompt's ids are those that serving will feed: rendered by graft_core.tasks.template, then by the chat template with its generation
prompt. The whole conversation must begin with exactly these ids, else training and serving would see different prompts and the record is
refused. What follows is the answer; the loss covers it up to and including the token that ends the turn, and nothing a template writes
behind that (ChatML's line feed). A template that ends an answer with nothing gets the tokenizer's EOS, so that the model learns to stop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.errors import InvalidInput
from graft_core.tasks.catalog import MaskMethod, choose_chat_template, choose_mask_method, prefix_mask
from graft_core.tasks.messages import Message, to_dicts, to_text
from graft_core.tasks.template import render_prompt, render_request

__all__ = ["IGNORED", "ChatEncoder", "Encoded", "Example", "TextEncoder", "prompt_of"]

IGNORED: Final = -100
"""Label of a token without loss: torch's ignore_index."""


class Example(Protocol):
    """A record, as far as encoding goes."""

    @property
    def fields(self) -> Mapping[str, object]:
        """Input fields; empty where there are messages."""
        ...

    @property
    def messages(self) -> tuple[Message, ...] | None:
        """Turns before the answer, for chats."""
        ...

    @property
    def answer(self) -> str:
        """The right answer."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """One training example; both lists are equally long."""

    input_ids: list[int]
    labels: list[int]
    """The id where there is loss, else IGNORED."""


def prompt_of(task: TaskSpec, example: Example) -> tuple[Message, ...]:
    """Render the turns before the answer, as the predictor renders a request."""
    if example.messages is not None:
        return render_request(task, example.messages)
    return render_prompt(task, example.fields)


class ChatEncoder:
    """For causal models; `tokenizer` is a transformers fast tokenizer."""

    def __init__(self, tokenizer: Any, task: TaskSpec, *, completion_only: bool = True) -> None:  # noqa: ANN401  # untyped library
        self._tokenizer = tokenizer
        self._task = task
        self._completion_only = completion_only
        own: str | None = tokenizer.chat_template
        self.chat_template: str = own or choose_chat_template(set(tokenizer.all_special_tokens)).text
        """The tokenizer's own, or the one that ships with Graft."""
        self.mask_method = choose_mask_method(self.chat_template)

    def prompt_ids(self, example: Example) -> list[int]:
        """Encode what serving would feed for this input, generation prompt included."""
        return self._prompt_ids(prompt_of(self._task, example))

    def encode(self, example: Example) -> Encoded:
        """Encode prompt and answer.

        Args:
            example: The record.

        Returns:
            Ids and labels.

        Raises:
            InvalidInput: The template renders the prompt differently once it is answered, or the answer has no tokens.
        """  # noqa: DOC502 - raised by the steps
        prompt = prompt_of(self._task, example)
        ids, mask = self._conversation(prompt, example.answer)
        if not self._completion_only:
            return Encoded(ids, list(ids))
        return Encoded(ids, [token if kept else IGNORED for token, kept in zip(ids, mask, strict=True)])

    def count(self, example: Example) -> int:
        """Count the tokens of prompt and answer."""
        return len(self.encode(example).input_ids)

    @cached_property
    def end_token_ids(self) -> tuple[int, ...]:
        """Tokens at which generation stops: the tokenizer's EOS, and the one that ends an answer in this template."""
        probe = (Message("user", "a"),)
        prompt = self._prompt_ids(probe)
        ids = self._render([*to_dicts(probe), {"role": "assistant", "content": "b"}])
        special = self._special_ids
        ends = [token for token in ids[len(prompt) :] if token in special][:1]
        return tuple(dict.fromkeys([*ends, self._tokenizer.eos_token_id]))

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self._tokenizer.all_special_ids) | frozenset(self._tokenizer.added_tokens_decoder)

    def _conversation(self, prompt: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        prompt_ids = self._prompt_ids(prompt)
        turns = [*to_dicts(prompt), {"role": "assistant", "content": answer}]
        ids = self._render(turns)
        mask = prefix_mask(prompt_ids, ids)
        if self.mask_method is MaskMethod.SPANS:
            spans = self._span_mask(turns)
            # Earlier assistant turns have spans too; only the last answer is this record's.
            mask = [int(a and b) for a, b in zip(mask, spans, strict=True)]
            if not any(mask):
                raise InvalidInput("the chat template's {% generation %} span does not cover the answer")
            return ids, mask
        end = next((i for i in range(len(prompt_ids), len(ids)) if ids[i] in self.end_token_ids), None)
        if end is None:
            return [*ids, self._tokenizer.eos_token_id], [*mask, 1]
        return ids, [kept if i <= end else 0 for i, kept in enumerate(mask)]

    def _prompt_ids(self, prompt: Sequence[Message]) -> list[int]:
        found: list[int] = self._tokenizer.apply_chat_template(
            to_dicts(prompt),
            chat_template=self.chat_template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        return found

    def _render(self, turns: Sequence[Mapping[str, str]]) -> list[int]:
        found: list[int] = self._tokenizer.apply_chat_template(
            list(turns), chat_template=self.chat_template, tokenize=True, return_dict=False
        )
        return found

    def _span_mask(self, turns: Sequence[Mapping[str, str]]) -> list[int]:
        found = self._tokenizer.apply_chat_template(
            list(turns),
            chat_template=self.chat_template,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        mask: list[int] = found["assistant_masks"]
        return mask


class TextEncoder:
    """For encoders, which know no roles: system text and input as one text. `tokenizer` is a `tokenizers.Tokenizer`."""

    def __init__(self, tokenizer: Any, task: TaskSpec) -> None:  # noqa: ANN401  # untyped library
        tokenizer.no_truncation()  # a folder may bring its own; records are refused, never cut
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._task = task

    def prompt_ids(self, example: Example) -> list[int]:
        """Encode the input, special tokens included."""
        found: list[int] = self._tokenizer.encode(to_text(prompt_of(self._task, example))).ids
        return found

    def count(self, example: Example) -> int:
        """Count the tokens of the input; the answer is a label and takes none."""
        return len(self.prompt_ids(example))
