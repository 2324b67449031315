"""Tokenizers of a model folder: which files they are made of, and the light way to load one for an encoder."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from graft_core.errors import InvalidInput

__all__ = [
    "TOKENIZER_FILES",
    "load_text_tokenizer",
    "model_max_length",
    "read_config",
    "special_texts",
    "tokenizer_key",
]

TOKENIZER_FILES: Final = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Files that make up a tokenizer, as far as a folder has them; an artifact carries exact copies."""


def load_text_tokenizer(folder: Path) -> Any:  # noqa: ANN401  # untyped library
    """Load tokenizer.json through `tokenizers` alone: a check of an encoder needs no torch.

    Args:
        folder: Model folder.

    Returns:
        A `tokenizers.Tokenizer`.

    Raises:
        InvalidInput: There is no tokenizer.json, or it is broken.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        raise InvalidInput("the model folder has no tokenizer.json", path="spec.model.id")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as err:  # the library raises nothing narrower
        raise InvalidInput("the model's tokenizer.json cannot be read", path="spec.model.id") from err


def special_texts(folder: Path) -> tuple[str, ...]:
    """List the texts that the tokenizer reads as its own markup."""
    try:
        rows = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")).get("added_tokens", [])
    except (OSError, ValueError):
        return ()
    return tuple(sorted({row["content"] for row in rows if row.get("special")}))


def tokenizer_key(folder: Path) -> str:
    """Hash the tokenizer's files, 64 hex digits."""
    digest = hashlib.sha256()
    for name in TOKENIZER_FILES:
        path = folder / name
        if path.exists():
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Args:
        folder: Model folder.

    Returns:
        The config; keys that name code to be run are refused.

    Raises:
        InvalidInput: It is missing or not a model's, or wants code of its own to be run.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise InvalidInput("the model folder has no readable config.json", path="spec.model.id") from err
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise InvalidInput("config.json names no model_type", path="spec.model.id")
    if "auto_map" in config:
        raise InvalidInput(
            "config.json has 'auto_map': the model needs code of its own to be run, which is never done; use a model that"
            " transformers knows",
            path="spec.model.id",
        )
    return config


def model_max_length(config: dict[str, Any]) -> int | None:
    """Return the longest input that the model has positions for, or None where it does not say."""
    found = config.get("max_position_embeddings", config.get("n_positions"))
    if not isinstance(found, int) or found <= 0:
        return None
    # These count positions from behind the padding token's index.
    return found - 2 if config["model_type"] in {"camembert", "roberta", "xlm-roberta"} else found
