"""A release's status that can wait a little, so that a step of a rollout costs two writes: its weights, and one status.

- Weights that were just asked for: what the pass says of them is written when the gateway has them, or after ten seconds.
- Figures while a step is judged: written with whatever is written next, or after half a minute.

Passes go by what is held as if it were written, and drop it where anybody else wrote the status. It is lost with the process, as is the
status of a pass that dies between its last action and its status: the step is then taken anew.
"""

from dataclasses import dataclass
from typing import Final

from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.modelrelease import ModelRelease, ModelReleaseStatus
from graft_core.clock import Clock
from graft_operator.engine.directory import Key
from graft_operator.ports import Json
from graft_operator.reconcile.decision import ModelReleaseDecision, SetWeights

__all__ = ["FIGURES_S", "SHIFT_S", "Holding"]

FIGURES_S: Final = 30.0
"""The figures that a status shows are at most so old."""
SHIFT_S: Final = 10.0
"""A gateway that takes longer is told of as Shifting."""
_FIGURES: Final = frozenset({"Continue", "Pass"})
"""Reasons of AnalysisHealthy that come and go with the figures."""


@dataclass(frozen=True, slots=True)
class _Held:
    stored: Json
    status: ModelReleaseStatus
    until: float
    is_shift: bool


class Holding:
    """What is held, by object."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[Key, _Held] = {}

    def recall(self, key: Key, release: ModelRelease, stored: Json) -> ModelRelease:
        """Return the release as the last pass left it.

        Args:
            key: Which.
            release: As it is stored.
            stored: Its status as JSON. What is held belongs to that very status; another one, whoever wrote it, is newer.

        Returns:
            The release with the status that is held, or as it came.
        """
        held = self._held.get(key)
        if held is None or held.stored != stored:
            self._held.pop(key, None)
            return release
        return release.model_copy(update={"status": held.status})

    def hold(self, key: Key, stored: Json, old: ModelReleaseStatus, decision: ModelReleaseDecision) -> float | None:
        """Hold a decision's status, where it can wait.

        Args:
            key: Which.
            stored: The stored status as JSON.
            old: The stored status.
            decision: What a pass decided, and did.

        Returns:
            Seconds until it is to be written; None: at once, where it differs.
        """
        held, new, now = self._held.pop(key, None), decision.status, self._clock.monotonic()
        if new == old or any(event.type == "Warning" for event in decision.events):
            return None
        moves = [type(action) for action in decision.actions]
        if moves == [SetWeights] and _is_shifting(old, new):
            next_one = _Held(stored, new, now + SHIFT_S, is_shift=True)
        elif moves:
            return None
        elif held is not None and held.is_shift and _is_shifting(old, new):
            next_one = _Held(stored, new, held.until, is_shift=True)
        elif _without_figures(new) == _without_figures(old):
            next_one = _Held(stored, new, now + FIGURES_S if held is None else held.until, is_shift=False)
        else:
            return None
        if now >= next_one.until:
            return None
        self._held[key] = next_one
        return next_one.until - now

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._held.pop(key, None)


def _is_shifting(old: ModelReleaseStatus, new: ModelReleaseStatus) -> bool:
    """Say whether all that is new is a candidate's next weight, which the gateway does not have yet."""
    split, was, now = find_condition(new.conditions, "TrafficSplit"), old.candidate, new.candidate
    return (
        split is not None
        and split.reason == "Shifting"
        and was is not None
        and now is not None
        and (was.revision, was.unready_since) == (now.revision, now.unready_since)
        and (old.phase, old.history) == (new.phase, new.history)
    )


def _without_figures(status: ModelReleaseStatus) -> ModelReleaseStatus:
    lasting = [one for one in status.conditions if one.type != "AnalysisHealthy" or one.reason not in _FIGURES]
    candidate = status.candidate
    return status.replaced(
        conditions=tuple(lasting),
        candidate=None if candidate is None else candidate.replaced(data_missing_since=None),
        analysis=(),
    )
