"""How soon a pass is run again, in both shells: after one that went through, and after one that failed."""

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from graft_core.errors import Conflict, Forbidden, GraftError, NotReady
from graft_operator.reconcile.decision import FineTuneJobDecision, ModelReleaseDecision

__all__ = ["AFTER_ACTIONS_S", "LONGEST_RETRY_S", "Retry", "back_off_s", "look_again_s", "retry_after"]

AFTER_ACTIONS_S: Final = 0.05
"""A pass that did something is followed by another; the pause keeps one that does something each time from spinning."""

LONGEST_RETRY_S: Final = 30.0
"""Longest back-off of a pass that fails, doubled each time, with jitter."""

CONFLICT_RETRY_S: Final = 0.02
"""Somebody changed the object while it was being decided on: read again at once."""

LONGEST_CONFLICT_S: Final = 0.3
"""However often: the server itself is well, and who writes so much will be read in the end."""

FIRST_RETRY_S: Final = 0.2
FIRST_DENIED_S: Final = 5.0
"""A right is granted by a person, not within milliseconds."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What becomes of a pass that failed."""

    event: str
    """Name of the log's event."""
    first_s: float
    """First back-off."""
    at_least_s: float = 0.0
    """What the other side asked for."""
    longest_s: float = LONGEST_RETRY_S
    """Longest back-off."""
    is_expected: bool = False
    """Whether it is a part of ordinary life, told without the places it passed."""


def retry_after(error: Exception) -> Retry:
    """Say how to go on after this error."""
    match error:
        case Conflict():
            return Retry("pass_conflict", CONFLICT_RETRY_S, longest_s=LONGEST_CONFLICT_S, is_expected=True)
        case NotReady():
            return Retry("pass_not_ready", FIRST_RETRY_S, error.retry_after_s, is_expected=True)
        case Forbidden():
            return Retry("pass_forbidden", FIRST_DENIED_S, is_expected=True)
        case GraftError() | ValidationError() | OSError():
            return Retry("pass_failed", FIRST_RETRY_S)
        case _:
            return Retry("pass_broken", 1.0)


def back_off_s(failures: int, first_s: float, share: float, longest_s: float = LONGEST_RETRY_S) -> float:
    """Return the wait after a failure: doubled each time, bounded, spread.

    Args:
        failures: How many failures came before this one.
        first_s: The first wait.
        share: Random, from 0 up to 1; the wait is spread over its upper half.
        longest_s: The longest wait.

    Returns:
        Seconds.
    """
    return min(longest_s, first_s * 2.0 ** min(failures, 12)) * (0.5 + share / 2)


def look_again_s(decision: FineTuneJobDecision | ModelReleaseDecision) -> float | None:
    """Return seconds until the next pass after one that went through; None: only when something changes."""
    if not decision.actions:
        return decision.look_again_s
    # What was done shows in the next view, and often lets the next step be taken.
    return min(AFTER_ACTIONS_S, decision.look_again_s or AFTER_ACTIONS_S)
