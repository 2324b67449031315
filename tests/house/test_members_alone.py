"""Each deployable installs from its own lock and runs without the other two.

Wheels are built by what the development lock holds and installed beside the member's lock, as an image does it: what
is missing from a wheel or a lock shows here and nowhere else.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT

UV = Path(sys.executable).with_name("uv")

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
        print(module.name)
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder beside the environment, on its disk: uv then links packages out of its cache instead of copying them."""
    folder = ROOT / ".cache" / "alone"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def run(*command: str | Path) -> str:
    """Run outside the development environment; fails with what the command said."""
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    # The environments stand in the same place one after the other, with the same files: torch is compiled once, not by each member.
    env["PYTHONPYCACHEPREFIX"] = str(ROOT / ".cache" / "alone-bytecode")
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, cwd=ROOT / ".cache", env=env
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install_alone(member: str, place: Path) -> Path:
    """Make an environment of nothing but the member, core and the member's lock; returns its bin folder."""
    wheels = place / "wheels"
    for part in ("core", member):
        run(
            UV,
            "build",
            "--quiet",
            "--wheel",
            "--no-build-isolation",
            "--python",
            sys.executable,
            "-o",
            wheels,
            ROOT / part,
        )
    run(UV, "venv", "--quiet", "--python", sys.executable, place / "venv")
    python = place / "venv" / "bin" / "python"
    lock = ROOT / "requirements" / f"{member}.txt"
    # The set-up has just put these very packages into uv's cache; the link-free way out is a cache that was emptied.
    sync: list[str | Path] = [UV, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock]
    try:
        run(*sync, "--offline")
    except AssertionError:
        run(*sync)
    run(UV, "pip", "install", "--quiet", "--offline", "--python", python, "--no-deps", *sorted(wheels.glob("*.whl")))
    return python.parent


@pytest.mark.parametrize(
    ("member", "program", "unwanted"),
    [
        ("operator", "graft", ("torch", "transformers", "graft_predictor", "graft_trainer")),
        ("predictor", "graft-predictor", ("trl", "graft_operator", "graft_trainer")),
        ("trainer", "graft-trainer", ("kserve", "fastapi", "graft_operator", "graft_predictor")),
    ],
)
def test_a_member_installs_and_runs_alone(member: str, program: str, unwanted: tuple[str, ...], place: Path) -> None:
    bin_folder = install_alone(member, place)
    python = bin_folder / "python"

    assert "Usage" in run(bin_folder / program, "--help").replace("usage", "Usage")
    # All of core needs its extra `cel`, which the operator alone takes; the others import what of core they use.
    packages = ("graft_core", f"graft_{member}") if member == "operator" else (f"graft_{member}",)
    imported = run(python, "-c", IMPORT_EVERYTHING, *packages).split()
    found = run(python, "-c", f"import importlib.util as u; print([m for m in {unwanted!r} if u.find_spec(m)])").strip()

    assert f"graft_{member}.__main__" in imported
    assert found == "[]"
    run(UV, "pip", "check", "--quiet", "--python", python)
