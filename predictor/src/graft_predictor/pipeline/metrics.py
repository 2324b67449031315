"""What this process counts, under the names of graft_core.contracts.serving_metrics, which the verdict reads."""

import re
from typing import Final, Literal

from prometheus_client import CollectorRegistry

from graft_core.contracts.serving_metrics import (
    FEEDBACK_SCORE,
    LATENCY_BUCKETS_S,
    OUTCOMES,
    REQUEST_DURATION_SECONDS,
    REQUEST_ID_PREFIX,
    REQUESTS_TOTAL,
    TIME_TO_FIRST_TOKEN_SECONDS,
)
from graft_core.telemetry.metrics import MetricSet

__all__ = ["CacheOutcome", "RequestOutcome", "ServingMetrics", "revision_of"]

RequestOutcome = Literal["ok", "client_error", "error", "blocked"]
CacheOutcome = Literal["memory", "exact", "miss", "bypass"]

MAX_FOREIGN_REVISIONS: Final = 16
"""Other arms whose feedback may come here; more are refused, since each is a time series."""
_REQUEST_ID: Final = re.compile(rf"{REQUEST_ID_PREFIX}(?P<revision>[0-9a-f]{{10}})-[0-9a-f]{{8,64}}")


def revision_of(request_id: str) -> str | None:
    """Return the revision inside a request id, or None where it is not one of Graft's."""
    match = _REQUEST_ID.fullmatch(request_id)
    return match["revision"] if match else None


class ServingMetrics:
    """The counters of one arm."""

    def __init__(self, registry: CollectorRegistry, revision: str) -> None:
        self._revision = revision
        self._foreign: set[str] = set()
        made = MetricSet(registry)
        self._requests = made.counter(REQUESTS_TOTAL, "Requests by outcome.", ["revision", "outcome"])
        self._duration = made.histogram(
            REQUEST_DURATION_SECONDS,
            "Seconds until the answer was complete.",
            ["revision", "cache"],
            buckets=LATENCY_BUCKETS_S,
        )
        self._first_token = made.histogram(
            TIME_TO_FIRST_TOKEN_SECONDS,
            "Seconds until a streamed answer began.",
            ["revision"],
            buckets=LATENCY_BUCKETS_S,
        )
        self._feedback = made.summary(FEEDBACK_SCORE, "Scores that users gave.", ["revision"])
        self._log_dropped = made.counter(
            "graft_predictor_request_log_dropped_total", "Records that could not be kept.", ["revision"]
        )
        self._cache_faults = made.counter(
            "graft_predictor_cache_faults_total", "Faults of the exact cache.", ["revision"]
        )
        # A series that is there from the start counts from 0, so that its first increase is seen.
        for outcome in OUTCOMES:
            self._requests.labels(revision, outcome)
        self._feedback.labels(revision)
        self._first_token.labels(revision)
        self._log_dropped.labels(revision)
        self._cache_faults.labels(revision)

    def count_request(self, outcome: RequestOutcome) -> None:
        """Count a request that has ended."""
        self._requests.labels(self._revision, outcome).inc()

    def observe_duration(self, seconds: float, cache: CacheOutcome) -> None:
        """Record how long a whole answer took."""
        self._duration.labels(self._revision, cache).observe(seconds)

    def observe_first_token(self, seconds: float) -> None:
        """Record when a streamed answer began."""
        self._first_token.labels(self._revision).observe(seconds)

    def observe_feedback(self, revision: str, score: float) -> bool:
        """Record a score for the arm that answered; False where it is one arm too many."""
        if revision != self._revision and revision not in self._foreign:
            if len(self._foreign) >= MAX_FOREIGN_REVISIONS:
                return False
            self._foreign.add(revision)
        self._feedback.labels(revision).observe(score)
        return True

    def count_log_dropped(self, records: int = 1) -> None:
        """Count records of the request log that are lost."""
        self._log_dropped.labels(self._revision).inc(records)

    def count_cache_fault(self) -> None:
        """Count a fault of the exact tier."""
        self._cache_faults.labels(self._revision).inc()
