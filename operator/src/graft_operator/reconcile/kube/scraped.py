"""Windows out of what many pods count: each pod read for itself, summed by revision, and counted only from the window's beginning.

A pod that was there when the window began and is first read later has no beginning of its own: it counts from that first reading. One that
came later counts whole. One that went keeps what it had counted. The operator keeps none of this over a restart: the window then begins
anew, and lasts as long as any other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from graft_operator.reconcile.figures import Counts, add, has_fallen, subtract, to_window
from graft_operator.reconcile.observed import Window

__all__ = ["Base", "PodFacts", "PodReading", "begin_window", "read_window", "take"]


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of an arm."""

    uid: str
    revision: str
    """Of the arm."""
    restarts: int
    started: datetime


@dataclass(frozen=True, slots=True)
class PodReading:
    """What a pod had counted when it was read last."""

    pod: PodFacts
    at: datetime
    raw: Mapping[str, Counts]
    first: Mapping[str, Counts]
    """Of the first reading."""
    carried: Mapping[str, Counts] = field(default_factory=dict[str, Counts])
    """What earlier processes of the pod had counted, by label."""

    def total(self, revision: str) -> Counts:
        """Sum up what this pod counted for a revision."""
        return add(self.carried.get(revision, {}), self.raw.get(revision, {}))


@dataclass(frozen=True, slots=True)
class Base:
    """Where a window begins."""

    since: datetime
    """The moment that was asked for."""
    at: datetime
    totals: Mapping[str, Counts]
    """By pod uid."""


def take(old: PodReading | None, pod: PodFacts, raw: Mapping[str, Counts], at: datetime) -> PodReading:
    """Take one reading of a pod in; a process that was started again goes on from where the last one was."""
    if old is None:
        return PodReading(pod, at, raw, raw)
    carried = old.carried
    if old.pod.restarts != pod.restarts or has_fallen(old.raw, raw):
        carried = {label: old.total(label) for label in old.carried.keys() | old.raw.keys()}
    return replace(old, pod=pod, at=at, raw=raw, carried=carried)


def begin_window(revision: str, since: datetime, readings: Iterable[PodReading]) -> Base | None:
    """Begin a window with what is read; None while no pod of the arm was read since."""
    everyone = tuple(readings)
    own = [one.at for one in everyone if one.pod.revision == revision and one.at >= since]
    if not own:
        return None
    return Base(since, min(own), {one.pod.uid: one.total(revision) for one in everyone})


def read_window(revision: str, base: Base, readings: Iterable[PodReading], living: frozenset[str]) -> Window:
    """Say how much a revision's figures grew.

    Args:
        revision: The arm's.
        base: Where the window begins.
        readings: Of all pods of the release, those that went included.
        living: Uids of the pods that answer requests now: the window is as old as the oldest reading of these.

    Returns:
        The window.
    """
    grown: Counts = {}
    everyone = tuple(readings)
    for one in everyone:
        is_new = one.pod.uid not in base.totals and one.pod.started >= base.at
        first = {} if is_new else base.totals.get(one.pod.uid, one.first.get(revision, {}))
        grown = add(grown, subtract(one.total(revision), first))
    own = [one for one in everyone if one.pod.revision == revision]
    current = [one.at for one in own if one.pod.uid in living]
    return to_window(revision, base.at, min(current) if current else max(one.at for one in own), grown)
