"""What holds for the repository as a whole: layout, locks, sizes, words, and what each member needs."""

import subprocess
from pathlib import Path

__all__ = ["MEMBERS", "PYTHON_FOLDERS", "ROOT", "tracked_files"]

ROOT = Path(__file__).resolve().parents[2]
"""Where the repository starts."""

MEMBERS = ("core", "operator", "predictor", "trainer")
"""Folders of the workspace members; each holds `src/graft_<folder>`."""

PYTHON_FOLDERS = (*MEMBERS, "tests", "scripts", "examples")
"""Where our Python lives."""


def tracked_files() -> list[Path]:
    """Every file git tracks, that still exists in the tree."""
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in out.split("\0") if name and (path := ROOT / name).is_file()]
