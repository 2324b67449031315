"""Small files that are read whole and replaced whole."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

__all__ = ["digest_of", "read_json", "read_tail", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Replace a file whole."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where there is none, or not a whole one."""
    try:
        body: object = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None


def read_tail(path: Path) -> str:
    """Read the end of a log, for a message."""
    try:
        return path.read_text(errors="replace")[-1500:]
    except FileNotFoundError:
        return "(empty)"


def digest_of(body: dict[str, Any]) -> str:
    """Digest of a JSON object, short: the same for the same content."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
