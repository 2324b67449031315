"""`status.history` of a ModelRelease: how revisions ended, in a bounded ring that never forgets the way back."""

from collections.abc import Sequence
from typing import Final, Literal

from graft_core.api.base import unchecked
from graft_core.api.v1alpha1.modelrelease import HistoryEntry
from graft_operator.reconcile.draft import clip

__all__ = ["MAX_ENTRIES", "add", "is_rolled_back", "last_entry", "previous_promoted"]

MAX_ENTRIES: Final = 20
"""Entries kept: the API's bound."""
MESSAGE_BYTES: Final = 400
"""UTF-8 bytes of a message: twenty take a quarter of a status of 32 KiB."""

_entry: Final = unchecked(HistoryEntry)
Outcome = Literal["Promoted", "RolledBack", "Superseded"]


def add(
    history: Sequence[HistoryEntry],
    revision: str,
    digest: str,
    outcome: Outcome,
    *,
    reason: str,
    message: str,
    at: str,
) -> tuple[HistoryEntry, ...]:
    """Append an entry; the oldest goes where there are too many, but for the last two promotions."""
    entry = _entry(
        revision=revision,
        digest=digest,
        outcome=outcome,
        reason=reason,
        message=clip(message, MESSAGE_BYTES),
        at=at,
    )
    entries = [*history, entry]
    while len(entries) > MAX_ENTRIES:
        kept = [index for index, old in enumerate(entries) if old.outcome == "Promoted"][-2:]
        entries.pop(next(index for index in range(len(entries)) if index not in kept))
    return tuple(entries)


def last_entry(history: Sequence[HistoryEntry], revision: str) -> HistoryEntry | None:
    """Return how the revision ended last."""
    for entry in reversed(history):
        if entry.revision == revision:
            return entry
    return None


def is_rolled_back(history: Sequence[HistoryEntry], revision: str) -> bool:
    """Say whether the revision failed when it was last tried."""
    entry = last_entry(history, revision)
    return entry is not None and entry.outcome == "RolledBack"


def previous_promoted(history: Sequence[HistoryEntry], revision: str) -> HistoryEntry | None:
    """Return the last promotion of another revision that has not failed since: what a rollback goes back to."""
    return next(
        (
            entry
            for entry in reversed(history)
            if entry.outcome == "Promoted"
            and entry.revision != revision
            and not is_rolled_back(history, entry.revision)
        ),
        None,
    )
