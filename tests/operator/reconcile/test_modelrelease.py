"""Rows 1 to 9, 11 and 12 of the table in graft_operator.reconcile.modelrelease."""

from typing import Any

import pytest

from graft_core.api.v1alpha1.modelrelease import (
    DrainingStatus,
    ModelReleasePhase,
    ModelReleaseStatus,
)
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateArm,
    RemoveArm,
    RemoveFinalizer,
    SetWeights,
)
from graft_operator.reconcile.observed import NotYet, Refused
from tests.builders import NOW, after
from tests.operator.reconcile.releases import (
    DELETED,
    SLOW,
    at,
    candidate,
    decide,
    history,
    in_force,
    stable,
    trying,
    weights,
)
from tests.operator.reconcile.views import (
    BLUE,
    GREEN,
    RED,
    a_target,
    a_view,
    a_window,
    an_arm,
    condition,
    message,
)


def test_row_1_a_deleted_release_takes_its_candidate_back_first() -> None:
    view = trying(metadata=DELETED)
    decision = decide(view)
    assert decision.actions == (SetWeights({BLUE: 100, GREEN: 0}, "rv-split"),)


def test_row_1_then_closes_the_route_and_then_removes_the_arms() -> None:
    status = ModelReleaseStatus(stable=stable())
    arms = (an_arm(BLUE, 100), an_arm(GREEN, 0))
    closing = decide(a_view(status=status, arms=arms, metadata=DELETED))
    assert closing.actions == (SetWeights({BLUE: 0, GREEN: 0}, "rv-split"), RemoveArm(GREEN, f"rv-{GREEN}"))
    closed = decide(a_view(status=status, arms=(an_arm(BLUE, 0), an_arm(GREEN, 0, terminating=True)), metadata=DELETED))
    assert closed.actions == (RemoveArm(BLUE, f"rv-{BLUE}"),)


def test_row_1_the_finalizer_goes_with_the_last_arm() -> None:
    assert decide(a_view(metadata=DELETED)).actions == (RemoveFinalizer(),)
    gone = decide(a_view(metadata={**DELETED, "finalizers": ()}, arms=(an_arm(BLUE, 100),)))
    assert gone.actions == ()


def test_row_1_orphan_leaves_the_stable_arm_serving() -> None:
    spec = {"deletionPolicy": "Orphan"}
    status = ModelReleaseStatus(stable=stable())
    with_candidate = decide(trying(spec=spec, metadata=DELETED))
    alone = decide(a_view(spec, status=status, arms=(an_arm(BLUE, 100),), metadata=DELETED))
    assert with_candidate.actions == (SetWeights({BLUE: 100, GREEN: 0}, "rv-split"),)
    assert alone.actions == (RemoveFinalizer(),)


def test_row_2_somebody_elses_service_is_not_touched() -> None:
    decision = decide(a_view(foreign="ModelRelease ml/other", arms=(an_arm(RED, 100),)))
    assert condition(decision, "Accepted") == ("False", "Conflict")
    assert (decision.actions, decision.look_again_s) == ((), 60)


def test_row_3_an_arm_that_serves_without_a_status_is_the_stable_one() -> None:
    decision = decide(a_view(arms=(an_arm(BLUE, 95), an_arm(GREEN, 5)), target=a_target(BLUE)))
    assert decision.status.stable is not None
    assert decision.status.stable.revision == BLUE
    assert weights(decision) == {BLUE: 100, GREEN: 0}
    assert "Adopted" in [event.reason for event in decision.events]


def test_row_3_an_arm_that_nobody_knows_loses_its_traffic_and_then_goes() -> None:
    status = ModelReleaseStatus(stable=stable())
    serving = decide(a_view(status=status, arms=(an_arm(BLUE, 90), an_arm(RED, 10)), target=a_target(BLUE)))
    idle = decide(a_view(status=status, arms=(an_arm(BLUE, 100), an_arm(RED, 0)), target=a_target(BLUE)))
    assert serving.actions == (SetWeights({BLUE: 100, RED: 0}, "rv-split"),)
    assert idle.actions == (RemoveArm(RED, f"rv-{RED}"),)


def test_row_3_an_unknown_arm_stays_while_the_wanted_revision_is_not_known() -> None:
    view = a_view(
        status=ModelReleaseStatus(stable=stable()),
        arms=(an_arm(BLUE, 100), an_arm(RED, 0)),
        target=NotYet("StoreUnreachable", "no answer"),
    )
    assert decide(view).actions == ()


def test_row_3_the_wanted_arm_made_by_a_pass_that_died_becomes_the_candidate() -> None:
    view = a_view(status=ModelReleaseStatus(stable=stable()), arms=(an_arm(BLUE, 100), an_arm(GREEN, 0)))
    decision = decide(view)
    assert decision.status.candidate is not None
    assert weights(decision) == {BLUE: 95, GREEN: 5}


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        pytest.param({"spec": {"abort": True}}, "Aborted", "spec.abort is true", id="abort"),
        pytest.param(
            {
                "windows": {
                    BLUE: a_window(BLUE, after(-60), NOW),
                    GREEN: a_window(GREEN, after(-60), NOW, ok=170.0, errors=30.0),
                }
            },
            "AnalysisFailed",
            "error_rate: 0.15 against 0.01 is 0.14 more, over maxDelta 0.02",
            id="fail",
        ),
        pytest.param(
            {
                "arms": (an_arm(BLUE, 95), an_arm(GREEN, 5, ready=False, message="model fell over")),
                "candidate": candidate(unready_since=at(-31), weight_since=None),
            },
            "Unhealthy",
            "not ready for over 30 s: model fell over",
            id="unhealthy",
        ),
        pytest.param(
            {
                "arms": (an_arm(BLUE, 100), an_arm(GREEN, 0, ready=False, message="loading")),
                "candidate": candidate(weight=0, since=at(-3601), ready_at=None, weight_since=None),
            },
            "ProgressDeadlineExceeded",
            "no progress within progressDeadlineSeconds 3600: loading",
            id="never-ready",
        ),
        pytest.param(
            {
                "arms": (an_arm(BLUE, 100), an_arm(GREEN, 0)),
                "requested": {BLUE: 95, GREEN: 5},
                "candidate": candidate(weight=0, step_since=at(-3601), weight_since=None),
            },
            "ProgressDeadlineExceeded",
            "the gateway does not acknowledge its weight",
            id="never-observed",
        ),
        pytest.param(
            {"windows": {}, "candidate": candidate(data_missing_since=at(-121))},
            "Inconclusive",
            f"no usable figures for over 120 s: no metrics of revision {GREEN} yet",
            id="no-data",
        ),
        pytest.param(
            {
                "candidate": candidate(step_since=at(-3661), weight_since=at(-3650)),
                "windows": {
                    BLUE: a_window(BLUE, after(-3650), NOW),
                    GREEN: a_window(GREEN, after(-3650), NOW, ok=30.0, errors=0.0),
                },
            },
            "Inconclusive",
            "step 0 is undecided after 3660 s: 30 of 100 requests",
            id="step-deadline",
        ),
        pytest.param(
            {"requested": {BLUE: 100}},
            "AbortInterrupted",
            "its weight was found written as 0",
            id="interrupted",
        ),
    ],
)
def test_row_4_a_candidate_that_must_go_gets_weight_0_in_the_same_pass(
    changes: dict[str, Any], reason: str, told: str
) -> None:
    view = trying(**changes)
    decision = decide(view)
    entry = decision.status.history[-1]
    assert (entry.revision, entry.outcome, entry.reason) == (GREEN, "RolledBack", reason)
    assert told in entry.message
    assert decision.status.candidate is None
    assert decision.status.draining is not None
    asked = weights(decision)
    assert asked == {BLUE: 100, GREEN: 0} or view.traffic.requested == {BLUE: 100}
    assert condition(decision, "Released") == ("False", "RolledBack")


def test_row_4_an_abort_dominates_a_pause() -> None:
    windows = {BLUE: a_window(BLUE, after(-60), NOW), GREEN: a_window(GREEN, after(-60), NOW, **SLOW)}
    decision = decide(trying(spec={"paused": True}, windows=windows))
    assert weights(decision) == {BLUE: 100, GREEN: 0}
    assert decision.status.phase is ModelReleasePhase.ROLLING_BACK
    assert condition(decision, "AnalysisHealthy") == ("False", "Fail")


def test_row_4_the_losing_arm_stays_warm_for_the_delay_once_its_weight_is_observed_0() -> None:
    status = ModelReleaseStatus(
        stable=stable(), draining=DrainingStatus(revision=GREEN, weight=5), history=history((GREEN, "RolledBack"))
    )
    arms = (an_arm(BLUE, 100), an_arm(GREEN, 0))
    observed = decide(a_view(status=status, arms=arms))
    assert observed.status.draining is not None
    assert (observed.status.draining.since, observed.status.phase) == (at(), ModelReleasePhase.ROLLED_BACK)
    assert observed.actions == ()
    warm = decide(a_view(status=observed.status, arms=arms), after(59))
    due = decide(a_view(status=observed.status, arms=arms), after(60))
    assert (warm.actions, warm.look_again_s) == ((), 1)
    assert due.actions == (RemoveArm(GREEN, f"rv-{GREEN}"),)
    gone = decide(a_view(status=due.status, arms=(an_arm(BLUE, 100),)), after(61))
    assert gone.status.draining is None


def test_row_4_a_drained_arm_that_gets_traffic_again_drains_anew() -> None:
    status = ModelReleaseStatus(stable=stable(), draining=DrainingStatus(revision=RED, since=at(-50)))
    decision = decide(a_view(status=status, arms=(an_arm(BLUE, 90), an_arm(RED, 10)), target=a_target(BLUE)))
    assert decision.status.draining is not None
    assert decision.status.draining.since is None
    assert weights(decision) == {BLUE: 100, RED: 0}


def test_row_4_an_older_arm_makes_room_for_the_one_that_drains_now() -> None:
    status = ModelReleaseStatus(
        stable=stable(weight=95), candidate=candidate(), draining=DrainingStatus(revision=RED, since=at(-5))
    )
    arms = (an_arm(BLUE, 95), an_arm(GREEN, 5), an_arm(RED, 0))
    decision = decide(trying(spec={"abort": True}, status=status, arms=arms))
    assert decision.actions == (SetWeights({BLUE: 100, GREEN: 0, RED: 0}, "rv-split"), RemoveArm(RED, f"rv-{RED}"))


def test_row_4_a_first_release_that_never_gets_ready_is_not_tried_for_ever() -> None:
    start = candidate(weight=0, since=at(-3601), ready_at=None, weight_since=None)
    arms = (an_arm(GREEN, 0, ready=False),)
    failed = decide(a_view(status=ModelReleaseStatus(candidate=start), arms=arms))
    assert failed.status.history[-1].reason == "ProgressDeadlineExceeded"
    again = decide(a_view(status=failed.status), after(100))
    assert (again.actions, again.status.phase) == ((), ModelReleasePhase.ROLLED_BACK)


def test_row_4_a_candidate_without_an_arm_leaves_nothing_to_drain() -> None:
    status = ModelReleaseStatus(stable=stable(), candidate=candidate(weight=0, ready_at=None, weight_since=None))
    decision = decide(a_view({"abort": True}, status=status, arms=(an_arm(BLUE, 100),)))
    assert (decision.status.draining, decision.actions) == (None, ())


def test_row_5_a_broken_stable_arm_freezes_everything() -> None:
    arms = (an_arm(BLUE, 95, ready=False, message="cuda error"), an_arm(GREEN, 5))
    cases: list[dict[str, Any]] = [
        {},
        {"candidate": candidate(step_since=at(-9999))},
        {"target": a_target(RED)},
        {"spec": {"paused": True}},
    ]
    for changes in cases:
        decision = decide(trying(arms=arms, **changes))
        assert condition(decision, "Ready") == ("False", "Degraded")
        assert decision.status.phase is ModelReleasePhase.DEGRADED
        assert (decision.actions, decision.look_again_s) == ((), 5)
        assert "cuda error" in message(decision, "Ready")


def test_row_5_a_person_may_move_to_the_candidate_or_take_it_back() -> None:
    arms = (an_arm(BLUE, 95, ready=False), an_arm(GREEN, 5))
    assert weights(decide(trying(arms=arms, spec={"rollbackTo": GREEN}))) == {BLUE: 0, GREEN: 100}
    assert weights(decide(trying(arms=arms, spec={"abort": True}))) == {BLUE: 100, GREEN: 0}


def test_row_5_a_stable_arm_that_vanished_is_made_again() -> None:
    decision = decide(trying(arms=(an_arm(GREEN, 5),), requested={BLUE: 95, GREEN: 5}))
    assert decision.actions == (CreateArm(BLUE, None),)


def test_row_6_a_refused_artifact_leaves_what_runs_alone() -> None:
    view = a_view(
        status=ModelReleaseStatus(stable=stable()),
        arms=(an_arm(BLUE, 100),),
        target=Refused("GatesFailed", "json_validity Fail"),
    )
    decision = decide(view)
    assert condition(decision, "ArtifactVerified") == ("False", "GatesFailed")
    assert condition(decision, "Released") == ("False", "GatesFailed")
    assert condition(decision, "Ready") == ("True", "Ready")
    assert decision.actions == ()


def test_row_6_a_candidate_of_another_revision_is_taken_back() -> None:
    decision = decide(trying(target=Refused("GatesFailed", "json_validity Fail")))
    assert weights(decision) == {BLUE: 100, GREEN: 0}
    assert decision.status.history[-1].outcome == "Superseded"


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        pytest.param(
            {"engine": {"type": "vllm"}},
            "NotSupported",
            "spec.engine.type 'vllm' is not supported in this version; use transformers",
            id="value",
        ),
        pytest.param(
            {"rollout": {"steps": [{"weight": 50}, {"weight": 5}]}},
            "InvalidSpec",
            "spec.rollout.steps[1].weight 5 must be above 50",
            id="steps",
        ),
    ],
)
def test_row_6_a_spec_that_is_not_supported_starts_nothing(spec: dict[str, Any], reason: str, told: str) -> None:
    decision = decide(a_view(spec))
    assert condition(decision, "Accepted") == ("False", reason)
    assert told in message(decision, "Accepted")
    assert decision.actions == ()


def test_row_7_a_job_that_still_trains_is_waited_for() -> None:
    decision = decide(a_view(target=NotYet("JobNotFinished", "FineTuneJob 'tune' is Training")))
    assert condition(decision, "ArtifactVerified") == ("Unknown", "JobNotFinished")
    assert (decision.actions, decision.look_again_s) == ((), 5)
    assert decision.status.phase is ModelReleasePhase.PENDING


def test_row_7_a_store_out_of_reach_holds_a_candidate_where_it_is() -> None:
    decision = decide(trying(target=NotYet("StoreUnreachable", "no answer")))
    assert decision.actions == ()
    assert decision.status.candidate == candidate()


def test_row_8_the_first_release_is_made_and_gets_everything_once_it_is_ready() -> None:
    made = decide(a_view(metadata={"finalizers": ()}))
    assert made.actions == (AddFinalizer(), CreateArm(GREEN, a_target()))
    loading = decide(a_view(status=made.status, arms=(an_arm(GREEN, 0, ready=False),)), after(1))
    assert loading.actions == ()
    ready = decide(a_view({"paused": True}, status=loading.status, arms=(an_arm(GREEN, 0),)), after(2))
    assert ready.actions == (SetWeights({GREEN: 100}, "rv-split"),)
    assert ready.status.phase is ModelReleasePhase.PROMOTING
    served = decide(a_view(status=ready.status, arms=(an_arm(GREEN, 100),)), after(3))
    assert served.status.phase is ModelReleasePhase.RELEASED
    assert served.status.stable == stable(GREEN, promoted_at=at(3))
    assert [(e.outcome, e.reason) for e in served.status.history] == [("Promoted", "FirstRelease")]
    assert served.actions == ()


def test_row_9_a_spec_that_was_turned_back_takes_the_candidate_back_and_may_try_it_again() -> None:
    decision = decide(trying(target=a_target(BLUE)))
    assert weights(decision) == {BLUE: 100, GREEN: 0}
    entry = decision.status.history[-1]
    assert (entry.outcome, entry.reason) == ("Superseded", "SpecTurnedBack")


def test_row_11_a_revision_that_was_rolled_back_is_not_tried_again() -> None:
    status = in_force(history=history((GREEN, "RolledBack")))
    decision = decide(a_view(status=status, arms=(an_arm(BLUE, 100),)))
    assert decision.status.phase is ModelReleasePhase.ROLLED_BACK
    assert decision.actions == ()
    assert "raise spec.attempt" in message(decision, "Released")


def test_row_12_another_revision_supersedes_the_candidate_and_begins_at_step_0() -> None:
    first = decide(trying(1, target=a_target(RED)))
    assert weights(first) == {BLUE: 100, GREEN: 0}
    assert first.status.history[-1].outcome == "Superseded"
    waiting = decide(
        a_view(
            status=first.status, arms=(an_arm(BLUE, 50), an_arm(GREEN, 50)), requested={BLUE: 100}, target=a_target(RED)
        )
    )
    assert waiting.actions == ()
    begun = decide(
        a_view(status=first.status, arms=(an_arm(BLUE, 100), an_arm(GREEN, 0)), target=a_target(RED)), after(1)
    )
    assert begun.actions == (CreateArm(RED, a_target(RED)),)
    assert begun.status.candidate is not None
    assert begun.status.candidate.step == 0
