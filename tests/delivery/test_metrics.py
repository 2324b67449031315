"""Alerts and dashboard speak only of metrics, labels and values that operator and predictor have."""

import json
import re

import pytest
from prometheus_client import CollectorRegistry

from graft_core.api.v1alpha1.jobstatus import FineTuneJobPhase
from graft_core.api.v1alpha1.modelrelease import ModelReleasePhase
from graft_core.telemetry.metrics import MetricSet
from graft_operator.engine.metrics import OperatorMetrics
from graft_predictor.pipeline.metrics import ServingMetrics
from tests.delivery.chart import CHART, golden, only

AGGREGATED = {"namespace", "pod"}
"""Labels that Prometheus adds."""


def exprs() -> list[str]:
    rule = only(golden("ha"), "PrometheusRule")
    alerts = [one["expr"] for group in rule["spec"]["groups"] for one in group["rules"]]
    board = json.loads((CHART / "dashboards" / "graft.json").read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return alerts + panels


def metrics() -> dict[str, set[str]]:
    """Labels by name of every series."""
    registry = CollectorRegistry()
    OperatorMetrics(MetricSet(registry))
    ServingMetrics(registry, "0123456789")
    found: dict[str, set[str]] = {}
    for collector in registry._collector_to_names:
        labels = set(getattr(collector, "_labelnames", ()))
        for name in registry._collector_to_names[collector]:
            found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found


@pytest.mark.parametrize("expr", exprs())
def test_every_metric_and_label_exists(expr: str) -> None:
    known = metrics()
    used = re.findall(r"(graft_\w+)(?:\{([^}]*)\})?", expr)
    assert used, expr
    for name, selector in used:
        assert name in known, name
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector))
        assert labels <= known[name] | AGGREGATED, (name, labels)
    grouped = {word for part in re.findall(r"by \(([^)]*)\)", expr) for word in re.split(r",\s*", part)}
    assert grouped <= AGGREGATED.union(*(known[name] for name, _ in used)), expr
    phases = {*map(str, FineTuneJobPhase), *map(str, ModelReleasePhase)}
    assert set(re.findall(r'phase="(\w+)"', expr)) <= phases
