"""The locks: hashed, tied to no host, in step with what the members ask for, and no heavier than their use."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house import MEMBERS, ROOT

LOCKS = ("dev", "operator", "predictor", "trainer")
ML_LIBRARIES = {
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "kserve",
    "numpy",
    "pyarrow",
    "tokenizers",
}


def lock_text(use: str) -> str:
    """The lock of one use."""
    return (ROOT / "requirements" / f"{use}.txt").read_text(encoding="utf-8")


def locked(use: str) -> dict[str, list[Requirement]]:
    """Requirements by canonical name; one name may stand twice, for different Pythons."""
    found: dict[str, list[Requirement]] = {}
    for line in lock_text(use).splitlines():
        if line and line[0] not in "# ":
            requirement = Requirement(line.removesuffix("\\").strip())
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def asked_for(member: str, extras: set[str]) -> Iterator[Requirement]:
    """What a member's pyproject.toml asks for directly, through other members as well."""
    project = tomllib.loads((ROOT / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project.get("optional-dependencies", {})[extra]
    for requirement in map(Requirement, lines):
        if requirement.name.startswith("graft-"):
            yield from asked_for(requirement.name.removeprefix("graft-"), requirement.extras)
        elif requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def extras_of(member: str) -> set[str]:
    """Names of a member's extras."""
    project = tomllib.loads((ROOT / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project.get("optional-dependencies", {}))


def faults(use: str, requirements: Iterator[Requirement]) -> list[str]:
    """Requirements that the lock leaves out or pins elsewhere."""
    pins = locked(use)
    return [
        str(requirement)
        for requirement in requirements
        if not any(
            requirement.specifier.contains(pin_version(pin), prereleases=True)
            for pin in pins.get(canonicalize_name(requirement.name), ())
        )
    ]


def pin_version(pin: Requirement) -> str:
    """The version behind `==`."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("use", LOCKS)
def test_every_requirement_is_pinned_and_hashed(use: str) -> None:
    blocks = re.split(r"\n(?=\S)", lock_text(use))
    unhashed = [block.splitlines()[0] for block in blocks if block[0] != "#" and "--hash=sha256:" not in block]

    assert unhashed == []
    assert all(pin_version(pin) for pins in locked(use).values() for pin in pins)


@pytest.mark.parametrize("use", LOCKS)
def test_no_lock_names_a_host_or_a_path(use: str) -> None:
    assert re.findall(r".*://.*|^-.*|^[./].*| @ .*", lock_text(use), re.MULTILINE) == []


def test_the_operators_lock_brings_no_ml_library() -> None:
    assert sorted(ML_LIBRARIES & set(locked("operator"))) == []


@pytest.mark.parametrize("member", LOCKS[1:])
def test_a_members_lock_is_in_step_with_what_it_asks_for(member: str) -> None:
    assert faults(member, asked_for(member, set())) == [], "run make lock"


@pytest.mark.parametrize("member", MEMBERS)
def test_the_development_lock_holds_every_member_with_all_its_extras(member: str) -> None:
    assert faults("dev", asked_for(member, extras_of(member))) == [], "run make lock"


def test_the_development_lock_holds_the_tools() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]

    assert faults("dev", map(Requirement, groups["dev"])) == [], "run make lock"


@pytest.mark.parametrize("member", LOCKS[1:])
def test_a_members_lock_pins_what_the_tests_ran_with(member: str) -> None:
    tested = {name: sorted(map(pin_version, pins)) for name, pins in locked("dev").items()}
    other = {
        name: pins for name, pins in locked(member).items() if not set(map(pin_version, pins)) <= set(tested[name])
    }

    assert other == {}
