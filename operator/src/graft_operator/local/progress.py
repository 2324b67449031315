"""Reading progress.jsonl: what a trainer appends while it runs; a torn last line is ignored."""

from pathlib import Path

from pydantic import ValidationError

from graft_core.contracts.train_report import Progress

__all__ = ["first_resumed_step", "last_progress"]

TAIL_BYTES = 8192
"""More than a few lines."""


def last_progress(folder: Path) -> Progress | None:
    """Return the last whole line, or None."""
    try:
        with (folder / "progress.jsonl").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            tail = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return None
    for line in reversed(tail.split(b"\n")):
        if (progress := _parse(line)) is not None:
            return progress
    return None


def first_resumed_step(folder: Path, offset: int) -> int:
    """Return the step that the attempt whose lines begin at `offset` went on from."""
    try:
        with (folder / "progress.jsonl").open("rb") as file:
            file.seek(offset)
            head = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return 0
    # A torn line of the attempt before may come first.
    found = next((p for p in map(_parse, head.split(b"\n")[:3]) if p is not None), None)
    return 0 if found is None else found.resumed_from_step


def _parse(line: bytes) -> Progress | None:
    try:
        return Progress.model_validate_json(line) if line else None
    except ValidationError:
        return None
