"""Where things are, and that nothing stands in the way of Python's own modules."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house import MEMBERS, ROOT, tracked_files

PACKAGES = sorted(path for member in MEMBERS for path in (ROOT / member / "src").rglob("__init__.py"))
SIZE_LIMIT_BYTES = 40 * 1024 * 1024


def test_the_operator_folder_holds_no_module_of_its_own() -> None:
    assert list((ROOT / "operator").glob("*.py")) == []


def test_operator_imported_from_the_root_is_pythons_own() -> None:
    code = "import operator, collections; print(operator.__file__, operator.add(1, 2))"

    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    file, three = out.split()
    assert Path(file).name == "operator.py"
    assert ROOT not in Path(file).parents or ".venv" in file
    assert three == "3"


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_is_typed_and_licensed(member: str) -> None:
    project = tomllib.loads((ROOT / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert (ROOT / member / "src" / f"graft_{member}" / "py.typed").is_file()
    assert project["license"] == "Apache-2.0"


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}

    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_all_members_carry_one_version_and_the_changelog_tells_it() -> None:
    files = [ROOT / "pyproject.toml", *(ROOT / member / "pyproject.toml" for member in MEMBERS)]
    versions = {tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"] for path in files}

    assert len(versions) == 1, versions
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(versions.pop())}\]", changelog, re.MULTILINE)


def test_every_make_target_is_in_the_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    told = set(re.findall(r"^([a-z0-9-]+):.*## \S", makefile, re.MULTILINE))

    assert targets
    assert targets == told


def test_the_repository_stays_small() -> None:
    assert sum(path.stat().st_size for path in tracked_files()) < SIZE_LIMIT_BYTES
