"""Which revision a ModelRelease should come to serve, and whether it must prove itself step by step."""

from collections.abc import Mapping
from typing import NamedTuple

from graft_core.api.v1alpha1.modelrelease import ArmStatus, HistoryEntry, ModelReleaseSpec
from graft_operator.reconcile.history import last_entry, previous_promoted
from graft_operator.reconcile.observed import Refused, Target, Wanted

__all__ = ["Goal", "NoGoal", "find_goal"]


class Goal(NamedTuple):
    """A revision that can be worked towards."""

    revision: str
    digest: str
    target: Target | None
    """None: from the config that the shell kept."""
    skips_steps: bool
    """There is nothing to compare with, or a person or a failed watch wants this revision back."""
    is_way_back: bool = False
    """It ran before; it is not watched again."""


class NoGoal(NamedTuple):
    """Nothing can be worked towards now."""

    reason: str
    message: str
    is_final: bool
    """Only a change of the spec helps: a candidate has no future. Otherwise it waits."""
    is_rolled_back: bool = False


def find_goal(
    spec: ModelReleaseSpec,
    target: Wanted,
    stable: ArmStatus | None,
    history: tuple[HistoryEntry, ...],
    known: Mapping[str, str],
) -> Goal | NoGoal:
    """Find the revision to work towards.

    Args:
        spec: An accepted spec.
        target: What `spec.model` resolved to.
        stable: The running revision.
        history: How revisions ended; one that was rolled back is not tried again.
        known: Revisions that can be made again, with their digests.

    Returns:
        The goal, or why there is none.
    """
    if spec.rollback_to:
        return _asked_back(spec.rollback_to, stable, history, known)
    if not isinstance(target, Target):
        return NoGoal(target.reason, target.message, is_final=isinstance(target, Refused))
    failed = _failed(target.revision, history)
    if failed is None:
        return Goal(target.revision, target.digest, target, skips_steps=stable is None)
    if stable is not None and stable.revision == target.revision:
        return _way_back(stable, history, known) or failed
    return failed


def _asked_back(
    revision: str, stable: ArmStatus | None, history: tuple[HistoryEntry, ...], known: Mapping[str, str]
) -> Goal | NoGoal:
    if stable is not None and stable.revision == revision:
        return Goal(revision, stable.digest, None, skips_steps=True, is_way_back=True)
    if revision not in known:
        names = ", ".join(sorted(known)) or "none"
        message = f"spec.rollbackTo {revision!r} is not a revision that is kept; expected one of {names}"
        return NoGoal("UnknownRevision", message, is_final=True)
    return _failed(revision, history) or Goal(revision, known[revision], None, skips_steps=True, is_way_back=True)


def _failed(revision: str, history: tuple[HistoryEntry, ...]) -> NoGoal | None:
    entry = last_entry(history, revision)
    if entry is None or entry.outcome != "RolledBack":
        return None
    message = f"revision {revision} was rolled back ({entry.reason}): {entry.message}. Change the spec, or raise spec.attempt to try it again"
    return NoGoal("RolledBack", message, is_final=True, is_rolled_back=True)


def _way_back(stable: ArmStatus, history: tuple[HistoryEntry, ...], known: Mapping[str, str]) -> Goal | None:
    """Return the revision before one that failed its watch, while that one still runs."""
    previous = previous_promoted(history, stable.revision)
    if previous is None or previous.revision not in known:
        return None
    return Goal(previous.revision, previous.digest, None, skips_steps=True, is_way_back=True)
