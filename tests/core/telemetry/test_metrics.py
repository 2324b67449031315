"""Metrics: names and labels from closed sets."""

import pytest

from graft_core.telemetry.metrics import DECIDE_BUCKETS_S, MetricSet, render_metrics


def test_a_set_renders_what_was_counted() -> None:
    metrics = MetricSet()
    metrics.counter("graft_operator_passes_total", "Passes.", ["kind"]).labels(kind="FineTuneJob").inc()
    metrics.gauge("graft_operator_queue_count", "Waiting.").set(2)
    metrics.histogram("graft_operator_decide_seconds", "Decisions.", buckets=DECIDE_BUCKETS_S).observe(0.00003)
    metrics.summary("graft_predictor_feedback_score", "Feedback.", ["revision"]).labels(revision="0123456789").observe(
        0.5
    )
    text = render_metrics(metrics.registry).decode()
    assert 'graft_operator_passes_total{kind="FineTuneJob"} 1.0' in text
    assert "graft_operator_queue_count 2.0" in text
    assert 'graft_operator_decide_seconds_bucket{le="5e-05"} 1.0' in text
    assert 'graft_predictor_feedback_score_sum{revision="0123456789"} 0.5' in text


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("requests_total", [], "is not graft_<part>_<what>_<unit>"),
        ("graft_predictor_latency_ms", [], "is not graft_<part>_<what>_<unit>"),
        (
            "graft_predictor_requests_total",
            ["tenant"],
            "label 'tenant' of graft_predictor_requests_total is not one of",
        ),
    ],
)
def test_names_and_labels_that_could_run_away_are_refused(name: str, labels: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetricSet().counter(name, "x", labels)
