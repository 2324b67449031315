"""What the predictor counts and the verdict reads: names that Prometheus and our own rules take."""

from itertools import pairwise

import pytest

from graft_core.contracts import serving_metrics
from graft_core.telemetry.metrics import MetricSet


@pytest.mark.parametrize(
    "name",
    [
        serving_metrics.REQUESTS_TOTAL,
        serving_metrics.REQUEST_DURATION_SECONDS,
        serving_metrics.TIME_TO_FIRST_TOKEN_SECONDS,
        serving_metrics.FEEDBACK_SCORE,
    ],
)
def test_names_are_after_the_rules(name: str) -> None:
    MetricSet().summary(name, "x", ["revision"])


def test_buckets_rise_and_bound_the_error_of_a_p95() -> None:
    buckets = serving_metrics.LATENCY_BUCKETS_S
    assert list(buckets) == sorted(set(buckets))
    assert max(high / low for low, high in pairwise(buckets)) <= 2
