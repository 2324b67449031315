"""The verdict on a step: is the candidate worse than the stable arm, by the checks of `spec.rollout.analysis`?

    what the windows hold                                                   a check says       the step says
    candidate's figures missing, stale, malformed or of another revision    nothing            Inconclusive
    an absolute bound broken, enough samples                                Fail               Fail
    stable's figures missing or the like, and the check compares            Inconclusive       Inconclusive, unless another check fails
    fewer samples than minSamples at an arm that is compared                Continue           Continue, unless another check fails
    a relative bound broken                                                 Fail               Fail
    every bound holds                                                       Pass               Pass where every check passes

A Fail needs fresh figures as much as a Pass does. `judge_thresholds` compares figures as they are; a sequential test can take its place
behind `Judge` without a change to the machine. `minDuration` and `minRequests` are the machine's, not the judge's.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from graft_core.api.v1alpha1.modelrelease import AnalysisStatus, Verdict
from graft_core.api.v1alpha1.rollout import AnalysisCheck, AnalysisMetric
from graft_operator.reconcile.observed import Window

__all__ = ["Judge", "Question", "StepVerdict", "judge_thresholds"]

WATCH_STEP: Final = -1
"""Step index of the watch after promotion."""
TOLERANCE: Final = 1e-9
"""Bounds are inclusive, also where a difference of two shares misses one by a rounding error."""
_QUANTILE: Final = 0.95
_WORST_FIRST: Final = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.CONTINUE)
_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


class Question(NamedTuple):
    """What a judge is asked about one step."""

    step: int
    """Index of the step, -1 for the watch after promotion."""
    checks: tuple[AnalysisCheck, ...]
    since: datetime
    """Start of the step's window; a window that starts earlier holds figures of another step."""
    candidate_revision: str
    candidate: Window | None
    stable_revision: str
    stable: Window | None
    stale_after_s: float
    recorded: Mapping[str, float] = _NOTHING
    """In the watch there is no stable arm beside the candidate: what it showed last, by metric."""


class StepVerdict(NamedTuple):
    """What a judge says."""

    verdict: Verdict
    looks: tuple[AnalysisStatus, ...]
    """One entry a check; none where the candidate has no figures."""
    message: str
    """The figures that decided, or what is missing."""


class Judge(Protocol):
    """Says whether a step may go on."""

    def __call__(self, question: Question, now: datetime) -> StepVerdict:
        """Judge the question; pure, so that the same figures always get the same verdict."""
        ...


def judge_thresholds(question: Question, now: datetime) -> StepVerdict:
    """Judge by absolute and relative bounds with minimum samples."""
    fault = _find_fault(question.candidate, question.candidate_revision, question, now)
    if fault is not None or question.candidate is None:
        return StepVerdict(Verdict.INCONCLUSIVE, (), fault or "")
    stable_fault = _find_fault(question.stable, question.stable_revision, question, now)
    looks = tuple([_look(question, check, question.candidate, stable_fault) for check in question.checks])
    verdicts = [look.verdict for look in looks]
    for verdict in _WORST_FIRST:
        if verdict in verdicts:
            told = "; ".join([f"{look.metric}: {look.detail}" for look in looks if look.verdict is verdict])
            return StepVerdict(verdict, looks, told)
    message = (
        f"{len(looks)} checks pass"
        if looks
        else "no checks are set: readiness, minDuration and minRequests alone decide"
    )
    return StepVerdict(Verdict.PASS, looks, message)


class _Measure(NamedTuple):
    value: float
    samples: int
    shown: str


_UNSEEN: Final = _Measure(0.0, 0, "")


def _look(question: Question, check: AnalysisCheck, candidate: Window, stable_fault: str | None) -> AnalysisStatus:
    """Judge one check on a candidate whose figures are sound."""
    mine = _measure(candidate, check.metric)
    compares = check.min_delta is not None or check.max_delta is not None or check.max_ratio is not None
    theirs: _Measure | None = None
    if compares and question.step == WATCH_STEP and check.metric in question.recorded:
        theirs = _measured(question.recorded[check.metric], check.min_samples)
    elif compares and stable_fault is None and question.stable is not None:
        theirs = _measure(question.stable, check.metric)
    verdict, detail = _judge_check(check, mine, theirs, stable_fault or "", compares=compares)
    return AnalysisStatus(
        step=question.step,
        metric=check.metric,
        stable="" if theirs is None else theirs.shown,
        candidate=mine.shown,
        samples=mine.samples,
        verdict=verdict,
        detail=detail[:256],
    )


def _judge_check(
    check: AnalysisCheck, mine: _Measure, theirs: _Measure | None, stable_fault: str, *, compares: bool
) -> tuple[Verdict, str]:
    least = check.min_samples
    if mine.samples < least:
        return Verdict.CONTINUE, f"{mine.samples} of {least} samples at the candidate"
    broken = _absolute_fault(check, mine)
    if broken:
        return Verdict.FAIL, broken
    if not compares:
        return Verdict.PASS, f"{mine.shown} is within its bounds"
    if theirs is None:
        return Verdict.INCONCLUSIVE, stable_fault or "nothing to compare with"
    if theirs.samples < least:
        return Verdict.CONTINUE, f"{theirs.samples} of {least} samples at the stable arm"
    broken = _relative_fault(check, mine.value, theirs.value)
    pair = f"{mine.shown} against {theirs.shown} is"
    return (Verdict.FAIL, f"{pair} {broken}") if broken else (Verdict.PASS, f"{pair} within its bounds")


def _absolute_fault(check: AnalysisCheck, mine: _Measure) -> str:
    if check.max is not None and mine.value > float(check.max) + TOLERANCE:
        return f"{mine.shown} is over max {check.max}"
    if check.min is not None and mine.value < float(check.min) - TOLERANCE:
        return f"{mine.shown} is under min {check.min}"
    return ""


def _relative_fault(check: AnalysisCheck, mine: float, theirs: float) -> str:
    delta = mine - theirs
    if check.max_delta is not None and delta > float(check.max_delta) + TOLERANCE:
        return f"{_shown(delta)} more, over maxDelta {check.max_delta}"
    if check.min_delta is not None and delta < float(check.min_delta) - TOLERANCE:
        return f"{_shown(delta)} more, under minDelta {check.min_delta}"
    if check.max_ratio is not None and mine > float(check.max_ratio) * theirs + TOLERANCE:
        return f"over maxRatio {check.max_ratio}"
    return ""


def _measure(window: Window, metric: AnalysisMetric) -> _Measure:
    match metric:
        case AnalysisMetric.ERROR_RATE:
            return _share(window.errors, window.requests)
        case AnalysisMetric.GUARDRAIL_BLOCK_RATE:
            return _share(window.blocked, window.requests)
        case AnalysisMetric.FEEDBACK_SCORE:
            return _share(window.feedback_sum, window.feedback_count)
        case AnalysisMetric.LATENCY_P95:
            return _percentile(window.latency)
        case AnalysisMetric.TIME_TO_FIRST_TOKEN_P95:
            return _percentile(window.first_token)


def _measured(value: float, samples: int) -> _Measure:
    return _Measure(value, samples, _shown(value))


def _share(part: float, whole: float) -> _Measure:
    return _measured(part / whole, int(whole)) if whole >= 1 else _UNSEEN


def _percentile(buckets: tuple[tuple[float, float], ...]) -> _Measure:
    """Read the 95th percentile by linear interpolation, as Prometheus' histogram_quantile does; beyond the last finite bound, that bound."""
    total = buckets[-1][1] if buckets else 0.0
    if total < 1:
        return _UNSEEN
    rank, lower, below = _QUANTILE * total, 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            inside = count - below
            value = lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / inside
            return _measured(value, int(total))
        lower, below = bound, count
    return _measured(lower, int(total))


def _find_fault(window: Window | None, revision: str, question: Question, now: datetime) -> str | None:
    """Say why figures can't be used; None where they can."""
    if window is None:
        return f"no metrics of revision {revision or '(none)'} yet"
    if window.revision != revision:
        return f"metrics are labelled revision {window.revision!r}, expected {revision!r}"
    if window.since < question.since:
        return f"metrics of revision {revision} start before the step's weight was observed"
    age_s = (now - window.scraped_at).total_seconds()
    if not -question.stale_after_s <= age_s <= question.stale_after_s:
        return f"metrics of revision {revision} are older than {question.stale_after_s:.0f} s, or from the future"
    if not _is_sound(window):
        return f"metrics of revision {revision} hold NaN, infinite, negative or falling counters"
    return None


def _is_sound(window: Window) -> bool:
    # Comparisons are said such that a NaN fails them too: nothing is above or below it.
    for count in (window.ok, window.errors, window.blocked, window.feedback_sum, window.feedback_count):
        if not 0 <= count < math.inf:
            return False
    return _is_histogram(window.latency) and _is_histogram(window.first_token)


def _is_histogram(buckets: tuple[tuple[float, float], ...]) -> bool:
    bound_before, count_before = -math.inf, 0.0
    for bound, count in buckets:
        if not (bound > bound_before and count_before <= count < math.inf):
            return False
        bound_before, count_before = bound, count
    return True


def _shown(value: float) -> str:
    return f"{value:.4g}"
