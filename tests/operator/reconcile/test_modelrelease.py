"""Every row of the table in graft_operator.reconcile.modelrelease."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from graft_core.api.v1alpha1.modelrelease import (
    AnalysisStatus,
    ArmStatus,
    CandidateStatus,
    DrainingStatus,
    HistoryEntry,
    ModelReleasePhase,
    ModelReleaseStatus,
    Verdict,
)
from graft_core.clock import to_rfc3339
from graft_core.errors import Corrupt
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateArm,
    ModelReleaseDecision,
    RemoveArm,
    RemoveFinalizer,
    SetWeights,
)
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.observed import NotYet, ObservedModelRelease, Refused
from tests.builders import NOW, a_release, after
from tests.operator.reconcile.views import (
    BLUE,
    GREEN,
    RED,
    a_condition,
    a_target,
    a_view,
    a_window,
    an_arm,
    condition,
    message,
)

CHECKS = [{"metric": "error_rate", "maxDelta": "0.02"}, {"metric": "latency_p95", "maxRatio": "1.25"}]
ROLLOUT: dict[str, Any] = {
    "steps": [
        {"weight": 5, "minDurationSeconds": 60, "minRequests": 100},
        {"weight": 50, "minDurationSeconds": 60, "minRequests": 100},
    ],
    "analysis": {"checks": CHECKS},
}
DELETED: dict[str, Any] = {"deletion_timestamp": to_rfc3339(NOW)}


def decide(view: ObservedModelRelease, now: datetime = NOW) -> ModelReleaseDecision:
    """Decide, and hold the pass to what every pass must keep."""
    decision = decide_modelrelease(view, now)
    status = decision.status
    assert len(status.model_dump_json(by_alias=True).encode()) <= 32 * 1024
    assert ModelReleaseStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status
    return decision


def at(seconds: float = 0) -> str:
    """Write a time as statuses hold it."""
    return to_rfc3339(after(seconds))


def stable(revision: str = BLUE, **fields: Any) -> ArmStatus:
    """Build the stable arm's status, promoted long ago."""
    values: dict[str, Any] = {"weight": 100, "promoted_at": at(-9000), **fields}
    return ArmStatus(revision=revision, digest="sha256:" + revision[0] * 64, **values)


def candidate(step: int = 0, **fields: Any) -> CandidateStatus:
    """Build a candidate whose window opened a minute before NOW."""
    values: dict[str, Any] = {
        "weight": (5, 50)[step],
        "since": at(-200),
        "ready_at": at(-190),
        "step_since": at(-70),
        "weight_since": at(-60),
        **fields,
    }
    return CandidateStatus(revision=GREEN, digest="sha256:" + "c" * 64, step=step, **values)


def trying(step: int = 0, spec: dict[str, Any] | None = None, **fields: Any) -> ObservedModelRelease:
    """Build a view in the middle of a rollout, with healthy figures."""
    weight = (5, 50)[step]
    status = fields.pop("status", None) or ModelReleaseStatus(
        stable=stable(weight=100 - weight), candidate=fields.pop("candidate", candidate(step))
    )
    values: dict[str, Any] = {
        "arms": (an_arm(BLUE, 100 - weight), an_arm(GREEN, weight)),
        "windows": {BLUE: a_window(BLUE, after(-60), NOW), GREEN: a_window(GREEN, after(-60), NOW)},
        **fields,
    }
    return a_view({"rollout": ROLLOUT, **(spec or {})}, status=status, **values)


def history(*entries: tuple[str, Any]) -> tuple[HistoryEntry, ...]:
    """Build a history of (revision, outcome)."""
    return tuple(
        HistoryEntry(revision=revision, digest="", outcome=outcome, reason="Why", message="told", at=at(-100))
        for revision, outcome in entries
    )


SLOW = {"latency": ((0.1, 10.0), (1.0, 200.0), (float("inf"), 200.0))}


def weights(decision: ModelReleaseDecision) -> dict[str, int] | None:
    """Return the split that is asked for."""
    return next((dict(a.weights) for a in decision.actions if isinstance(a, SetWeights)), None)


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


def test_row_10_in_the_steady_state_nothing_is_done() -> None:
    view = a_view(status=ModelReleaseStatus(stable=stable()), arms=(an_arm(BLUE, 100),), target=a_target(BLUE))
    settled = decide(view)
    again = decide(replace(view, release=view.release.model_copy(update={"status": settled.status})))
    assert again.status is settled.status
    assert (again.actions, again.events, again.look_again_s) == ((), (), None)
    assert settled.status.phase is ModelReleasePhase.RELEASED


def in_force(**fields: Any) -> ModelReleaseStatus:
    return ModelReleaseStatus(stable=stable(), conditions=(a_condition("TrafficSplit", reason="InForce"),), **fields)


def test_row_10_weights_edited_by_hand_are_told_and_restored() -> None:
    view = a_view(status=in_force(), arms=(an_arm(BLUE, 100), an_arm(RED, 0)), requested={BLUE: 60, RED: 40})
    decision = decide(replace(view, target=a_target(BLUE)))
    assert weights(decision) == {BLUE: 100, RED: 0}
    assert f"weights were found {RED} 40 %, {BLUE} 60 %, expected {BLUE} 100 %; restored" in {
        event.message for event in decision.events
    }


def test_row_10_weights_edited_by_hand_are_kept_where_the_spec_says_so() -> None:
    spec = {"rollout": {"onDrift": "Pause"}}
    arms = (an_arm(BLUE, 100),)
    view = a_view(spec, status=in_force(), arms=arms, requested={BLUE: 60}, target=a_target(BLUE))
    first = decide(view)
    assert condition(first, "TrafficSplit") == ("False", "DriftPaused")
    later = decide(replace(view, release=a_release(spec, status=first.status), arms=(an_arm(BLUE, 60),)))
    assert (first.actions, later.actions) == ((), ())
    back = decide(a_view(spec, status=later.status, arms=arms, target=a_target(BLUE)))
    assert condition(back, "TrafficSplit") == ("True", "InForce")


def test_row_10_weights_edited_in_mid_step_are_restored_and_the_window_begins_anew() -> None:
    decision = decide(trying(requested={BLUE: 80, GREEN: 20}, arms=(an_arm(BLUE, 80), an_arm(GREEN, 20))))
    assert weights(decision) == {BLUE: 95, GREEN: 5}
    assert decision.status.candidate is not None
    assert decision.status.candidate.weight_since is None
    assert "Drifted" in [event.reason for event in decision.events]


def test_row_10_a_weight_of_ours_that_a_dead_pass_left_is_no_drift() -> None:
    windows = {BLUE: a_window(BLUE, after(-60), NOW)}
    view = trying(spec={"rollout": {**ROLLOUT, "onDrift": "Pause"}}, requested={BLUE: 50, GREEN: 50}, windows=windows)
    decision = decide(view)
    assert weights(decision) == {BLUE: 95, GREEN: 5}
    assert "Drifted" not in [event.reason for event in decision.events]


def watched(**fields: Any) -> ObservedModelRelease:
    """Build a view soon after GREEN was promoted over BLUE."""
    looks = tuple(
        AnalysisStatus(step=1, metric=metric, stable=value, candidate=value, samples=200, verdict=Verdict.PASS)
        for metric, value in (("error_rate", "0.01"), ("latency_p95", "0.15"))
    )
    status = ModelReleaseStatus(
        stable=stable(GREEN, promoted_at=at(-60)),
        draining=DrainingStatus(revision=BLUE, since=at(-30)),
        analysis=looks,
        history=history((BLUE, "Promoted"), (GREEN, "Promoted")),
        conditions=(a_condition("TrafficSplit"),),
    )
    values: dict[str, Any] = {
        "arms": (an_arm(GREEN, 100), an_arm(BLUE, 0)),
        "windows": {GREEN: a_window(GREEN, after(-60), NOW, **SLOW)},
        **fields,
    }
    return a_view({"rollout": ROLLOUT}, status=status, **values)


def test_row_10_a_fail_within_the_watch_goes_back_to_the_warm_arm_at_once() -> None:
    decision = decide(watched())
    assert weights(decision) == {BLUE: 100, GREEN: 0}
    assert (decision.status.history[-1].revision, decision.status.history[-1].reason) == (GREEN, "WatchFailed")
    assert decision.status.candidate is not None
    assert decision.status.candidate.revision == BLUE
    back = decide(
        replace(
            watched(arms=(an_arm(GREEN, 0), an_arm(BLUE, 100))),
            release=a_release({"rollout": ROLLOUT}, status=decision.status),
        ),
        after(1),
    )
    assert back.status.stable is not None
    assert (back.status.stable.revision, back.status.stable.promoted_at) == (BLUE, None)
    assert back.status.draining is not None
    assert condition(back, "Released") == ("False", "RolledBack")


def test_row_10_a_fail_within_the_watch_makes_the_previous_arm_again_where_it_is_gone() -> None:
    decision = decide(watched(arms=(an_arm(GREEN, 100),), known={BLUE: "sha256:b", GREEN: "sha256:c"}))
    assert decision.actions == (CreateArm(BLUE, None),)


def test_row_10_a_fail_within_the_watch_with_no_way_back_is_told() -> None:
    decision = decide(watched(arms=(an_arm(GREEN, 100),)))
    assert condition(decision, "AnalysisHealthy") == ("False", "NoWayBack")
    assert decision.actions == ()


def test_row_10_healthy_figures_in_the_watch_change_nothing() -> None:
    decision = decide(watched(windows={GREEN: a_window(GREEN, after(-60), NOW)}))
    assert decision.actions == ()
    assert decision.status.phase is ModelReleasePhase.RELEASED


def test_row_10_after_the_watch_figures_are_no_longer_judged() -> None:
    assert decide(watched(), after(541)).status.history == history((BLUE, "Promoted"), (GREEN, "Promoted"))


def test_row_10_the_first_release_has_nothing_to_go_back_to() -> None:
    view = watched()
    status = view.release.status.model_copy(update={"history": history((GREEN, "Promoted"))})
    decision = decide(replace(view, release=a_release({"rollout": ROLLOUT}, status=status)))
    assert weights(decision) is None


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


def test_row_13_a_candidate_is_made_at_weight_0() -> None:
    decision = decide(a_view(status=in_force(), arms=(an_arm(BLUE, 100),)))
    assert decision.actions == (CreateArm(GREEN, a_target()),)
    assert condition(decision, "Progressing") == ("True", "Progressing")


def test_row_13_no_candidate_is_begun_while_abort_is_set() -> None:
    decision = decide(a_view({"abort": True}, status=in_force(), arms=(an_arm(BLUE, 100),)))
    assert decision.actions == ()
    assert "spec.abort is true" in message(decision, "Progressing")


def test_row_13_an_arm_of_that_revision_that_still_goes_away_is_waited_for() -> None:
    arms = (an_arm(BLUE, 100), an_arm(GREEN, 0, terminating=True))
    decision = decide(a_view(status=in_force(), arms=arms))
    assert (decision.actions, decision.status.candidate) == ((), None)


def test_row_14_a_candidate_that_is_not_ready_gets_no_traffic() -> None:
    start = candidate(weight=0, ready_at=None, weight_since=None)
    arms = (an_arm(BLUE, 100), an_arm(GREEN, 0, ready=False, message="loading"))
    decision = decide(trying(candidate=start, arms=arms))
    assert decision.actions == ()
    assert "loading" in message(decision, "Progressing")


def test_row_14_a_flap_ends_the_window_and_keeps_the_weight() -> None:
    down = decide(trying(arms=(an_arm(BLUE, 95), an_arm(GREEN, 5, ready=False))))
    assert down.actions == ()
    assert down.status.candidate is not None
    assert (down.status.candidate.unready_since, down.status.candidate.weight_since) == (at(), None)
    back = decide(trying(status=down.status), after(10))
    assert back.status.candidate is not None
    assert (back.status.candidate.unready_since, back.status.candidate.weight_since) == (None, at(10))


def test_row_14_a_candidate_whose_arm_vanished_is_made_again() -> None:
    start = candidate(weight=0, ready_at=None, weight_since=None)
    assert decide(trying(candidate=start, arms=(an_arm(BLUE, 100),))).actions == (CreateArm(GREEN, a_target()),)


def test_row_14_a_promoting_candidate_that_flaps_keeps_what_it_has() -> None:
    going = candidate(1, promoting=True, weight_since=None)
    arms = (an_arm(BLUE, 0), an_arm(GREEN, 100, ready=False))
    assert decide(trying(1, candidate=going, arms=arms)).actions == ()
    arms = (an_arm(BLUE, 50), an_arm(GREEN, 50, ready=False))
    assert decide(trying(1, candidate=going, arms=arms)).actions == ()


def test_row_15_paused_holds_the_weights_and_keeps_reading() -> None:
    decision = decide(trying(spec={"paused": True}))
    assert decision.actions == ()
    assert decision.status.phase is ModelReleasePhase.PAUSED
    assert [look.verdict for look in decision.status.analysis] == [Verdict.PASS, Verdict.PASS]


def test_row_15_a_candidate_that_gets_ready_while_paused_gets_no_weight() -> None:
    start = candidate(weight=0, weight_since=None)
    arms = (an_arm(BLUE, 100), an_arm(GREEN, 0))
    assert decide(trying(spec={"paused": True}, candidate=start, arms=arms)).actions == ()


def test_row_15_a_pause_does_not_eat_the_steps_deadline() -> None:
    held = candidate(step_since=at(-9000), paused_since=at(-8000), weight_since=at(-8900))
    few = {BLUE: a_window(BLUE, after(-50), NOW), GREEN: a_window(GREEN, after(-50), NOW, ok=30.0, errors=0.0)}
    paused = decide(trying(spec={"paused": True}, candidate=held, windows=few))
    resumed = decide(trying(candidate=held, windows=few))
    assert paused.status.candidate == held
    assert resumed.status.candidate is not None
    assert (resumed.status.candidate.paused_since, resumed.status.candidate.step_since) == (None, at())


def test_row_16_shadow_is_refused_by_name() -> None:
    decision = decide(a_view({"rollout": {"shadow": {"percent": 20}}}))
    assert message(decision, "Accepted") == "spec.rollout.shadow is not supported in this version"
    assert decision.actions == ()


def test_row_17_the_window_begins_when_the_weight_is_observed() -> None:
    start = candidate(weight=0, weight_since=None)
    asked = decide(trying(candidate=start, arms=(an_arm(BLUE, 100), an_arm(GREEN, 0))))
    assert asked.actions == (SetWeights({BLUE: 95, GREEN: 5}, "rv-split"),)
    not_yet = decide(
        trying(status=asked.status, arms=(an_arm(BLUE, 100), an_arm(GREEN, 0)), requested={BLUE: 95, GREEN: 5}),
        after(1),
    )
    assert not_yet.actions == ()
    assert not_yet.status.candidate is not None
    assert not_yet.status.candidate.weight_since is None
    observed = decide(trying(status=not_yet.status), after(2))
    assert observed.status.candidate is not None
    assert observed.status.candidate.weight_since == at(2)


@pytest.mark.parametrize(
    ("figures", "now", "healthy"),
    [
        pytest.param({"since": after(-59)}, NOW, "True", id="too-early"),
        pytest.param({"ok": 90.0, "errors": 0.0}, NOW, "True", id="too-few-requests"),
        pytest.param({"ok": 9.0, "errors": 0.0}, NOW, "Unknown", id="too-few-samples"),
        pytest.param({}, after(31), "Unknown", id="stale"),
        pytest.param({"since": after(-61)}, NOW, "Unknown", id="of-an-earlier-step"),
        pytest.param({"ok": float("nan")}, NOW, "Unknown", id="nan"),
        pytest.param({"label": RED}, NOW, "Unknown", id="other-revision"),
    ],
)
def test_row_18_without_a_pass_the_step_is_held(figures: dict[str, Any], now: datetime, healthy: str) -> None:
    figures = dict(figures)
    mine = a_window(figures.pop("label", GREEN), figures.pop("since", after(-60)), NOW, **figures)
    decision = decide(trying(windows={BLUE: a_window(BLUE, after(-60), NOW), GREEN: mine}), now)
    assert decision.actions == ()
    assert decision.status.candidate is not None
    assert (decision.status.candidate.step, condition(decision, "AnalysisHealthy")[0]) == (0, healthy)
    assert decision.look_again_s is not None


def test_row_18_missing_figures_are_noted_with_their_time() -> None:
    decision = decide(trying(windows={}))
    assert decision.status.candidate is not None
    assert decision.status.candidate.data_missing_since == at()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"windows": {}, "candidate": candidate(data_missing_since=at(-121))}, id="no-data"),
        pytest.param(
            {"windows": {}, "candidate": candidate(step_since=at(-4000), weight_since=at(-3999))}, id="deadline"
        ),
    ],
)
def test_row_18_what_can_not_be_decided_pauses_where_the_spec_says_so(changes: dict[str, Any]) -> None:
    decision = decide(trying(spec={"rollout": {**ROLLOUT, "onFailure": "Pause"}}, **changes))
    assert decision.actions == ()
    assert decision.status.phase is ModelReleasePhase.PAUSED


def test_row_19_a_pass_goes_to_the_next_step() -> None:
    decision = decide(trying(spec={"rollout": {**ROLLOUT, "onDrift": "Pause"}}))
    assert "Drifted" not in [event.reason for event in decision.events]
    assert weights(decision) == {BLUE: 50, GREEN: 50}
    assert decision.status.candidate is not None
    assert (decision.status.candidate.step, decision.status.candidate.weight_since) == (1, None)


def test_row_19_without_checks_a_step_passes_on_time_and_requests_alone_and_says_so() -> None:
    decision = decide(trying(spec={"rollout": {"steps": ROLLOUT["steps"]}}))
    assert weights(decision) == {BLUE: 50, GREEN: 50}
    assert "no checks are set" in message(decision, "AnalysisHealthy")


def test_row_20_the_last_pass_promotes_and_the_old_arm_drains() -> None:
    asked = decide(trying(1, spec={"rollout": {**ROLLOUT, "onDrift": "Pause"}}))
    assert weights(asked) == {BLUE: 0, GREEN: 100}
    assert asked.status.phase is ModelReleasePhase.PROMOTING
    served = decide(trying(1, status=asked.status, arms=(an_arm(BLUE, 0), an_arm(GREEN, 100))), after(1))
    assert served.status.stable == stable(GREEN, promoted_at=at(1))
    assert served.status.draining is not None
    assert (served.status.draining.revision, served.status.draining.since) == (BLUE, at(1))
    assert served.status.phase is ModelReleasePhase.RELEASED
    assert served.status.history[-1].outcome == "Promoted"


def test_row_20_going_back_to_a_warm_arm_takes_one_pass() -> None:
    status = in_force(draining=DrainingStatus(revision=RED, since=at(-5)), history=history((RED, "Promoted")))
    view = a_view({"rollbackTo": RED}, status=status, arms=(an_arm(BLUE, 100), an_arm(RED, 0)))
    assert weights(decide(view)) == {BLUE: 0, RED: 100}


def test_row_20_going_back_to_a_revision_whose_arm_is_gone_makes_it_first() -> None:
    view = a_view({"rollbackTo": RED}, status=in_force(), arms=(an_arm(BLUE, 100),), known={RED: "sha256:a"})
    decision = decide(view)
    assert decision.actions == (CreateArm(RED, None),)
    assert decision.status.candidate is not None
    assert decision.status.candidate.digest == "sha256:a"


def test_row_20_going_back_to_what_runs_or_to_what_nobody_kept_changes_nothing() -> None:
    here = decide(a_view({"rollbackTo": BLUE}, status=in_force(), arms=(an_arm(BLUE, 100),)))
    nowhere = decide(a_view({"rollbackTo": RED}, status=in_force(), arms=(an_arm(BLUE, 100),)))
    assert (here.actions, nowhere.actions) == ((), ())
    assert here.status.phase is ModelReleasePhase.RELEASED
    assert f"{RED!r} is not a revision that is kept; expected one of {BLUE}" in message(nowhere, "Progressing")


def test_a_step_beyond_the_specs_steps_counts_as_the_last_one() -> None:
    view = trying(1, spec={"rollout": {**ROLLOUT, "steps": [{"weight": 50, "minDurationSeconds": 60}]}})
    assert weights(decide(view)) == {BLUE: 0, GREEN: 100}


def test_a_status_that_holds_no_time_where_one_must_be_is_corrupt() -> None:
    with pytest.raises(Corrupt, match=r"status.candidate.weightSince holds 'soon'"):
        decide_modelrelease(trying(candidate=candidate(weight_since="soon")), NOW)
