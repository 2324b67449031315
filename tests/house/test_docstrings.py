"""What our wrapper around pydoclint lets pass, and what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT


@pytest.mark.timeout(20)  # starts pydoclint
@pytest.mark.parametrize(
    ("docstring", "faults"),
    [
        ("Halve it.", []),
        ("Halve it.\n\n    Raises:\n        ValueError: `a` is odd.", []),
        ("Halve it.\n\n    Raises:\n        ValueError: `a` is odd.\n        OSError: as `open` does.", []),
        ("Halve it.\n\n    Raises:\n        KeyError: Never.", ["DOC503"]),
        ("Halve it.\n\n    Args:\n        a: Even.", ["DOC101", "DOC103"]),
    ],
    ids=["one sentence", "only Raises", "what a callee raises too", "the wrong error", "half of the arguments"],
)
def test_a_section_may_be_left_out_but_not_half_written(docstring: str, faults: list[str], tmp_path: Path) -> None:
    body = "    if a % b:\n        raise ValueError(a)\n    return a // b\n"
    source = f'"""A module."""\n\n\ndef halve(a: int, b: int) -> int:\n    """{docstring}\n    """\n{body}'
    (tmp_path / "module.py").write_text(source, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_docstrings.py", tmp_path],
        check=False,
        capture_output=True,
        text=True,
    )

    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == faults, done.stdout + done.stderr
    assert done.returncode == bool(faults)
