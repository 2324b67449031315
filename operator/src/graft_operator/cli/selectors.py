"""Label selectors as kubectl takes them with -l: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b, c)` and its opposite, joined by commas."""

import re
from dataclasses import dataclass

from graft_core.errors import InvalidInput
from graft_operator.local.fields import Json, child

__all__ = ["Requirement", "matches", "parse_selector"]

_KEY = r"(?:[a-z0-9.-]+/)?[A-Za-z0-9](?:[-_.A-Za-z0-9]*[A-Za-z0-9])?"
_EQUALS = re.compile(rf"({_KEY})\s*(==|=|!=)\s*([-_.A-Za-z0-9]*)")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([-_.A-Za-z0-9,\s]*)\)")  # codespell:ignore notin
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_COMMA = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True)
class Requirement:
    """What one label must or must not be; without values: whether it is there."""

    key: str
    values: frozenset[str] | None
    is_wanted: bool

    def holds(self, labels: Json) -> bool:
        """Say whether labels meet it; a label that is missing meets every rule that excludes values."""
        is_there = self.key in labels if self.values is None else labels.get(self.key) in self.values
        return is_there == self.is_wanted


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Read a selector; InvalidInput names the part that is not understood."""
    return tuple(_parse_one(part.strip(), text) for part in _COMMA.split(text))


def matches(requirements: tuple[Requirement, ...], obj: Json) -> bool:
    """Say whether an object's labels meet all requirements; none at all are always met."""
    labels = child(obj, "metadata", "labels")
    return all(one.holds(labels) for one in requirements)


def _parse_one(part: str, whole: str) -> Requirement:
    if match := _EQUALS.fullmatch(part):
        key, sign, value = match.groups()
        return Requirement(key, frozenset({value}), sign != "!=")
    if match := _SET.fullmatch(part):
        key, word, values = match.groups()
        return Requirement(key, frozenset(value.strip() for value in values.split(",")), word == "in")
    if match := _EXISTS.fullmatch(part):
        return Requirement(match[2], None, not match[1])
    raise InvalidInput(
        f"{part!r} of the selector {whole!r} is not understood; expected e.g. team=search or team!=search"
    )
