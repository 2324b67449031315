"""What a pass that cannot go through says on its object: the condition Degraded, and Accepted where the spec cannot be read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, cast

from pydantic import ValidationError

from graft_core.api.conditions import Condition, find_condition, is_condition, set_condition
from graft_core.errors import Corrupt, Forbidden, GraftError, InvalidInput
from graft_operator.ports import Json
from graft_operator.reconcile.decision import Event, StatusT

__all__ = ["DEGRADED", "clear_trouble", "is_trouble", "tell_trouble"]

DEGRADED: Final = "Degraded"
"""Condition of an object whose passes do not go through; whatever runs for it goes on running."""

MAX_CONDITIONS: Final = 16


def is_trouble(error: BaseException) -> bool:
    """Say whether a person must do something, so that the object should say so."""
    return isinstance(error, InvalidInput | Forbidden | Corrupt)


def tell_trouble(body: Json, error: GraftError, now: datetime) -> tuple[Json, Event | None]:
    """Say on an object why its passes do not go through.

    Args:
        body: The object as it is stored.
        error: Why.
        now: Time of the pass.

    Returns:
        A merge patch of the status, empty where it says so already, and what to tell, where it is news.
    """
    status = cast("Mapping[str, object]", body.get("status") or {})
    old = _conditions(status)
    generation = int(body["metadata"].get("generation") or 0)
    message = f"{error}; what runs already goes on"
    reason = "".join(filter(str.isalpha, error.reason))[:64] or "Error"
    new = set_condition(old, DEGRADED, "True", reason, message, generation=generation, now=now)
    patch: Json = {}
    if error.reason == "InvalidSpec":
        new = set_condition(new, "Accepted", "False", reason, str(error), generation=generation, now=now)
        if status.get("observedGeneration") != generation:
            patch["observedGeneration"] = generation
    if new != old and len(new) <= MAX_CONDITIONS:
        patch["conditions"] = [c.model_dump(mode="json", by_alias=True) for c in new]
    before = find_condition(old, DEGRADED)
    is_news = before is None or before.status != "True" or before.reason != reason
    return patch, Event("Warning", reason, message) if is_news else None


def clear_trouble(status: StatusT, generation: int, now: datetime) -> StatusT:
    """Return the status without trouble: the very object where it had none."""
    if not is_condition(status.conditions, DEGRADED):
        return status
    conditions = set_condition(
        status.conditions, DEGRADED, "False", "Recovered", "passes go through again", generation=generation, now=now
    )
    changed: StatusT = status.model_copy(update={"conditions": conditions})
    return changed


def _conditions(status: Mapping[str, object]) -> tuple[Condition, ...]:
    """Read what can be read: an unreadable condition is somebody else's or another version's, and is written anew."""
    found: list[Condition] = []
    stored = status.get("conditions")
    for item in cast("list[object]", stored) if isinstance(stored, list) else []:
        try:
            found.append(Condition.model_validate(item))
        except ValidationError:
            continue
    return tuple(found)
