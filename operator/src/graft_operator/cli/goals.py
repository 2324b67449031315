"""What `graft wait --for=` may name, and when an object meets it or never will."""

import re
from dataclasses import dataclass
from typing import Literal

from graft_core.errors import InvalidInput
from graft_operator.cli.jsonpath import look_up, parse_path, to_words
from graft_operator.local.fields import Json, children, text

__all__ = ["Goal", "find_condition", "parse_goal"]

_PATH = re.compile(r"(\{[^{}]*\}|[^={}]+)(?:=(.*))?")
"""A path, in braces or not, and a value."""

OPPOSITES = {"complete": "Failed", "failed": "Complete"}
"""A job that has come to one end never comes to the other: waiting on would only last until the time-out."""

REFUSALS = frozenset({"NotSupported", "InvalidSpec"})
"""Reasons why a job is not accepted that only another spec could mend, and a job's spec does not change."""


@dataclass(frozen=True)
class Goal:
    """A condition's status, a field's value, or the end of the object."""

    kind: Literal["condition", "jsonpath", "delete"]
    subject: str = ""
    """Condition type or path."""
    wanted: str | None = None
    """Status or value; None: any value."""

    def is_met(self, obj: Json) -> bool:
        """Say whether an object that is there meets the goal."""
        match self.kind:
            case "delete":
                return False
            case "condition":
                found = find_condition(obj, self.subject)
                return found is not None and text(found, "status").lower() == (self.wanted or "true").lower()
            case "jsonpath":
                values = look_up(obj, self.subject)
                return bool(values) if self.wanted is None else self.wanted == to_words(values)

    def why_never(self, obj: Json) -> str:
        """Say why an object can't meet the goal any more; empty while it can."""
        opposite = OPPOSITES.get(self.subject.lower()) if self.kind == "condition" and self._wants_true() else None
        if opposite is None:
            return ""
        found = find_condition(obj, opposite)
        if found is not None and text(found, "status") == "True":
            return f"it is {opposite}: {text(found, 'reason')}: {text(found, 'message')}"
        found = find_condition(obj, "Accepted")
        if found is not None and text(found, "status") == "False" and text(found, "reason") in REFUSALS:
            return f"it is not accepted: {text(found, 'reason')}: {text(found, 'message')}"
        return ""

    def _wants_true(self) -> bool:
        return (self.wanted or "true").lower() == "true"


def find_condition(obj: Json, kind: str) -> Json | None:
    """Find a condition by its type, in any case of letters."""
    conditions = children(obj, "status", "conditions")
    return next((one for one in conditions if text(one, "type").lower() == kind.lower()), None)


def parse_goal(words: str) -> Goal:
    """Read `condition=TYPE[=STATUS]`, `jsonpath={.path}[=VALUE]` or `delete`; InvalidInput where it is none of them."""
    kind, _, rest = words.partition("=")
    if words == "delete":
        return Goal("delete")
    if kind == "condition" and rest.partition("=")[0]:
        name, _, status = rest.partition("=")
        return Goal("condition", name, status or None)
    if kind == "jsonpath" and (match := _PATH.fullmatch(rest)):
        parse_path(match[1])
        return Goal("jsonpath", match[1], None if match[2] is None else match[2].strip("'\""))
    raise InvalidInput(
        f"--for={words!r} is not understood; expected condition=TYPE[=STATUS], jsonpath={{.path}}[=VALUE] or delete"
    )
