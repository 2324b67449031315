"""Event schedules, drawn from a seed: what watches tell arrives permuted, late, twice or not at all, and passes meet views of it.

An event is only ever a reason to look. So what a schedule can do to a pass is: have it come too early, too late, twice or never; have the
world move on while it reads (the object first, as the engine reads); and have it act on what it saw up to ten seconds ago, which is as
long as the fence of a leader stays open. A release's pass always knows the operator's own last status: an object has one pass at a time, the
API server's reads are consistent, and whoever would have written a status in between leads later than the fence is open. A job's pass need
not even know that.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from graft_operator.reconcile.observed import ObservedFineTuneJob, ObservedModelRelease
from tests.operator.reconcile.job_world import JobWorld
from tests.operator.reconcile.release_world import ReleaseWorld

__all__ = ["Schedule", "settle"]

FENCE_S: Final = 10.0
"""How old a view may be that somebody still acts on."""
QUIET_PASSES: Final = 3
"""So many passes in a row without an action, a write or a change of phase, and a world is at rest."""

World = JobWorld | ReleaseWorld
View = Any
WorldT = TypeVar("WorldT", JobWorld, ReleaseWorld)
Deed = Callable[[WorldT], None]

PARTS: Final[Mapping[type, tuple[tuple[str, ...], ...]]] = {
    ObservedFineTuneJob: (("check",), ("train",), ("artifact",), ("progress", "progress_age_s")),
    ObservedModelRelease: (("arms", "traffic"), ("windows",), ("target", "known")),
}
"""What is read at one moment, beside the object itself."""


class Schedule:
    """One schedule."""

    def __init__(self, seed: int, *, knows_own_status: bool = False) -> None:
        self._draw = random.Random(seed)
        self._knows_own_status = knows_own_status
        self._seen: list[tuple[datetime, View]] = []

    def play(self, world: WorldT, deeds: Mapping[str, Deed[WorldT]]) -> list[str]:
        """Run passes as the schedule has them.

        Args:
            world: To play in; it watches the invariants.
            deeds: What people do meanwhile, by name.

        Returns:
            What happened, for whoever reads of a failure.
        """
        told: list[str] = []
        for _ in range(self._draw.randint(5, 16)):
            if deeds and self._draw.random() < 0.25:
                deed = self._draw.choice(sorted(deeds))
                deeds[deed](world)
                told.append(deed)
            self._seen.append((world.now, world.observe()))
            world.tick(self._draw.choice([0.5, 2.0, 5.0, 9.0]))
            if world.is_gone:
                break
            told.append(self._deliver(world))
        return told

    def _deliver(self, world: World) -> str:
        kind = self._draw.choice(["one", "one", "twice", "late", "torn", "dropped", "burst", "dies"])
        match kind:
            case "one":
                world.run_pass()
            case "twice":
                world.run_pass()
                world.run_pass()
            case "late":
                world.run_pass(self._late(world))
            case "torn":
                world.run_pass(self._torn(world))
            case "burst":  # of several events, in any order
                for is_late in self._draw.sample([True, False, True], 3):
                    if not world.is_gone:
                        world.run_pass(self._late(world) if is_late else None)
            case "dies":
                world.run_pass(self._torn(world), dies_after=self._draw.randint(0, 2))
            case _:
                pass
        return kind

    def _recent(self, world: World) -> list[View]:
        since = world.now - timedelta(seconds=FENCE_S)
        now = world.observe()
        recent = [view for at, view in self._seen if at >= since]
        if self._knows_own_status:
            recent = [view for view in recent if _status_of(view) is _status_of(now)]
        return [*recent, now]

    def _late(self, world: World) -> View:
        return self._draw.choice(self._recent(world))

    def _torn(self, world: World) -> View:
        """Read part by part, in any order after the object, while time passes."""
        view = world.observe()
        groups = PARTS[type(view)]
        for names in self._draw.sample(groups, len(groups)):
            world.tick(self._draw.choice([0.0, 0.5, 3.0]))
            later = world.observe()
            view = replace(view, **{name: getattr(later, name) for name in names})
        return view


def _status_of(view: View) -> object:
    return view.job.status if isinstance(view, ObservedFineTuneJob) else view.release.status


def settle(world: World, tick_s: float, *, limit: int = 200) -> None:
    """Run clean passes until nothing changes any more; a world that does not come to rest is a failure."""
    quiet, end = 0, _end_of(world)
    for _ in range(limit):
        world.tick(tick_s)
        if world.is_gone:
            return
        decision = world.run_pass()
        quiet = 0 if decision.actions or not end(world) else quiet + 1
        if quiet == QUIET_PASSES:
            return
    raise AssertionError(f"not at rest after {limit} passes")


def _end_of(world: World) -> Callable[[Any], bool]:
    def release_ends(one: ReleaseWorld) -> bool:
        status = one.release.status
        return status.candidate is None and status.draining is None and status.phase in {"Released", "RolledBack"}

    def job_ends(one: JobWorld) -> bool:
        return one.job.status.finished_at is not None

    return release_ends if isinstance(world, ReleaseWorld) else job_ends
