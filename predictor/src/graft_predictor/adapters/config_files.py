"""The JSON files beside the weights: what they may say, and that none of them asks for code to be run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, cast

from graft_core.contracts.adapter_manifest import AdapterManifest
from graft_core.errors import Corrupt

__all__ = ["check_config_files", "check_file_names"]

MAX_JSON_BYTES: Final = 64 * 1024 * 1024
"""A tokenizer of 250,000 pieces has about 20 MB."""
_CODE_SUFFIXES: Final = frozenset(
    {
        ".bin",
        ".ckpt",
        ".dill",
        ".h5",
        ".joblib",
        ".msgpack",
        ".npy",
        ".npz",
        ".pickle",
        ".pkl",
        ".pt",
        ".pth",
        ".py",
        ".pyc",
        ".so",
    }
)
"""Formats that run code when they are read, and code itself."""
_CODE_KEYS: Final = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "auto_mapping", "megatron_config"})
"""Keys that make transformers or PEFT import code that they name."""
_WEIGHTS: Final = "adapter_model.safetensors"
_CONFIG: Final = "adapter_config.json"


def check_file_names(paths: Sequence[str]) -> None:
    """Refuse an artifact whose list of files could leave its folder, is incomplete, or holds what runs code.

    Args:
        paths: As in the manifest.

    Raises:
        Corrupt: With the file's name.
    """
    seen: set[str] = set()
    for path in paths:
        parts = PurePosixPath(path)
        if not path or path != str(parts) or parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
            raise Corrupt(f"manifest.files names {path[:120]!r}, which is not a plain path inside the artifact")
        if path.casefold() in seen or path == "manifest.json":
            raise Corrupt(f"manifest.files names {path[:120]!r} twice, or names the manifest itself")
        seen.add(path.casefold())
        if parts.suffix.lower() in _CODE_SUFFIXES:
            raise Corrupt(
                f"manifest.files names {path[:120]!r}: this format can run code when it is read; only safetensors is served"
            )
    for needed in (_WEIGHTS, _CONFIG):
        if needed not in seen:
            raise Corrupt(f"manifest.files has no {needed!r}; the artifact is not a LoRA adapter")


def check_config_files(folder: Path, manifest: AdapterManifest) -> None:
    """Check every JSON file of the adapter's folder.

    Args:
        folder: Verified bytes.
        manifest: What the configuration must agree with.

    Raises:
        Corrupt: With file and key.
    """
    for path in sorted(folder.rglob("*.json")):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise Corrupt(f"{path.name} has over {MAX_JSON_BYTES} bytes")
        if path.name == "tokenizer.json":  # pieces and merges, read by the tokenizers crate; a token may have any name
            continue
        for key in _truthy_code_keys(_read(path)):
            raise Corrupt(
                f"{path.name}: {key!r} asks for code to be imported, which is never done; remove it and publish again"
            )
    _check_adapter_config(cast("Mapping[str, object]", _read(folder / _CONFIG)), manifest)


def _read(path: Path) -> object:
    try:
        return cast("object", json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as err:
        raise Corrupt(f"{path.name} is not JSON ({type(err).__name__})") from err


def _truthy_code_keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            if key in _CODE_KEYS and item:
                yield key
            yield from _truthy_code_keys(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _truthy_code_keys(item)


def _check_adapter_config(config: Mapping[str, object], manifest: AdapterManifest) -> None:
    base, rank = manifest.base_model.id, manifest.compatibility.rank
    expected: tuple[tuple[str, object], ...] = (("peft_type", "LORA"), ("base_model_name_or_path", base), ("r", rank))
    for key, value in expected:
        if config.get(key) != value:
            raise Corrupt(f"{_CONFIG}: {key} is {str(config.get(key))[:120]!r}, the manifest says {value!r}")
    for key in ("rank_pattern", "alpha_pattern", "layer_replication", "trainable_token_indices", "loftq_config"):
        if config.get(key):
            raise Corrupt(f"{_CONFIG}: {key} is set; this version serves adapters of one rank without it")
    wanted = "SEQ_CLS" if manifest.compatibility.model_class == "sequence-classification" else "CAUSAL_LM"
    if config.get("task_type") != wanted:
        raise Corrupt(f"{_CONFIG}: task_type is {str(config.get('task_type'))[:40]!r}, expected {wanted!r}")
