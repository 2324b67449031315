"""What identifies a base model that has no commit: one digest over the files that decide what it computes."""

import hashlib
import json
from pathlib import Path
from typing import Final, cast

from graft_core.storage.base import sha256_of_file

__all__ = ["folder_digest", "model_files"]

_SUFFIXES: Final = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})
"""Weights, configuration, tokenizers (vocab.txt, merges.txt, tokenizer.model) and chat templates."""
_CACHE: Final = "base-model-digests.json"


def model_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that count, relative to the folder, sorted; hidden ones and READMEs do not."""
    found = (path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    relative = (path.relative_to(folder) for path in found)
    return tuple(sorted(path for path in relative if not any(part.startswith(".") for part in path.parts)))


def folder_digest(folder: Path, cache_dir: Path | None = None) -> str:
    """Hash a model folder.

    Args:
        folder: Holds config.json and weights.
        cache_dir: Where digests of files are remembered by path, size and time stamp; gigabytes are hashed once. None: not at all.

    Returns:
        sha256:… over `<sha256>  <path>` lines, as sha256sum writes them, sorted by path.
    """
    known = _read_cache(cache_dir)
    lines: list[str] = []
    fresh: dict[str, str] = {}
    for path in model_files(folder):
        full = folder / path
        stat = full.stat()
        mark = f"{full.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        fresh[mark] = known.get(mark) or sha256_of_file(full)
        lines.append(f"{fresh[mark]}  {path.as_posix()}\n")
    if cache_dir is not None and not fresh.keys() <= known.keys():
        _write_cache(cache_dir, {**known, **fresh})
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _read_cache(cache_dir: Path | None) -> dict[str, str]:
    if cache_dir is None:
        return {}
    try:
        held: object = json.loads((cache_dir / _CACHE).read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, str]", held) if isinstance(held, dict) else {}


def _write_cache(cache_dir: Path, digests: dict[str, str]) -> None:
    cache_dir.mkdir(parents=True, exist_ok=True)
    part = cache_dir / f"{_CACHE}.part"
    part.write_text(json.dumps(digests, indent=0))
    part.replace(cache_dir / _CACHE)
