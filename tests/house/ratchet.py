"""Counts of what the house wants less of. They may only fall: `make ratchet` writes lower ones, never higher.

A count that must rise is raised by hand in ratchet.json, where the reviewer sees it.
"""

import argparse
import ast
import io
import json
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.house import PYTHON_FOLDERS, ROOT

__all__ = ["LONGEST_FILE_LINES", "RECORD", "count", "line_counts", "recorded"]

RECORD = Path(__file__).with_name("ratchet.json")
"""The counts allowed today."""

LONGEST_FILE_LINES = 600
"""Beyond this a file is refused whatever the counts say."""

LONG_FILE_LINES = 400
LONG_FUNCTION_LINES = 60

COMMENTS = {
    "type_ignores": re.compile(r"#\s*(type|pyright|mypy):\s*ignore"),
    "noqas": re.compile(r"#\s*(ruff:\s*)?noqa"),
    "no_covers": re.compile(r"#\s*pragma:\s*no (cover|branch)"),
}
"""Comments that switch a check off."""

SKIPS = {"skip", "skipif", "xfail", "importorskip"}
"""Names under `pytest` and `pytest.mark` that let a test not run."""


COUNTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ExceptHandler, ast.Attribute)
"""The kinds of nodes that are looked at; there are many others."""


def count() -> dict[str, int]:
    """Today's counts over all our Python files and the import contracts."""
    counts = Counter(dict.fromkeys(recorded(), 0))
    for path, lines in line_counts().items():
        counts["files_over_400_lines"] += lines > LONG_FILE_LINES
        source = path.read_text(encoding="utf-8")
        counts.update(_in_comments(source))
        counts.update(_in_tree(ast.parse(source, str(path))))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    counts["import_linter_exceptions"] = sum(len(contract.get("ignore_imports", ())) for contract in contracts)
    return dict(sorted(counts.items()))


def line_counts() -> dict[Path, int]:
    """Lines of every Python file of ours."""
    paths = [path for folder in PYTHON_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}


def recorded() -> dict[str, int]:
    """The counts that ratchet.json allows."""
    allowed: dict[str, int] = json.loads(RECORD.read_text(encoding="utf-8"))
    return allowed


def _in_comments(source: str) -> Iterator[str]:
    if not any(pattern.search(source) for pattern in COMMENTS.values()):
        return  # most files; taking one apart takes twenty times as long
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from (name for name, pattern in COMMENTS.items() if pattern.search(token.string))


def _in_tree(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, COUNTED):
            continue
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if (node.end_lineno or node.lineno) - node.lineno + 1 > LONG_FUNCTION_LINES:
                    yield "functions_over_60_lines"
            case ast.ExceptHandler(type=None | ast.Name(id="Exception" | "BaseException")):
                yield "broad_excepts"
            case ast.Attribute(value=ast.Name(id="pytest") | ast.Attribute(attr="mark"), attr=name) if name in SKIPS:
                yield "skips"
            case _:
                pass


def _write() -> int:
    allowed, today = recorded(), count()
    risen = {name: number for name, number in today.items() if number > allowed[name]}
    for name, number in risen.items():
        sys.stderr.write(
            f"{name}: {number} is more than the {allowed[name]} allowed; lower it, or say why in {RECORD.name}\n"
        )
    kept = {name: min(number, allowed[name]) for name, number in today.items()}
    RECORD.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return 1 if risen else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lower the recorded counts to today's.")
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    sys.exit(_write())
