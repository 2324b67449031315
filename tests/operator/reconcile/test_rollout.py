"""Rows 13 to 20 of the table in graft_operator.reconcile.modelrelease."""

from datetime import datetime
from typing import Any

import pytest

from graft_core.api.v1alpha1.modelrelease import (
    DrainingStatus,
    ModelReleasePhase,
    Verdict,
)
from graft_core.errors import Corrupt
from graft_operator.reconcile.decision import (
    CreateArm,
    SetWeights,
)
from graft_operator.reconcile.modelrelease import decide_modelrelease
from tests.builders import NOW, after
from tests.operator.reconcile.releases import ROLLOUT, at, candidate, decide, history, in_force, stable, trying, weights
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
