"""The verdict: what passes, what fails, and what never passes."""

import math
from typing import Any

import pytest

from graft_core.api.v1alpha1.modelrelease import Verdict
from graft_core.api.v1alpha1.rollout import AnalysisCheck
from graft_operator.reconcile.analysis import Question, StepVerdict, judge_thresholds
from graft_operator.reconcile.observed import Window
from tests.builders import NOW, after
from tests.operator.reconcile.views import BLUE, GREEN, RED, a_window

INF = math.inf


def judge(checks: list[dict[str, Any]], candidate: Any = None, stable: Any = None, **fields: Any) -> StepVerdict:
    """Judge windows that hold the given figures; None stands for a missing window."""
    values: dict[str, Any] = {
        "step": 0,
        "checks": tuple(AnalysisCheck.model_validate({"minSamples": 20, **check}) for check in checks),
        "since": after(-60),
        "candidate_revision": GREEN,
        "candidate": _window(GREEN, candidate),
        "stable_revision": BLUE,
        "stable": _window(BLUE, stable),
        "stale_after_s": 30.0,
        **fields,
    }
    return judge_thresholds(Question(**values), NOW)


def _window(revision: str, given: Any) -> Window | None:
    if isinstance(given, Window):
        return given
    return None if given == "none" else a_window(revision, after(-60), NOW, **(given or {}))


ERRORS = {"metric": "error_rate"}
SLOW = {"latency": ((0.1, 0.0), (0.2, 200.0), (INF, 200.0))}


@pytest.mark.parametrize(
    ("check", "candidate", "stable", "verdict", "detail"),
    [
        pytest.param({**ERRORS, "max": "0.01"}, {}, {}, Verdict.PASS, "0.01 is within its bounds", id="max-inclusive"),
        pytest.param({**ERRORS, "max": "0.009"}, {}, {}, Verdict.FAIL, "0.01 is over max 0.009", id="max"),
        pytest.param(
            {"metric": "feedback_score", "min": "0.8"},
            {"feedback_sum": 15.0, "feedback_count": 20.0},
            {},
            Verdict.FAIL,
            "0.75 is under min 0.8",
            id="min",
        ),
        pytest.param(
            {**ERRORS, "maxDelta": "0.02"},
            {"ok": 97.0, "errors": 3.0},
            {"ok": 99.0, "errors": 1.0},
            Verdict.PASS,
            "0.03 against 0.01 is within its bounds",
            id="delta-inclusive-in-spite-of-rounding",
        ),
        pytest.param(
            {**ERRORS, "maxDelta": "0.02"},
            {"ok": 96.0, "errors": 4.0},
            {"ok": 99.0, "errors": 1.0},
            Verdict.FAIL,
            "0.04 against 0.01 is 0.03 more, over maxDelta 0.02",
            id="delta",
        ),
        pytest.param(
            {"metric": "feedback_score", "minDelta": "-0.05"},
            {"feedback_sum": 16.0, "feedback_count": 20.0},
            {"feedback_sum": 18.0, "feedback_count": 20.0},
            Verdict.FAIL,
            "0.8 against 0.9 is -0.1 more, under minDelta -0.05",
            id="min-delta",
        ),
        pytest.param(
            {"metric": "latency_p95", "maxRatio": "1.25"},
            SLOW,
            {},
            Verdict.FAIL,
            "0.195 against 0.15 is over maxRatio 1.25",
            id="ratio",
        ),
        pytest.param(
            {"metric": "latency_p95", "maxRatio": "1.3"},
            SLOW,
            {},
            Verdict.PASS,
            "0.195 against 0.15 is within its bounds",
            id="ratio-inclusive",
        ),
        pytest.param(
            {"metric": "time_to_first_token_p95", "max": "1"},
            {"first_token": ((0.5, 100.0), (INF, 100.0))},
            {},
            Verdict.PASS,
            "0.475 is within its bounds",
            id="first-token",
        ),
        pytest.param(
            {"metric": "latency_p95", "max": "100"},
            {"latency": ((120.0, 10.0), (INF, 200.0))},
            {},
            Verdict.FAIL,
            "120 is over max 100",
            id="beyond-the-last-bound",
        ),
        pytest.param(
            {"metric": "guardrail_block_rate", "max": "0.1"},
            {"ok": 80.0, "errors": 0.0, "blocked": 20.0},
            {},
            Verdict.FAIL,
            "0.2 is over max 0.1",
            id="blocked",
        ),
        pytest.param(
            {**ERRORS, "maxRatio": "2"},
            {"ok": 200.0, "errors": 0.0},
            {"errors": 0.0},
            Verdict.PASS,
            "",
            id="zero-to-zero",
        ),
        pytest.param(
            {**ERRORS, "max": "0.5"},
            {"ok": 19.0, "errors": 0.0},
            {},
            Verdict.CONTINUE,
            "19 of 20 samples at the candidate",
            id="few",
        ),
        pytest.param(
            {**ERRORS, "max": "0.5"},
            {"ok": 0.0, "errors": 0.0},
            {},
            Verdict.CONTINUE,
            "0 of 20 samples at the candidate",
            id="no-requests",
        ),
        pytest.param(
            {"metric": "latency_p95", "max": "1"}, {"latency": ()}, {}, Verdict.CONTINUE, "0 of 20", id="no-histogram"
        ),
        pytest.param(
            {**ERRORS, "maxDelta": "0.5"},
            {},
            {"ok": 5.0},
            Verdict.CONTINUE,
            "7 of 20 samples at the stable arm",
            id="few-at-stable",
        ),
        pytest.param(
            {**ERRORS, "max": "0.001"}, {}, {"ok": 5.0}, Verdict.FAIL, "over max", id="absolute-needs-no-stable-arm"
        ),
        pytest.param(
            {**ERRORS, "max": "0.001", "maxDelta": "0.5"},
            {},
            "none",
            Verdict.FAIL,
            "over max",
            id="absolute-fails-without-stable",
        ),
        pytest.param(
            {**ERRORS, "max": "0.5", "maxDelta": "0.5"},
            {},
            "none",
            Verdict.INCONCLUSIVE,
            f"no metrics of revision {BLUE} yet",
            id="relative-needs-stable",
        ),
    ],
)
def test_a_check_is_judged_by_its_bounds(
    check: dict[str, Any], candidate: Any, stable: Any, verdict: Verdict, detail: str
) -> None:
    found = judge([check], candidate, stable)
    assert (found.verdict, len(found.looks)) == (verdict, 1)
    assert detail in found.looks[0].detail


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param({"ok": math.nan}, id="nan"),
        pytest.param({"errors": INF}, id="inf"),
        pytest.param({"blocked": -1.0}, id="negative"),
        pytest.param({"latency": ((0.1, 5.0), (0.2, math.nan), (INF, 9.0))}, id="nan-bucket"),
        pytest.param({"latency": ((0.1, 5.0), (0.2, 3.0), (INF, 9.0))}, id="falling-buckets"),
        pytest.param({"latency": ((0.2, 5.0), (0.1, 6.0), (INF, 9.0))}, id="bounds-out-of-order"),
        pytest.param({"latency": ((0.1, -5.0), (INF, 9.0))}, id="negative-bucket"),
        pytest.param({"first_token": ((0.1, 5.0), (INF, INF))}, id="infinite-bucket"),
        pytest.param({"feedback_sum": math.nan}, id="nan-feedback"),
    ],
)
def test_figures_that_are_no_counters_are_an_error_and_never_a_pass(figures: dict[str, Any]) -> None:
    for checks in ([], [{**ERRORS, "max": "1"}]):
        found = judge(checks, figures)
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "NaN, infinite, negative or falling" in found.message


@pytest.mark.parametrize(
    ("window", "told"),
    [
        pytest.param(None, "no metrics of revision", id="missing"),
        pytest.param(a_window(RED, after(-60), NOW), f"are labelled revision {RED!r}", id="other-revision"),
        pytest.param(
            a_window(GREEN, after(-61), NOW), "start before the step's weight was observed", id="earlier-step"
        ),
        pytest.param(a_window(GREEN, after(-60), after(-31)), "are older than 30 s", id="stale"),
        pytest.param(a_window(GREEN, after(-60), after(31)), "from the future", id="future"),
    ],
)
def test_figures_that_are_not_of_this_step_never_pass(window: Any, told: str) -> None:
    for checks in ([], [{**ERRORS, "max": "1"}]):
        found = judge(checks, window or "none")
        assert (found.verdict, found.looks) == (Verdict.INCONCLUSIVE, ())
        assert told in found.message


def test_stale_figures_of_the_stable_arm_never_pass_a_comparison() -> None:
    found = judge([{**ERRORS, "maxDelta": "1"}], stable=a_window(BLUE, after(-60), after(-31)))
    assert found.verdict is Verdict.INCONCLUSIVE


def test_one_failing_check_fails_the_step_and_the_message_has_its_figures() -> None:
    found = judge(
        [{**ERRORS, "max": "1"}, {"metric": "latency_p95", "max": "0.1"}, {**ERRORS, "minSamples": 999, "max": "1"}]
    )
    assert found.verdict is Verdict.FAIL
    assert found.message == "latency_p95: 0.15 is over max 0.1"
    assert [look.verdict for look in found.looks] == [Verdict.PASS, Verdict.FAIL, Verdict.CONTINUE]


def test_no_checks_pass_and_say_that_nothing_was_compared() -> None:
    found = judge([])
    assert (found.verdict, found.looks) == (Verdict.PASS, ())
    assert "no checks are set" in found.message


def test_the_watch_compares_with_what_the_old_arm_showed_last() -> None:
    checks = [{"metric": "latency_p95", "maxRatio": "1.25"}, {**ERRORS, "maxDelta": "0.02"}]
    found = judge(checks, SLOW, "none", step=-1, recorded={"latency_p95": 0.1})
    assert [look.verdict for look in found.looks] == [Verdict.FAIL, Verdict.INCONCLUSIVE]
    assert found.looks[0].detail == "0.195 against 0.1 is over maxRatio 1.25"
