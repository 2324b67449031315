"""The adapter's tokenizer: messages to ids as training had them, ids to text, and the tokens that end an answer."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from graft_core.errors import Corrupt
from graft_core.tasks.catalog import choose_chat_template
from graft_core.tasks.messages import Message, to_dicts
from graft_predictor.engines.base import LoadPlan

__all__ = ["ChatCodec", "load_tokenizer"]


def load_tokenizer(plan: LoadPlan) -> Any:  # noqa: ANN401  # tokenizers of transformers are untyped
    """Load the adapter's tokenizer; one without a chat template gets the fallback that training used."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(plan.adapter_dir), local_files_only=True, trust_remote_code=False
    )
    if plan.model_class == "causal-lm" and tokenizer.chat_template is None:
        tokenizer.chat_template = choose_chat_template(tokenizer.all_special_tokens).text
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class ChatCodec:
    """A loaded tokenizer, as engines that generate text use it."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401  # transformers is untyped
        self._tokenizer = tokenizer

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's, or the fallback."""
        template: str | None = self._tokenizer.chat_template
        return template

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return the text that the model reads.

        Args:
            messages: In order.
            add_generation_prompt: End with what comes before an answer.

        Returns:
            The text, with the template's own special tokens.

        Raises:
            Corrupt: The template cannot be rendered.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                to_dicts(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except TemplateError as err:
            # transformers renders in Jinja's sandbox; what reaches for Python's internals ends here.
            raise Corrupt(f"the tokenizer's chat template cannot be rendered ({type(err).__name__})") from err
        return text

    def encode(self, text: str) -> list[int]:
        """Return the ids of a rendered text; the template has written the special tokens, so none is added."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer's ids, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def end_ids(self, adapter_dir: Path, configured: Iterable[object] = ()) -> frozenset[int]:
        """Tokens that end an answer: the model's own, and the one the chat template writes after an answer.

        Base models often end a text with another token than the chat format ends a turn with.

        Args:
            adapter_dir: Its generation_config.json, if there is one, names the tokens that training used.
            configured: What the base model's settings name.

        Returns:
            Their ids.
        """
        ends = {*configured, *_published_end_ids(adapter_dir), self._tokenizer.eos_token_id}
        question, answer = Message("user", "a"), "b"
        prompt = self.render([question])
        whole = self.render([question, Message("assistant", answer)], add_generation_prompt=False)
        if whole.startswith(prompt + answer):
            tail = self.encode(whole[len(prompt + answer) :])
            ends.update(token for token in tail[:1] if token in self._tokenizer.all_special_ids)
        return frozenset(token for token in ends if isinstance(token, int))

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the texts of single tokens as the vocabulary has them."""
        texts: list[str] = self._tokenizer.convert_ids_to_tokens(list(ids))
        return texts


def _published_end_ids(folder: Path) -> list[object]:
    """What the adapter's generation_config.json says, if there is one; its bytes were verified."""
    path = folder / "generation_config.json"
    found: object = json.loads(path.read_bytes()).get("eos_token_id") if path.is_file() else None
    return found if isinstance(found, list) else [found]
