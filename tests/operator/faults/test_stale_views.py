"""Thousands of event schedules on the pure core: permuted, late, repeated and lost events; no wrong action, and the end is always the same.

A wrong action is one that breaks an invariant (the worlds watch each decision), that makes a child of a job which has ended or goes, or
that leads to another end. A failure names its seeds; `GRAFT_TEST_SEED=N` plays one of them alone.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import FineTuneJobPhase
from graft_core.api.v1alpha1.modelrelease import ModelReleasePhase
from graft_operator.reconcile.observed import ObservedFineTuneJob, ObservedModelRelease
from tests.operator.faults.schedules import Schedule, settle
from tests.operator.reconcile.job_world import JobWorld
from tests.operator.reconcile.release_world import ReleaseWorld
from tests.operator.reconcile.test_invariants import SPEC as INVARIANTS
from tests.operator.reconcile.test_invariants import job_outcome, job_world
from tests.operator.reconcile.views import BLUE, GREEN, a_target

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]  # what they reach, the unit tests have covered

SCHEDULES = int(os.environ.get("GRAFT_TEST_SCHEDULES", "1000"))
"""Of each kind; `make test-all` plays 5,000."""
BLOCK = 500
ONE = os.environ.get("GRAFT_TEST_SEED")

SPEC: dict[str, Any] = {
    "rollout": {
        **INVARIANTS["rollout"],
        "progressDeadlineSeconds": 600,
        "watchAfterPromotionSeconds": 30,
        "onDrift": "Pause",  # nobody edits weights: a pass that takes its own for somebody's would stand still for ever
    }
}

JOB_FATES: tuple[tuple[dict[Any, str], str, FineTuneJobPhase, str], ...] = (
    ({}, "Pass", FineTuneJobPhase.SUCCEEDED, "Complete"),
    ({}, "Fail", FineTuneJobPhase.GATES_FAILED, "GatesFailed"),
    ({"check": "InvalidDataset"}, "Pass", FineTuneJobPhase.FAILED, "InvalidDataset"),
    ({"train": "OutOfMemory"}, "Pass", FineTuneJobPhase.FAILED, "OutOfMemory"),
    ({"train": "Infrastructure"}, "Pass", FineTuneJobPhase.FAILED, "BackoffLimitExceeded"),
)
JOB_DEEDS: Mapping[str, Callable[[JobWorld], None]] = {
    "suspend": lambda world: world.edit(suspend=True),
    "resume": lambda world: world.edit(suspend=False),
}
RELEASE_FATES = (
    ("healthy", ModelReleasePhase.RELEASED, GREEN),
    ("failing", ModelReleasePhase.ROLLED_BACK, BLUE),
    ("dead", ModelReleasePhase.ROLLED_BACK, BLUE),
)
RELEASE_DEEDS: Mapping[str, Callable[[ReleaseWorld], None]] = {
    "pause": lambda world: world.edit(paused=True),
    "go on": lambda world: world.edit(paused=False),
    "blue flaps": lambda world: world.flap(BLUE),
}


class WatchedJobWorld(JobWorld):
    """Knows the truth that a late view does not: whether the job has ended, or goes."""

    def _apply(self, action: Any) -> None:
        before = set(self.children)
        super()._apply(action)
        made = set(self.children) - before
        assert not (made and self.job.status.finished_at is not None), f"{made} made after the end"


def play_job(seed: int, kind: type[JobWorld] = WatchedJobWorld) -> None:
    fate, gate, phase, reason = JOB_FATES[seed % len(JOB_FATES)]
    plain = job_world(fate, gate)
    world = kind(plain.job, fate=plain.fate, manifest_gates=plain.manifest_gates)
    Schedule(seed).play(world, JOB_DEEDS if seed % 2 else {})
    if seed % 7 == 0:
        world.delete()
        Schedule(~seed & 0xFFFF).play(world, {})
        settle(world, 5)
        assert world.is_gone
        assert world.children == {}
        return
    world.edit(suspend=False)
    settle(world, 10)
    assert job_outcome(world) == (phase, reason)


@cache
def a_running_release() -> ReleaseWorld:
    world = ReleaseWorld.new(SPEC, a_target(BLUE))
    settle(world, 10)
    assert world.release.status.phase is ModelReleasePhase.RELEASED
    return world


def play_release(seed: int, kind: type[ReleaseWorld] = ReleaseWorld) -> None:
    behaviour, phase, stable = RELEASE_FATES[seed % len(RELEASE_FATES)]
    kept = a_running_release()
    world = kind(
        kept.release,
        a_target(GREEN),
        {GREEN: behaviour},
        kept.now,
        arms={revision: replace(arm) for revision, arm in kept.arms.items()},
        requested=dict(kept.requested),
        version=kept.version,
        known=dict(kept.known),
    )
    Schedule(seed, knows_own_status=True).play(world, RELEASE_DEEDS if seed % 2 else {})
    if seed % 7 == 0:
        world.delete()
        Schedule(~seed & 0xFFFF, knows_own_status=True).play(world, {})
        settle(world, 10)
        assert world.is_gone
        assert (world.arms, world.requested) == ({}, {})
        return
    world.edit(paused=False)
    settle(world, 10)
    assert (world.release.status.phase, world.requested, sorted(world.arms)) == (phase, {stable: 100}, [stable])


def wrong_of(play: Callable[[int], None], seeds: Iterable[int]) -> dict[int, str]:
    wrong: dict[int, str] = {}
    for seed in seeds:
        try:
            play(seed)
        except AssertionError as error:
            wrong[seed] = str(error).partition("\n")[0][:200]
    return wrong


@pytest.mark.parametrize("play", [play_job, play_release], ids=["FineTuneJob", "ModelRelease"])
@pytest.mark.parametrize("block", range(0, SCHEDULES, BLOCK))
def test_no_schedule_of_events_leads_to_a_wrong_action(play: Callable[[int], None], block: int) -> None:
    assert wrong_of(play, [int(ONE)] if ONE else range(block, block + BLOCK)) == {}


class TrustsRequests(ReleaseWorld):
    """A core that takes the weights that were asked for as those in force."""

    def observe(self) -> ObservedModelRelease:
        view = super().observe()
        arms = tuple(replace(arm, weight_observed=view.traffic.requested.get(arm.revision, 0)) for arm in view.arms)
        return replace(view, arms=arms)


class ForgetsTheEnd(WatchedJobWorld):
    """A core that reads children alone, and does not see that a job has ended."""

    def observe(self) -> ObservedFineTuneJob:
        view = super().observe()
        status = view.job.status.model_copy(update={"finished_at": None, "conditions": ()})
        return replace(view, job=view.job.model_copy(update={"status": status}))


def test_the_sweep_would_show_a_core_that_is_wrong() -> None:
    assert wrong_of(lambda seed: play_job(seed, ForgetsTheEnd), range(60))
    assert wrong_of(lambda seed: play_release(seed, TrustsRequests), range(120))
