"""Which recipes are kept: those that run, those that can be gone back to, and a few more; never all of a service's life."""

from typing import Final

from graft_core.api.v1alpha1.modelrelease import ModelReleaseStatus
from graft_operator.reconcile.kube.arms import find_places
from graft_operator.reconcile.kube.view import KubeView

__all__ = ["KEEP", "find_prunable"]

KEEP: Final = 10
"""Recipes kept for each release."""


def find_prunable(view: KubeView, status: ModelReleaseStatus) -> tuple[str, ...]:
    """List the revisions whose recipe can go: the oldest, but none that runs, is spoken of as an arm, or was promoted last.

    Args:
        view: The objects; its records are in the order they were made.
        status: As it is about to be written.

    Returns:
        Revisions, oldest first.
    """
    excess = len(view.records) - KEEP
    if excess <= 0:
        return ()
    arms = (status.stable, status.candidate, status.draining)
    needed = {place.revision for place in find_places(view)} | {arm.revision for arm in arms if arm is not None}
    promoted = dict.fromkeys(entry.revision for entry in reversed(status.history) if entry.outcome == "Promoted")
    needed |= set(list(promoted)[:2])
    return tuple(revision for revision in view.records if revision not in needed)[:excess]
