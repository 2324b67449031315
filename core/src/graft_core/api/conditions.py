"""Conditions after the Kubernetes API conventions (sig-architecture/api-conventions, "Typical status properties")."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from graft_core.api.base import KubeModel, Timestamp, filled
from graft_core.clock import to_rfc3339

__all__ = ["Condition", "ConditionStatus", "find_condition", "is_condition", "make_condition", "set_condition"]

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(KubeModel):
    """metav1.Condition."""

    type: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    """CamelCase name of what is observed."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    """CamelCase reason for the last transition; stable, for machines."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What a person should know and can do."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """metadata.generation that the condition was made from."""
    last_transition_time: Timestamp
    """When `status` last changed."""


_FIELDS: Final = set(Condition.model_fields)


def make_condition(
    kind: str, status: ConditionStatus, reason: str, message: str, generation: int, transition: str
) -> Condition:
    """Make a condition of values that fit, which nobody checks, at a third of the cost: a pass that changes something makes several.

    Args:
        kind: Its type.
        status: True, False or Unknown.
        reason: CamelCase, at most 64 letters.
        message: At most 1,024 characters.
        generation: metadata.generation that it was decided on.
        transition: RFC 3339, when `status` last changed.

    Returns:
        The condition.
    """
    return filled(
        Condition,
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observed_generation": generation,
            "last_transition_time": transition,
        },
        _FIELDS,
    )


def find_condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """Return the condition of this type, or None."""
    for condition in conditions:
        if condition.type == kind:
            return condition
    return None


def is_condition(conditions: Sequence[Condition], kind: str, status: ConditionStatus = "True") -> bool:
    """Say whether the condition is there and has this status."""
    found = find_condition(conditions, kind)
    return found is not None and found.status == status


def set_condition(
    conditions: Sequence[Condition],
    kind: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions with this one set; the time moves only where `status` changes, the order stays.

    Args:
        conditions: What the last status held.
        kind: The condition's type.
        status: True, False or Unknown.
        reason: CamelCase reason.
        message: For people; cut at 1,024 characters.
        generation: metadata.generation that this was decided on.
        now: Aware time of the pass.

    Returns:
        A new tuple; unchanged conditions are the same objects.
    """
    old = find_condition(conditions, kind)
    at = old.last_transition_time if old is not None and old.status == status else to_rfc3339(now)
    new = Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:1024],
        observed_generation=generation,
        last_transition_time=at,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if c.type == kind else c for c in conditions)
