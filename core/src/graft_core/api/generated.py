"""Writes generated files, or says how they differ from what their source would make."""

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["run_generator"]


def run_generator(files: Mapping[Path, str], argv: Sequence[str] | None = None) -> int:
    """Write the files (`--write`) or compare them (`--check`), below the working directory or `--root`.

    Args:
        files: Text by path relative to the root.
        argv: Arguments of the command line; None takes the process's.

    Returns:
        Exit code: 1 where `--check` found a difference, which it prints.
    """
    parser = argparse.ArgumentParser(
        description="Write generated files, or check that they are in step with their source."
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true", help="write the files")
    mode.add_argument("--check", action="store_true", help="exit with 1 and a diff where a file is out of step")
    parser.add_argument(
        "--root", type=Path, default=Path(), help="root of the repository (default: the working directory)"
    )
    args = parser.parse_args(argv)
    root: Path = args.root
    if args.write:
        for path, text in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return 0
    diffs = [_diff(root, path, text) for path, text in files.items()]
    sys.stdout.write("".join(diffs))
    return 1 if any(diffs) else 0


def _diff(root: Path, path: Path, text: str) -> str:
    target = root / path
    old = target.read_text(encoding="utf-8") if target.exists() else ""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), text.splitlines(keepends=True), f"{path} (is)", f"{path} (should be)"
    )
    return "".join(lines)
