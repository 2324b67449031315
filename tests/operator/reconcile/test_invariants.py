"""The ten invariants, over trajectories that hypothesis thinks up; the worlds check them at every step."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft_core.api.v1alpha1.finetunejob import FineTuneJobPhase, GateStatus
from graft_core.api.v1alpha1.modelrelease import ModelReleasePhase
from graft_operator.reconcile.observed import NotYet, Refused
from tests.operator.reconcile.job_world import JobWorld
from tests.operator.reconcile.release_world import ReleaseWorld
from tests.operator.reconcile.views import BLUE, GREEN, RED, a_target

pytestmark = pytest.mark.timeout(60)

EXAMPLES = int(os.environ.get("GRAFT_TEST_EXAMPLES", "20"))
SPEC: dict[str, Any] = {
    "rollout": {
        "steps": [
            {"weight": 10, "minDurationSeconds": 20, "minRequests": 5},
            {"weight": 50, "minDurationSeconds": 20, "minRequests": 5},
        ],
        "analysis": {"checks": [{"metric": "error_rate", "maxDelta": "0.05", "minSamples": 5}]},
        "progressDeadlineSeconds": 300,
        "scaleDownDelaySeconds": 30,
        "watchAfterPromotionSeconds": 60,
    }
}

# ---------------------------------------------------------------- how passes may go wrong

SCHEDULES = st.lists(
    st.tuples(st.sampled_from(["pass", "dies", "stale", "twice", "late"]), st.integers(0, 2)), min_size=5, max_size=40
)
"""How one pass after another goes: well, dying after so many actions, on an older view, twice, or not at all."""


def perturb(world: ReleaseWorld | JobWorld, schedule: list[tuple[str, int]], tick_s: float) -> None:
    """Run passes as the schedule says."""
    views: list[Any] = []
    for kind, number in schedule:
        views.append(world.observe())
        world.tick(tick_s)
        if world.is_gone:
            return
        world.check_idempotent()
        if kind == "dies":
            world.run_pass(dies_after=number)
        elif kind == "stale":
            old: Any = views[max(0, len(views) - 1 - number)]
            world.run_pass(old)
        elif kind != "late":
            for _ in range(2 if kind == "twice" else 1):
                world.run_pass()


def settle(world: ReleaseWorld | JobWorld, tick_s: float, passes: int = 150) -> None:
    """Run clean passes until nothing changes any more."""
    for _ in range(passes):
        world.tick(tick_s)
        if world.is_gone:
            return
        world.run_pass()


# ---------------------------------------------------------------- ModelRelease


def release_outcome(world: ReleaseWorld) -> tuple[Any, ...]:
    """Say how a release ended: what counts, not when."""
    status = world.release.status
    last = {entry.revision: entry.outcome for entry in status.history}
    return (
        status.stable.revision if status.stable else None,
        status.candidate,
        status.draining,
        status.phase,
        last,
        sorted(world.arms),
        world.requested,
    )


def a_running_release(on_drift: str = "Restore") -> ReleaseWorld:
    """Build a world where BLUE was released."""
    # Nobody edits weights here: with Pause, a pass that takes its own for somebody's would stand still for ever.
    spec = {"rollout": {**SPEC["rollout"], "onDrift": on_drift}}
    world = ReleaseWorld.new(spec, a_target(BLUE))
    settle(world, 5, passes=6)
    assert world.release.status.phase is ModelReleasePhase.RELEASED
    return world


ENDS = [
    pytest.param("healthy", ModelReleasePhase.RELEASED, GREEN, id="healthy"),
    pytest.param("failing", ModelReleasePhase.ROLLED_BACK, BLUE, id="failing"),
    pytest.param("dead", ModelReleasePhase.ROLLED_BACK, BLUE, id="dead"),
]


@pytest.mark.parametrize(("behaviour", "phase", "stable"), ENDS)
def test_a_rollout_left_alone_ends_as_it_must(behaviour: str, phase: ModelReleasePhase, stable: str) -> None:
    world = a_running_release()
    world.target, world.behaviour = a_target(GREEN), {GREEN: behaviour}
    settle(world, 5)
    assert release_outcome(world)[:4] == (stable, None, None, phase)
    assert world.requested == {stable: 100}
    assert sorted(world.arms) == [stable]


@pytest.mark.parametrize(("behaviour", "phase", "stable"), ENDS)
@settings(max_examples=EXAMPLES)
@given(schedule=SCHEDULES)
def test_passes_that_die_come_late_or_see_old_views_change_when_never_what(
    behaviour: str, phase: ModelReleasePhase, stable: str, schedule: list[tuple[str, int]]
) -> None:
    world = a_running_release("Pause")
    world.target, world.behaviour = a_target(GREEN), {GREEN: behaviour}
    perturb(world, schedule, 5)
    settle(world, 5)
    assert release_outcome(world)[:4] == (stable, None, None, phase)
    assert sorted(world.arms) == [stable]


ReleaseDeed = Callable[[ReleaseWorld], None]
DEEDS: dict[str, ReleaseDeed] = {
    "want blue": lambda w: setattr(w, "target", a_target(BLUE)),
    "want green": lambda w: setattr(w, "target", a_target(GREEN)),
    "want red": lambda w: setattr(w, "target", a_target(RED)),
    "not yet": lambda w: setattr(w, "target", NotYet("JobNotFinished", "training")),
    "refused": lambda w: setattr(w, "target", Refused("GatesFailed", "a gate")),
    "green fails": lambda w: w.behaviour.update({GREEN: "failing"}),
    "green heals": lambda w: w.behaviour.update({GREEN: "healthy"}),
    "red dead": lambda w: w.behaviour.update({RED: "dead"}),
    "blue flaps": lambda w: w.flap(BLUE),
    "green flaps": lambda w: w.flap(GREEN),
    "no metrics": lambda w: setattr(w, "has_metrics", False),
    "metrics": lambda w: setattr(w, "has_metrics", True),
    "pause": lambda w: w.edit(paused=True),
    "go on": lambda w: w.edit(paused=False, abort=False, rollbackTo=""),
    "abort": lambda w: w.edit(abort=True),
    "back to blue": lambda w: w.edit(rollbackTo=BLUE),
    "back to green": lambda w: w.edit(rollbackTo=GREEN),
    "wait": lambda w: w.tick(40),
    "arm vanishes": lambda w: w.lose_arm(GREEN),
}


@settings(max_examples=EXAMPLES * 2)
@given(deeds=st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), SCHEDULES.map(lambda s: s[:4])), max_size=14))
def test_no_trajectory_breaks_an_invariant_and_every_one_comes_to_rest(
    deeds: list[tuple[str, list[tuple[str, int]]]],
) -> None:
    world = a_running_release()
    for deed, schedule in deeds:
        DEEDS[deed](world)
        perturb(world, schedule, 5)
    world.behaviour, world.has_metrics, world.target = {}, True, a_target("d" * 10)
    world.edit(paused=False, abort=False, rollbackTo="")
    settle(world, 5)
    assert release_outcome(world)[:4] == ("d" * 10, None, None, ModelReleasePhase.RELEASED)
    assert world.run_pass().actions == ()


@settings(max_examples=EXAMPLES)
@given(deeds=st.lists(st.sampled_from(sorted(DEEDS)), max_size=5), schedule=SCHEDULES)
def test_a_deleted_release_leaves_nothing_behind(deeds: list[str], schedule: list[tuple[str, int]]) -> None:
    world = a_running_release()
    for deed in deeds:
        DEEDS[deed](world)
        settle(world, 5, passes=2)
    world.delete()
    perturb(world, schedule, 5)
    settle(world, 5, passes=20)
    assert world.is_gone
    assert (world.arms, world.requested) == ({}, {})


# ---------------------------------------------------------------- FineTuneJob

FATES = [
    pytest.param({}, "Pass", FineTuneJobPhase.SUCCEEDED, "Complete", id="succeeds"),
    pytest.param({}, "Fail", FineTuneJobPhase.GATES_FAILED, "GatesFailed", id="gates"),
    pytest.param({"check": "InvalidDataset"}, "Pass", FineTuneJobPhase.FAILED, "InvalidDataset", id="data"),
    pytest.param({"check": "Infrastructure"}, "Pass", FineTuneJobPhase.FAILED, "Infrastructure", id="check-infra"),
    pytest.param({"train": "OutOfMemory"}, "Pass", FineTuneJobPhase.FAILED, "OutOfMemory", id="memory"),
    pytest.param({"train": "Infrastructure"}, "Pass", FineTuneJobPhase.FAILED, "BackoffLimitExceeded", id="infra"),
]


def job_world(fate: dict[Any, str], gate: Any = "Pass") -> JobWorld:
    """Build a world with a job and what will become of its children."""
    world = JobWorld.new({"runtime": {"maxRestarts": 2, "ttlSecondsAfterFinished": 200}})
    world.fate = fate
    world.manifest_gates = (GateStatus(metric="json_validity", result=gate, value="0.9"),)
    return world


def job_outcome(world: JobWorld) -> tuple[FineTuneJobPhase, str]:
    """Say how a job ended."""
    ended = [c for c in world.job.status.conditions if c.type in {"Complete", "Failed"} and c.status == "True"]
    return world.job.status.phase, ended[0].reason if ended else ""


@pytest.mark.parametrize(("fate", "gate", "phase", "reason"), FATES)
@settings(max_examples=EXAMPLES)
@given(schedule=SCHEDULES)
def test_a_job_ends_the_same_however_its_passes_went(
    fate: dict[Any, str], gate: str, phase: FineTuneJobPhase, reason: str, schedule: list[tuple[str, int]]
) -> None:
    world = job_world(fate, gate)
    perturb(world, schedule, 5)
    settle(world, 5, passes=60)
    assert job_outcome(world) == (phase, reason)
    ended = world.job.status
    settle(world, 50, passes=10)
    assert world.job.status is ended
    assert world.children == {}


@settings(max_examples=EXAMPLES)
@given(
    deeds=st.lists(
        st.tuples(
            st.sampled_from(["suspend", "resume", "lose train", "lose check", "none"]), SCHEDULES.map(lambda s: s[:5])
        ),
        max_size=8,
    )
)
def test_suspending_and_losing_children_delays_a_job_and_never_breaks_it(
    deeds: list[tuple[str, list[tuple[str, int]]]],
) -> None:
    world = job_world({})
    lost = 0
    for deed, schedule in deeds:
        if deed in {"suspend", "resume"}:
            world.edit(suspend=deed == "suspend")
        elif deed == "lose train" and lost < 2:
            lost += "train" in world.children
            world.kill_child("train")
        elif deed == "lose check":
            world.kill_child("check")
        perturb(world, schedule, 5)
    world.edit(suspend=False)
    settle(world, 5, passes=60)
    assert job_outcome(world) == (FineTuneJobPhase.SUCCEEDED, "Complete")


@settings(max_examples=EXAMPLES)
@given(before=SCHEDULES.map(lambda s: s[:12]), schedule=SCHEDULES)
def test_a_deleted_job_leaves_no_child_behind(before: list[tuple[str, int]], schedule: list[tuple[str, int]]) -> None:
    world = job_world({})
    perturb(world, before, 5)
    settle(world, 1, passes=1)
    world.delete()
    perturb(world, schedule, 5)
    settle(world, 5, passes=10)
    assert world.is_gone


def test_a_training_that_hangs_is_stopped_by_the_watchdog_until_its_restarts_are_used_up() -> None:
    world = job_world({"train": "hangs"})
    settle(world, 60, passes=60)
    assert job_outcome(world) == (FineTuneJobPhase.FAILED, "BackoffLimitExceeded")


def test_the_deadline_ends_a_job_and_its_clock_stands_still_while_suspended() -> None:
    world = JobWorld.new({"runtime": {"activeDeadlineSeconds": 100}})
    world.fate = {"train": "hangs"}
    settle(world, 5, passes=10)
    world.edit(suspend=True)
    world.run_pass()
    settle(world, 500, passes=3)
    assert job_outcome(world)[0] is FineTuneJobPhase.SUSPENDED
    world.edit(suspend=False)
    settle(world, 5, passes=5)
    assert job_outcome(world)[1] == ""
    settle(world, 5, passes=15)
    assert job_outcome(world) == (FineTuneJobPhase.FAILED, "DeadlineExceeded")
