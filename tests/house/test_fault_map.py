"""docs/develop/faults.md names, for each fault and bad input, tests that exist; or says that it is not tested, and why."""

import ast
import re
from functools import cache

import pytest

from tests.house import ROOT

PAGE = ROOT / "docs" / "develop" / "faults.md"
ROW = re.compile(r"^\| (?P<number>[A-Z]?\d+) \|(?P<fault>.+?)\|(?P<test>.+)\|$", re.MULTILINE)
FILE = re.compile(r"`(?P<file>tests/[\w/.]+\.py)(?:::(?P<names>[^`]+))?`")
NOT_TESTED = re.compile(r"not tested: \S.{20,}")

EXPECTED: dict[str, set[int]] = {
    "K": {*range(1, 34), *range(36, 41)},  # operator and training
    "R": set(range(41, 55)),  # release and serving
    "E": {62, 63, 64, 66, 68, 69},
    "": {*range(1, 59), 63},  # bad input
}
"""Numbers that must have a row, by the letter that they begin with."""


def rows() -> dict[str, str]:
    return {match["number"]: match["test"] for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


@cache
def named_in(path: str) -> frozenset[str]:
    """Return the tests of a file as pytest would name them, without parameters."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for each in inside:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
                found |= {each.name, f"{prefix}{each.name}"}
    return frozenset(found)


def test_every_row_is_there_once() -> None:
    numbers = [match["number"] for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))]
    assert [number for number in numbers if numbers.count(number) > 1] == []
    wanted = {f"{letter}{number}" for letter, all_of in EXPECTED.items() for number in all_of}
    assert wanted - set(numbers) == set()


@pytest.mark.parametrize(("number", "test"), rows().items(), ids=rows())
def test_a_row_names_tests_that_exist(number: str, test: str) -> None:
    named = FILE.findall(test)
    assert named or NOT_TESTED.search(test), f"row {number} names no test, and does not say why: {test}"
    for path, names in named:
        assert (ROOT / path).is_file(), f"row {number}: {path}"
        for name in re.sub(r"\[[^\]]*\]|, \[.*| to .*| and following.*", "", names).split(","):
            if name.strip():
                assert name.strip() in named_in(path), f"row {number}: {path}::{name.strip()}"


def test_no_row_is_empty_or_vague() -> None:
    assert all(match["fault"].strip() for match in ROW.finditer(PAGE.read_text(encoding="utf-8")))
