"""Checkpoints that are whole or not there.

    .saving-N/      being written; removed at the next start
    checkpoint-N/   complete: `complete.json` names every file and its size, was written last and fsynced before the rename

A kill between any two bytes leaves the one before untouched. Resume takes the newest whose files all have the size that
`complete.json` says.
"""

import json
import shutil
from pathlib import Path
from typing import Final

from graft_trainer.modeling.durable import publish_folder, write_atomic

__all__ = ["MARKER", "newest_complete", "prune", "seal", "sweep"]

MARKER: Final = "complete.json"
_PREFIX: Final = "checkpoint-"
SAVING: Final = ".saving-"


def seal(made: Path, folder: Path, step: int) -> Path:
    """Turn a written folder into the checkpoint of a step.

    Args:
        made: All files of the checkpoint.
        folder: Where checkpoints lie; on the same file system.
        step: Its optimiser step.

    Returns:
        The checkpoint.
    """
    sizes = {str(p.relative_to(made)): p.stat().st_size for p in sorted(made.rglob("*")) if p.is_file()}
    write_atomic(made / MARKER, json.dumps({"step": step, "files": sizes}, sort_keys=True))
    target = folder / f"{_PREFIX}{step}"
    publish_folder(made, target)
    return target


def newest_complete(folder: Path) -> Path | None:
    """Find the checkpoint to go on from, or None."""
    return next(iter(sorted(_complete(folder), key=step_of, reverse=True)), None)


def prune(folder: Path, keep: int, best: Path | None) -> None:
    """Remove all but the newest `keep` complete checkpoints and the best one."""
    for old in sorted(_complete(folder), key=step_of, reverse=True)[keep:]:
        if best is None or old != best:
            shutil.rmtree(old)


def sweep(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.name.startswith(SAVING) or (path.name.startswith(_PREFIX) and not _is_complete(path)):
            shutil.rmtree(path)


def step_of(checkpoint: Path) -> int:
    """Read the step from a checkpoint's name."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def _complete(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"{_PREFIX}*") if _is_complete(path)]


def _is_complete(path: Path) -> bool:
    if not path.name.removeprefix(_PREFIX).isdigit():
        return False
    try:
        marker = json.loads((path / MARKER).read_text())
        return all((path / name).stat().st_size == size for name, size in marker["files"].items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
