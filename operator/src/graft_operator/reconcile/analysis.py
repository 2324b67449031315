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
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from graft_core.api.base import filled
from graft_core.api.v1alpha1.modelrelease import AnalysisStatus, Verdict
from graft_core.api.v1alpha1.rollout import AnalysisCheck, AnalysisMetric
from graft_operator.reconcile.observed import Window

__all__ = ["CONTINUE", "FAIL", "INCONCLUSIVE", "PASS", "Judge", "Question", "StepVerdict", "judge_thresholds"]

WATCH_STEP: Final = -1
"""Step index of the watch after promotion."""
TOLERANCE: Final = 1e-9
"""Bounds are inclusive, also where a difference of two shares misses one by a rounding error."""
MAX_DETAIL: Final = 256
"""Characters of a look's detail: the API's bound."""
_QUANTILE: Final = 0.95
_INFINITE: Final = math.inf
_number: Final = lru_cache(maxsize=256)(float)
"""The bounds of a check stay for as long as its spec."""
# By names of their own: what an enum's class is asked for goes through its metaclass, at the cost of a call.
PASS: Final = Verdict.PASS
FAIL: Final = Verdict.FAIL
CONTINUE: Final = Verdict.CONTINUE
INCONCLUSIVE: Final = Verdict.INCONCLUSIVE
_WORST_FIRST: Final = (FAIL, INCONCLUSIVE, CONTINUE)
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
        return StepVerdict(INCONCLUSIVE, (), fault or "")
    stable_fault = _find_fault(question.stable, question.stable_revision, question, now)
    looks = tuple([_look(question, check, question.candidate, stable_fault) for check in question.checks])
    for look in looks:
        if look.verdict is not PASS:
            return _worst(looks)
    message = (
        f"{len(looks)} checks pass"
        if looks
        else "no checks are set: readiness, minDuration and minRequests alone decide"
    )
    return StepVerdict(PASS, looks, message)


def _worst(looks: tuple[AnalysisStatus, ...]) -> StepVerdict:
    """Sum up looks of which not every one passes."""
    verdicts = [look.verdict for look in looks]
    verdict = next(verdict for verdict in _WORST_FIRST if verdict in verdicts)
    told = "; ".join([f"{look.metric}: {look.detail}" for look in looks if look.verdict is verdict])
    return StepVerdict(verdict, looks, told)


_Measure = tuple[float, int, str]
"""Value, samples, and the value as it is shown."""
_UNSEEN: Final = (0.0, 0, "")
_LOOK_FIELDS: Final = set(AnalysisStatus.model_fields)


_Bounds = tuple[AnalysisMetric, int, str | None, str | None, str | None, str | None, str | None]
"""A check's fields, read in one go: one by one, each takes the detour over pydantic's __getattr__."""
_read_bounds: Final[Callable[[Mapping[str, Any]], _Bounds]] = itemgetter(
    "metric", "min_samples", "min", "max", "min_delta", "max_delta", "max_ratio"
)


def _look(question: Question, check: AnalysisCheck, candidate: Window, stable_fault: str | None) -> AnalysisStatus:
    """Judge one check on a candidate whose figures are sound."""
    bounds = _read_bounds(check.__dict__)
    metric, least, _, _, min_delta, max_delta, max_ratio = bounds
    measure = _MEASURES[metric]
    mine = measure(candidate)
    theirs: _Measure | None = None
    if max_delta is not None or max_ratio is not None or min_delta is not None:
        if question.step == WATCH_STEP and metric in question.recorded:
            recorded = question.recorded[metric]
            theirs = (recorded, least, _shown(recorded))
        elif stable_fault is None and question.stable is not None:
            theirs = measure(question.stable)
    verdict, detail = _judge_check(bounds, mine, theirs, stable_fault)
    return filled(
        AnalysisStatus,
        {
            "step": question.step,
            "metric": metric,
            "stable": "" if theirs is None else theirs[2],
            "candidate": mine[2],
            "samples": mine[1],
            "verdict": verdict,
            "detail": detail if len(detail) <= MAX_DETAIL else detail[:MAX_DETAIL],
        },
        _LOOK_FIELDS,
    )


def _judge_check(
    bounds: _Bounds, mine: _Measure, theirs: _Measure | None, stable_fault: str | None
) -> tuple[Verdict, str]:
    value, samples, shown = mine
    _, least, low, high, min_delta, max_delta, ratio = bounds
    if samples < least:
        return CONTINUE, f"{samples} of {least} samples at the candidate"
    if high is not None and value > _number(high) + TOLERANCE:
        return FAIL, f"{shown} is over max {high}"
    if low is not None and value < _number(low) - TOLERANCE:
        return FAIL, f"{shown} is under min {low}"
    if min_delta is None and max_delta is None and ratio is None:
        return PASS, f"{shown} is within its bounds"
    if theirs is None:
        return INCONCLUSIVE, stable_fault or "nothing to compare with"
    other, samples, other_shown = theirs
    if samples < least:
        return CONTINUE, f"{samples} of {least} samples at the stable arm"
    broken = _relative_fault(bounds, value, other)
    if broken:
        return FAIL, f"{shown} against {other_shown} is {broken}"
    return PASS, f"{shown} against {other_shown} is within its bounds"


def _relative_fault(bounds: _Bounds, mine: float, theirs: float) -> str:
    delta = mine - theirs
    _, _, _, _, least, most, ratio = bounds
    if most is not None and delta > _number(most) + TOLERANCE:
        return f"{_shown(delta)} more, over maxDelta {most}"
    if least is not None and delta < _number(least) - TOLERANCE:
        return f"{_shown(delta)} more, under minDelta {least}"
    if ratio is not None and mine > _number(ratio) * theirs + TOLERANCE:
        return f"over maxRatio {ratio}"
    return ""


def _error_rate(window: Window) -> _Measure:
    errors = window.errors
    return _share(errors, window.ok + errors + window.blocked)


def _block_rate(window: Window) -> _Measure:
    blocked = window.blocked
    return _share(blocked, window.ok + window.errors + blocked)


def _share(part: float, whole: float) -> _Measure:
    if whole < 1:
        return _UNSEEN
    if not part:
        return 0.0, int(whole), "0"
    value = part / whole
    return value, int(whole), _shown(value)


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
            return value, int(total), _shown(value)
        lower, below = bound, count
    return lower, int(total), _shown(lower)


_MEASURES: Final[Mapping[AnalysisMetric, Callable[[Window], _Measure]]] = {
    AnalysisMetric.ERROR_RATE: _error_rate,
    AnalysisMetric.GUARDRAIL_BLOCK_RATE: _block_rate,
    AnalysisMetric.FEEDBACK_SCORE: lambda window: _share(window.feedback_sum, window.feedback_count),
    AnalysisMetric.LATENCY_P95: lambda window: _percentile(window.latency),
    AnalysisMetric.TIME_TO_FIRST_TOKEN_P95: lambda window: _percentile(window.first_token),
}


def _find_fault(window: Window | None, revision: str, question: Question, now: datetime) -> str | None:
    """Say why figures can't be used; None where they can."""
    if window is None:
        return f"no metrics of revision {revision or '(none)'} yet"
    if window.revision != revision:
        return f"metrics are labelled revision {window.revision!r}, expected {revision!r}"
    if window.since < question.since:
        return f"metrics of revision {revision} start before the step's weight was observed"
    age_s, stale_s = (now - window.scraped_at).total_seconds(), question.stale_after_s
    if not -stale_s <= age_s <= stale_s:
        return f"metrics of revision {revision} are older than {stale_s:.0f} s, or from the future"
    if not _is_sound(window):
        return f"metrics of revision {revision} hold NaN, infinite, negative or falling counters"
    return None


def _is_sound(window: Window) -> bool:
    # Comparisons are said such that a NaN, also that of a sum, fails them: nothing is above or below it.
    ok, errors, blocked = window.ok, window.errors, window.blocked
    score, scores = window.feedback_sum, window.feedback_count
    return (
        ok + errors + blocked + score + scores < _INFINITE
        and ok >= 0
        and errors >= 0
        and blocked >= 0
        and score >= 0
        and scores >= 0
        and (not window.latency or _is_histogram(window.latency))
        and (not window.first_token or _is_histogram(window.first_token))
    )


def _is_histogram(buckets: tuple[tuple[float, float], ...]) -> bool:
    last_bound, last_count = -_INFINITE, 0.0
    for bound, count in buckets:
        if not (bound > last_bound and count >= last_count):
            return False
        last_bound, last_count = bound, count
    return last_count < _INFINITE


def _shown(value: float) -> str:
    return f"{value:.4g}"
