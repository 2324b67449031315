"""Reading progress.jsonl: what a trainer appends while it runs; a torn last line is ignored."""

from pathlib import Path

from pydantic import ValidationError

from graft_core.contracts.train_report import Progress

__all__ = ["last_progress", "resumed_step"]

TAIL_BYTES = 8192
"""More than a few lines."""


def last_progress(folder: Path) -> Progress | None:
    """Return the last whole line, or None."""
    return _last_line(folder, 0)


def resumed_step(folder: Path, offset: int) -> int:
    """Return the step that the attempt whose lines begin at `offset` went on from; 0 until it says so, for it prepares first."""
    found = _last_line(folder, offset)
    return 0 if found is None else found.resumed_from_step


def _last_line(folder: Path, offset: int) -> Progress | None:
    try:
        with (folder / "progress.jsonl").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(offset, size - TAIL_BYTES))
            tail = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return None
    for line in reversed(tail.split(b"\n")):
        if (progress := _parse(line)) is not None:
            return progress
    return None


def _parse(line: bytes) -> Progress | None:
    try:
        return Progress.model_validate_json(line) if line else None
    except ValidationError:
        return None
