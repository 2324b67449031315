"""What of a release's status waits for the next write, for how long, and what it must never wait with."""

from typing import Any

import pytest

from graft_core.api.v1alpha1.modelrelease import AnalysisStatus, CandidateStatus, ModelReleaseStatus, Verdict
from graft_operator.engine.directory import Key
from graft_operator.engine.holding import FIGURES_S, SHIFT_S, Holding
from graft_operator.reconcile.decision import Action, Event, ModelReleaseDecision, RemoveArm, SetWeights
from tests.builders import a_release
from tests.fakes.clock import FakeClock
from tests.operator.reconcile.views import a_condition

KEY = Key("ModelRelease", "ml", "shop")
OLD, NEW = "0" * 10, "1" * 10
STORED = {"the": "status as it is stored"}
MOVE = SetWeights({OLD: 90, NEW: 10}, "7")
LOOK = AnalysisStatus(step=0, metric="error_rate", samples=9, verdict=Verdict.PASS)


def a_status(
    reason: str = "Serving", *, analysis: tuple[AnalysisStatus, ...] = (), **candidate: Any
) -> ModelReleaseStatus:
    values: dict[str, Any] = {"revision": NEW, "digest": "", "since": "2026-01-31T09:00:00Z", **candidate}
    return ModelReleaseStatus(
        conditions=(a_condition("TrafficSplit", "True" if reason == "Serving" else "False", reason),),
        candidate=CandidateStatus(**values),
        analysis=analysis,
    )


SERVES, SHIFTS = a_status(), a_status("Shifting", step=1)


def decided(status: ModelReleaseStatus, *actions: Any, events: tuple[Event, ...] = ()) -> ModelReleaseDecision:
    return ModelReleaseDecision(status, actions, events)


def make() -> tuple[Holding, FakeClock]:
    clock = FakeClock()
    return Holding(clock), clock


def test_figures_wait_half_a_minute_since_the_first_of_them() -> None:
    holding, clock = make()
    for samples, left_s in ((1, FIGURES_S), (2, FIGURES_S - 10), (3, FIGURES_S - 20)):
        status = a_status(analysis=(LOOK.model_copy(update={"samples": samples}),))
        assert holding.hold(KEY, STORED, SERVES, decided(status)) == left_s
        assert holding.recall(KEY, a_release(), STORED).status == status
        clock.advance(10)
    assert holding.hold(KEY, STORED, SERVES, decided(a_status(analysis=(LOOK,)))) is None


def test_a_move_waits_until_the_gateway_has_it_or_ten_seconds() -> None:
    holding, clock = make()
    assert holding.hold(KEY, STORED, SERVES, decided(SHIFTS, MOVE)) == SHIFT_S
    clock.advance(4)
    assert holding.hold(KEY, STORED, SERVES, decided(a_status("Shifting", step=1, weight=10))) == SHIFT_S - 4
    assert holding.hold(KEY, STORED, SERVES, decided(a_status(step=1, weight=10))) is None
    assert holding.hold(KEY, STORED, SERVES, decided(SHIFTS, MOVE)) == SHIFT_S
    clock.advance(SHIFT_S)
    assert holding.hold(KEY, STORED, SERVES, decided(SHIFTS)) is None


@pytest.mark.parametrize(
    ("status", "actions", "events"),
    [
        (a_status(step=1), (), ()),
        (SHIFTS, (), ()),
        (SHIFTS, (MOVE, RemoveArm(OLD, "8")), ()),
        (SHIFTS, (MOVE,), (Event("Warning", "Drifted", "restored"),)),
        (a_status("DriftPaused"), (), ()),
        (a_status("Shifting", revision=OLD), (MOVE,), ()),
        (a_status("Shifting", unready_since="2026-01-31T09:00:00Z"), (MOVE,), ()),
        (ModelReleaseStatus(conditions=SHIFTS.conditions), (MOVE,), ()),
        (SHIFTS.model_copy(update={"phase": "RollingBack"}), (MOVE,), ()),
        (SERVES, (), ()),
    ],
    ids=["step", "no move", "removal", "warning", "drift", "another", "unready", "given up", "phase", "nothing"],
)
def test_everything_else_is_written_at_once(
    status: ModelReleaseStatus, actions: tuple[Action, ...], events: tuple[Event, ...]
) -> None:
    holding, _ = make()
    assert holding.hold(KEY, STORED, SERVES, decided(status, *actions, events=events)) is None
    release = a_release()
    assert holding.recall(KEY, release, STORED) is release


def test_what_is_held_is_dropped_where_somebody_else_wrote_or_the_object_went() -> None:
    holding, _ = make()
    release = a_release()
    holding.hold(KEY, STORED, SERVES, decided(SHIFTS, MOVE))
    assert holding.recall(KEY, release, {"another": "status"}) is release
    assert holding.recall(KEY, release, STORED) is release
    holding.hold(KEY, STORED, SERVES, decided(SHIFTS, MOVE))
    holding.forget(KEY)
    assert holding.recall(KEY, release, STORED) is release
