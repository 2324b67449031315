"""The operator's own metrics; every label has a closed set of values."""

from typing import Final

from graft_core.telemetry.metrics import MetricSet
from graft_operator.engine.directory import Directory
from graft_operator.ports import Resource

__all__ = ["OperatorMetrics"]

PASS_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
API_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LOOP_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
OUTCOMES: Final = frozenset(
    {
        "AlreadyExists",
        "BadRequest",
        "Cancelled",
        "Conflict",
        "Forbidden",
        "Invalid",
        "InvalidInput",
        "NotFound",
        "NotLeading",
        "NotReady",
        "ok",
    }
)
"""What the API may have answered; anything else counts as Other."""


class OperatorMetrics:
    """Counts what the operator does."""

    def __init__(self, metrics: MetricSet) -> None:
        self.registry = metrics.registry
        self.passes = metrics.counter(
            "graft_operator_passes_total", "Passes, by what came of them.", ("kind", "outcome")
        )
        self.pass_seconds = metrics.histogram(
            "graft_operator_pass_seconds", "Time a pass took.", ("kind",), buckets=PASS_BUCKETS_S
        )
        self.waiting = metrics.gauge("graft_operator_queue_count", "Objects that wait for their pass.")
        self.running = metrics.gauge("graft_operator_running_count", "Passes under way.")
        self.leading = metrics.gauge("graft_operator_leading_count", "1 where this replica leads.")
        self.objects = metrics.gauge("graft_operator_objects_count", "Objects by phase.", ("kind", "phase"))
        self.seen = metrics.counter(
            "graft_operator_watch_events_total", "Events that watches brought.", ("kind", "action")
        )
        self.broken = metrics.counter(
            "graft_operator_watches_broken_total", "Times that watches had to be opened anew, all of them."
        )
        self.dropped = metrics.gauge("graft_operator_events_dropped_count", "Events that could not be written.")
        self.loop_late_seconds = metrics.histogram(
            "graft_operator_loop_late_seconds",
            "How late the event loop came to a timer, looked at ten times a second.",
            (),
            buckets=LOOP_BUCKETS_S,
        )
        self._requests = metrics.counter(
            "graft_operator_api_requests_total", "Requests to the API server.", ("method", "kind", "outcome")
        )
        self._request_seconds = metrics.histogram(
            "graft_operator_api_request_seconds",
            "Time a request to the API server took, its retries included.",
            ("method",),
            buckets=API_BUCKETS_S,
        )

    def answered(self, verb: str, resource: Resource, outcome: str, seconds: float) -> None:
        """Count a request to the API server."""
        known = outcome if outcome in OUTCOMES else "Other"
        self._requests.labels(verb, resource.kind, known).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def count_objects(self, directory: Directory) -> None:
        """Take over how many objects there are."""
        self.objects.clear()
        for (kind, phase), number in directory.phases().items():
            self.objects.labels(kind, phase).set(number)
