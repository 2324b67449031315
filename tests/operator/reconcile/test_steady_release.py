"""Row 10 of the table in graft_operator.reconcile.modelrelease."""

from dataclasses import replace

from graft_core.api.v1alpha1.modelrelease import (
    ModelReleasePhase,
    ModelReleaseStatus,
)
from graft_operator.reconcile.decision import (
    CreateArm,
)
from tests.builders import NOW, a_release, after
from tests.operator.reconcile.releases import (
    ROLLOUT,
    decide,
    history,
    in_force,
    stable,
    trying,
    watched,
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
)


def test_row_10_in_the_steady_state_nothing_is_done() -> None:
    view = a_view(status=ModelReleaseStatus(stable=stable()), arms=(an_arm(BLUE, 100),), target=a_target(BLUE))
    settled = decide(view)
    again = decide(replace(view, release=view.release.model_copy(update={"status": settled.status})))
    assert again.status is settled.status
    assert (again.actions, again.events, again.look_again_s) == ((), (), None)
    assert settled.status.phase is ModelReleasePhase.RELEASED


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
    assert condition(back, "TrafficSplit") == ("True", "Serving")


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
