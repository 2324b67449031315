"""From what watches tell to passes: an event is only ever a reason to look."""

import random
from collections.abc import Callable
from typing import Final, Literal

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_core.clock import Clock
from graft_core.telemetry.logs import get_log
from graft_operator.engine.directory import Directory, Key, Known, key_of
from graft_operator.engine.metrics import OperatorMetrics
from graft_operator.engine.queue import Moot
from graft_operator.ports import Json

__all__ = ["CHILD_PATIENCE_S", "RESYNC_S", "Kind", "Pump"]

_LOG = get_log(__name__)

CHILD_PATIENCE_S: Final = 0.05
"""Events of children come in bursts (a Job and its pod, each with its status); one pass reads them all."""

RESYNC_S: Final = 300.0
"""Every object gets a look at least so often, whatever was missed."""

SEEN_TO_AFTER_S: Final = 900.0
"""What a job leaves when it ends is seen to within a minute by whoever leads, and again after a restart within this time."""

Kind = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"] | None
"""What happened; None: it is there, as a list says. Bookmarks, which kopf's own type has too, never come this far."""


class Pump:
    """Takes events of Graft's own objects, and of their children."""

    def __init__(
        self,
        directory: Directory,
        metrics: OperatorMetrics,
        mark: Callable[[Key, float, Moot | None], None],
        forget: Callable[[Key, str], None],
        clock: Clock,
    ) -> None:
        """Connect.

        Args:
            directory: What is known.
            metrics: Counts what was seen.
            mark: Has a pass over a key, within so many seconds, unless a pass under way makes it moot.
            forget: Told of a key and uid that are gone.
            clock: Its wall side tells how long ago a job ended.
        """
        self._directory = directory
        self._metrics = metrics
        self._mark = mark
        self._forget = forget
        self._clock = clock

    def take_object(self, kind: Kind, body: Json) -> None:
        """Take an event of an object of Graft's own."""
        try:
            key = key_of(body)
            self._metrics.seen.labels(key.kind, kind or "LISTED").inc()
            if kind == "DELETED":
                self._gone(key, str(body["metadata"]["uid"]))
            else:
                self._there(kind, body)
        except (KeyError, TypeError, AttributeError) as error:
            _LOG.failure("watch_event_unreadable", error)

    def take_child(self, kind: Kind, body: Json) -> None:
        """Take an event of something that carries Graft's label."""
        try:
            self._metrics.seen.labels(str(body["kind"]), kind or "LISTED").inc()
            owner = self._directory.owner_of(body)
        except (KeyError, TypeError, AttributeError) as error:
            _LOG.failure("watch_event_unreadable", error)
            return
        after_s = None if owner is None or _is_newborn(kind, body) else self._patience_s(kind, owner)
        if owner is not None and after_s is not None:
            self._mark(owner, max(CHILD_PATIENCE_S, after_s), None)

    def mark_all(self) -> None:
        """Have a pass over everything: this replica has just begun to lead."""
        self._directory.drop_bodies()
        for key, known in self._directory.items():
            after_s = self._rest_s(known) if known.is_settled else _spread(1.0)
            if after_s is not None:
                self._mark(key, after_s, None)

    def look_again(self, key: Key) -> None:
        """Have a pass over an object in its own time, unless nothing but its TTL can change it: that has a timer."""
        known = self._directory.find(key)
        if known is None or not known.is_settled:
            self._mark(key, _spread(RESYNC_S * 0.8), None)

    def _there(self, kind: Kind, body: Json) -> None:
        key, before, now = self._directory.note(body)
        if before is not None and before.uid != now.uid:
            self._forget(key, before.uid)  # deleted and made again while no watch told of it
        if key.kind == KIND_FINETUNEJOB and (before is None or before.phase != now.phase):
            self._mark_waiting(key)
        if self._directory.is_own_echo(key, now.version) or (before == now and kind is not None):
            return
        if kind is not None:  # a list may have thousands
            self._directory.hand_on(key, body)
        after_s = self._patience_s(kind, key)
        if after_s is not None:
            # The echo of a write may be told before the write is answered; by the end of its pass it is known.
            self._mark(key, after_s, lambda: self._directory.is_own_echo(key, now.version))

    def _patience_s(self, kind: Kind, key: Key) -> float | None:
        """A job that ended and that a list tells of is looked at in its own time: after a restart there may be thousands."""
        known = self._directory.find(key)
        return self._rest_s(known) if kind is None and known is not None and known.is_settled else 0.0

    def _rest_s(self, known: Known) -> float | None:
        """Return after how long a settled job needs a pass; None: never, for all that it left has been seen to long ago."""
        if known.ended_at is None:
            return _spread(RESYNC_S)
        age_s = self._clock.now().timestamp() - known.ended_at
        if age_s < SEEN_TO_AFTER_S:
            return _spread(RESYNC_S)
        return None if known.ttl_s is None else max(0.0, known.ttl_s - age_s) + _spread(RESYNC_S / 5)

    def _gone(self, key: Key, uid: str) -> None:
        if self._directory.drop(key, uid):
            self._forget(key, uid)
        if key.kind == KIND_FINETUNEJOB:
            self._mark_waiting(key)

    def _mark_waiting(self, job: Key) -> None:
        for release in self._directory.waiting_for(job):
            self._mark(release, 0.0, None)


def _is_newborn(kind: Kind, child: Json) -> bool:
    """Say whether this is the echo of a creation: only passes create Jobs with our label, and whoever works on it changes its status."""
    return kind == "ADDED" and child["kind"] == "Job" and not child.get("status")


def _spread(seconds: float) -> float:
    return random.random() * seconds
