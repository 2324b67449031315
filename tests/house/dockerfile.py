"""Reads Dockerfiles, as far as the house's rules ask: stages, their instructions, and where they start from."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Dockerfile", "Instruction", "Stage"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    verb: str
    """In capitals."""
    flags: tuple[str, ...]
    """What begins with -- before its arguments."""
    rest: str
    """Its arguments, as written."""

    @property
    def words(self) -> list[str]:
        """The arguments as a shell would part them."""
        return shlex.split(self.rest)


@dataclass(slots=True)
class Stage:
    """A stage: what it starts from and what is done in it."""

    name: str
    parent: str
    instructions: list[Instruction] = field(default_factory=list[Instruction])

    def all(self, verb: str) -> list[Instruction]:
        """Instructions with a verb."""
        return [each for each in self.instructions if each.verb == verb]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile: arguments before the first stage, and the stages by name in their order."""

    arguments: dict[str, str]
    stages: dict[str, Stage]

    @classmethod
    def read(cls, path: Path) -> "Dockerfile":
        """Read a file; every stage must have a name."""
        arguments: dict[str, str] = {}
        stages: dict[str, Stage] = {}
        for each in _instructions(path.read_text(encoding="utf-8")):
            if each.verb == "FROM":
                parent, as_, name = each.words
                assert as_.upper() == "AS", each
                stages[name] = Stage(name, parent)
            elif not stages:
                assert each.verb == "ARG", each
                name, _, value = each.rest.partition("=")
                arguments[name] = value
            else:
                list(stages.values())[-1].instructions.append(each)
        return cls(arguments, stages)

    def lineage(self, name: str) -> list[Stage]:
        """A stage and those it starts from, the first one first: all that is in an image of it."""
        stage = self.stages[name]
        return [*(self.lineage(stage.parent) if stage.parent in self.stages else []), stage]


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for joined in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        verb, _, rest = joined.strip().partition(" ")
        flags: list[str] = []
        while rest.lstrip().startswith("--"):
            flag, _, rest = rest.lstrip().partition(" ")
            flags.append(flag)
        yield Instruction(verb.upper(), tuple(flags), rest.strip())
