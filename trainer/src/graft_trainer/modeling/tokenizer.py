"""Load the tokenizer of a model folder as training and serving use it. Of transformers only what a tokenizer needs: a check pays no model code."""

import os
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from graft_core.errors import InvalidInput

__all__ = ["load_tokenizer"]


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401  # untyped library
    """Load a fast tokenizer; one without a padding token pads with its EOS, which the attention mask hides.

    Args:
        folder: Model folder.

    Returns:
        A transformers tokenizer.

    Raises:
        InvalidInput: There is none, or only a slow one.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as err:
        raise InvalidInput(
            f"the model folder has no tokenizer that can be loaded ({type(err).__name__})", path="spec.model.id"
        ) from err
    if not tokenizer.is_fast:
        raise InvalidInput("the model's tokenizer has no tokenizer.json", path="spec.model.id")
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
