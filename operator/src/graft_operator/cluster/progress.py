"""What running trainers say, asked of their pods: now and then, and remembered only while this operator runs."""

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from graft_core.clock import Clock
from graft_core.contracts.pod import PROGRESS_PATH, PROGRESS_PORT
from graft_core.contracts.train_report import Progress
from graft_core.errors import GraftError
from graft_operator.ports import Cluster, Json

__all__ = ["ASK_EVERY_S", "ProgressWatch"]

ASK_EVERY_S: Final = 10.0
"""Seconds between two questions to a pod; the status is not written more often either."""


@dataclass
class _Told:
    """One pod."""

    pod: str
    asked_at: float
    progress: Progress | None = None
    moved_at: float | None = None
    """When it said something new for the last time, by our clock; None: it never answered."""


class ProgressWatch:
    """Asks pods for their progress, and knows how old it is."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._told: dict[str, _Told] = {}

    async def look(self, uid: str, pod: Json | None) -> None:
        """Ask the pod of a job, unless it was asked a moment ago."""
        if pod is None or pod.get("status", {}).get("phase") != "Running":
            return
        meta, now = pod["metadata"], self._clock.monotonic()
        told = self._told.get(uid)
        if told is not None and told.pod == meta["uid"] and now - told.asked_at < ASK_EVERY_S:
            return
        if told is None or told.pod != meta["uid"]:
            told = self._told[uid] = _Told(meta["uid"], now, None if told is None else told.progress)
        told.asked_at = now
        try:
            answer = await self._cluster.fetch_pod(meta["namespace"], meta["name"], PROGRESS_PORT, PROGRESS_PATH)
            progress = Progress.model_validate_json(answer)
        except (GraftError, ValidationError):
            return  # it just starts, it is busy, or a network policy is in the way: the next time may tell
        if told.moved_at is None or progress != told.progress:
            told.progress, told.moved_at = progress, now

    def last(self, uid: str) -> Progress | None:
        """Return what was said last."""
        told = self._told.get(uid)
        return None if told is None else told.progress

    def age_s(self, uid: str) -> float:
        """Return how long nothing new was said; 0 for a pod that never answered: it may just be out of reach."""
        told = self._told.get(uid)
        return 0.0 if told is None or told.moved_at is None else self._clock.monotonic() - told.moved_at

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        self._told.pop(uid, None)
