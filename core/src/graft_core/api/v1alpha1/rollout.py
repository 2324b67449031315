"""`spec.rollout` of a ModelRelease."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from graft_core.api.base import Cel, DecimalString, Fraction, KubeModel

__all__ = [
    "AnalysisCheck",
    "AnalysisMetric",
    "AnalysisSource",
    "AnalysisSpec",
    "OnDrift",
    "OnFailure",
    "PrometheusSource",
    "RolloutSpec",
    "ScrapeSource",
    "ShadowSpec",
    "StepSpec",
]


class ShadowSpec(KubeModel):
    """Mirror requests to the candidate before it answers any."""

    percent: Annotated[int, Field(ge=1, le=100)] = 20
    """Share of the requests that are mirrored."""
    min_requests: Annotated[int, Field(ge=1, le=10000000)] = 200
    """Pairs to be judged before the first step."""


class StepSpec(KubeModel):
    """One canary step; 100 is promotion and needs no step."""

    weight: Annotated[int, Field(ge=1, le=99)]
    """Percent of the requests that the candidate answers."""
    min_duration_seconds: Annotated[int, Field(ge=1, le=604800)] = 60
    """The step lasts at least this long from the moment its weight is observed."""
    min_requests: Annotated[int, Field(ge=1, le=10000000)] = 100
    """The candidate answers at least this many requests in the step."""


class AnalysisMetric(StrEnum):
    """What the two arms are compared by."""

    ERROR_RATE = "error_rate"
    LATENCY_P95 = "latency_p95"
    TIME_TO_FIRST_TOKEN_P95 = "time_to_first_token_p95"
    GUARDRAIL_BLOCK_RATE = "guardrail_block_rate"
    FEEDBACK_SCORE = "feedback_score"


class AnalysisCheck(KubeModel):
    """One comparison of candidate and stable over the step's window. Bounds are inclusive."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.min) || has(self.max) || has(self.minDelta) || has(self.maxDelta) || has(self.maxRatio)",
            "a check needs one of min, max, minDelta, maxDelta, maxRatio",
        ),
        Cel(
            "!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",
            "min must not be above max",
            ".min",
        ),
        Cel("!has(self.maxRatio) || double(self.maxRatio) > 0.0", "maxRatio must be above 0", ".maxRatio"),
    )

    metric: AnalysisMetric
    """error_rate, latency_p95, time_to_first_token_p95 (seconds), guardrail_block_rate or feedback_score."""
    min: DecimalString | None = None
    """Smallest value of the candidate that passes."""
    max: DecimalString | None = None
    """Largest value of the candidate that passes."""
    min_delta: DecimalString | None = None
    """Smallest candidate − stable that passes."""
    max_delta: DecimalString | None = None
    """Largest candidate − stable that passes."""
    max_ratio: DecimalString | None = None
    """Largest candidate / stable that passes."""
    min_samples: Annotated[int, Field(ge=1, le=10000000)] = 20
    """Samples each compared arm must have; fewer never pass."""


class PrometheusSource(KubeModel):
    """Metrics from a Prometheus server."""

    url: Annotated[str, Field(min_length=8, max_length=1024, pattern=r"^https?://[^\s@?#]+$")]
    """Base URL."""


class ScrapeSource(KubeModel):
    """The operator reads the predictors' own /metrics."""


class AnalysisSource(KubeModel):
    """Where the figures come from; unset: scrape."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("has(self.prometheus) != has(self.scrape)", "exactly one of prometheus and scrape must be set"),
    )

    prometheus: PrometheusSource | None = None
    """A Prometheus server."""
    scrape: ScrapeSource | None = None
    """The predictors' own /metrics, by revision."""


class AnalysisSpec(KubeModel):
    """What the candidate must not make worse."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.confidence) || (double(self.confidence) >= 0.5 && double(self.confidence) < 1.0)",
            "confidence must be in [0.5, 1)",
            ".confidence",
        ),
    )

    source: AnalysisSource | None = None
    """Where the figures come from; unset: scrape."""
    checks: Annotated[tuple[AnalysisCheck, ...], Field(max_length=16)] = ()
    """All must pass for a step to pass; one Fail aborts."""
    confidence: Fraction | None = None
    """Error level of the sequential test."""


class OnFailure(StrEnum):
    """What an undecidable analysis does."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


class OnDrift(StrEnum):
    """What weights edited by hand do."""

    RESTORE = "Restore"
    PAUSE = "Pause"


class RolloutSpec(KubeModel):
    """How a new revision takes over from the running one."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "self.steps.map(s, s.weight).isSorted() && self.steps.all(a, self.steps.exists_one(b, b.weight == a.weight))",
            "the weights of steps must rise from each to the next",
            ".steps",
        ),
    )

    shadow: ShadowSpec | None = None
    """Mirror requests first."""
    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1, max_length=20)] = (
        StepSpec(weight=5),
        StepSpec(weight=25),
        StepSpec(weight=50),
    )
    """Weights of the candidate, rising; 100 is promotion."""
    sticky_header: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][-a-z0-9]*$")] | None = None
    """Request header (lower case); the same value keeps the same arm."""
    analysis: AnalysisSpec = AnalysisSpec()
    """What the candidate must not make worse."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    """What data that stays missing does: Rollback or Pause. A Fail always rolls back."""
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=604800)] = 3600
    """A candidate that is not ready, or a step that is not decided, by then is rolled back."""
    scale_down_delay_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    """The losing arm stays warm that long, so that going back is a change of weight."""
    watch_after_promotion_seconds: Annotated[int, Field(ge=0, le=604800)] = 600
    """A Fail within it goes back to the previous revision."""
    on_drift: OnDrift = OnDrift.RESTORE
    """Weights edited by hand: Restore or Pause."""
