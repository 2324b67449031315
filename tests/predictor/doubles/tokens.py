"""A tokenizer of single bytes, with the methods of transformers' that engines call: no framework, and every id is known."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["SPECIALS", "ByteTokenizerDouble"]

SPECIALS: Final = ("<bos>", "<eos>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
_SPLIT: Final = re.compile("(" + "|".join(map(re.escape, SPECIALS)) + ")")


class ByteTokenizerDouble:
    """Ids 0 to 255 are bytes, those above are SPECIALS."""

    chat_template = "the chat template"
    pad_token_id = 256
    eos_token_id = 257
    all_special_ids = tuple(range(256, 256 + len(SPECIALS)))

    def __init__(self, *, template_has_bos: bool = False) -> None:
        self._begin = "<bos>" if template_has_bos else ""

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        turns = "".join(f"<|{message['role']}|>{message['content']}<|end|>" for message in messages)
        return self._begin + turns + ("<|assistant|>" if add_generation_prompt else "")

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool = True) -> dict[str, list[int]]:
        ids: list[int] = [256] if add_special_tokens else []
        for part in _SPLIT.split(text):
            ids += [256 + SPECIALS.index(part)] if part in SPECIALS else list(part.encode())
        return {"input_ids": ids}

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return bytes(i for i in ids if i < 256).decode(errors="replace")

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [SPECIALS[i - 256] if i >= 256 else chr(i) for i in ids]
