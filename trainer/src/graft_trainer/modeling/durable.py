"""Files and folders that are there whole or not at all, whatever ends the process.

Write beside the target, fsync, rename, fsync the folder: after a rename the content is on the disk, and before it nobody sees it.
"""

import os
import shutil
from pathlib import Path

__all__ = ["publish_folder", "sync_tree", "write_atomic"]


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace one file; a reader sees the old content or the new, never a part."""
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Bring every file and folder below `folder` to the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif path.is_dir():
            _sync_folder(path)
    _sync_folder(folder)


def publish_folder(made: Path, target: Path) -> None:
    """Give a finished folder its name; a folder of that name from an earlier try is replaced."""
    sync_tree(made)
    if target.exists():
        shutil.rmtree(target)
    made.rename(target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
