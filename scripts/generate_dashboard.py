"""Write the chart's Grafana dashboard: `python scripts/generate_dashboard.py --write | --check`.

A panel is a title and its queries; everything else follows from the order. `tests/delivery/test_metrics.py` holds every name to the metrics that
operator and predictor really have.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft_core.api.generated import run_generator
from graft_core.contracts.serving_metrics import (
    FEEDBACK_SCORE,
    REQUEST_DURATION_SECONDS,
    REQUESTS_TOTAL,
    TIME_TO_FIRST_TOKEN_SECONDS,
)

FILE = Path("charts/graft/dashboards/graft.json")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OWN = 'namespace=~"$namespace",revision=~"$revision"'
WIDTH, HEIGHT, COLUMNS = 8, 7, 3


@dataclass(frozen=True)
class Panel:
    """One graph."""

    title: str
    queries: dict[str, str]
    """PromQL by legend."""
    unit: str = "short"
    told: str = ""


ROWS: dict[str, tuple[Panel, ...]] = {
    "Services": (
        Panel(
            "Requests by revision",
            {"{{namespace}} {{revision}}": f"sum by (namespace, revision) (rate({REQUESTS_TOTAL}{{{OWN}}}[2m]))"},
            "reqps",
            "During a rollout: the split that users really see.",
        ),
        Panel(
            "Errors",
            {
                "{{namespace}} {{revision}}": f'sum by (namespace, revision) (rate({REQUESTS_TOTAL}{{{OWN},outcome="error"}}[5m]))'
                f' / sum by (namespace, revision) (rate({REQUESTS_TOTAL}{{{OWN},outcome!="client_error"}}[5m]))'
            },
            "percentunit",
            "Faults of the engine; what a client did wrong does not count.",
        ),
        Panel(
            "Blocked by guardrails",
            {
                "{{namespace}} {{revision}}": f'sum by (namespace, revision) (rate({REQUESTS_TOTAL}{{{OWN},outcome="blocked"}}[5m]))'
            },
            "reqps",
        ),
        Panel(
            "Latency, p95",
            {
                "{{namespace}} {{revision}}": "histogram_quantile(0.95, sum by (namespace, revision, le)"
                f' (rate({REQUEST_DURATION_SECONDS}_bucket{{{OWN},cache=~"miss|bypass"}}[5m])))'
            },
            "s",
            "Answers that an engine made; those of a cache are left out, as a verdict leaves them out.",
        ),
        Panel(
            "Time to first token, p95",
            {
                "{{namespace}} {{revision}}": "histogram_quantile(0.95, sum by (namespace, revision, le)"
                f" (rate({TIME_TO_FIRST_TOKEN_SECONDS}_bucket{{{OWN}}}[5m])))"
            },
            "s",
        ),
        Panel(
            "Feedback",
            {
                "{{namespace}} {{revision}}": f"sum by (namespace, revision) (rate({FEEDBACK_SCORE}_sum{{{OWN}}}[30m]))"
                f" / sum by (namespace, revision) (rate({FEEDBACK_SCORE}_count{{{OWN}}}[30m]))"
            },
            "percentunit",
        ),
        Panel(
            "Answers by cache",
            {"{{cache}}": f"sum by (cache) (rate({REQUEST_DURATION_SECONDS}_count{{{OWN}}}[5m]))"},
            "reqps",
        ),
        Panel(
            "Lost records and cache faults",
            {
                "log {{namespace}} {{revision}}": f"sum by (namespace, revision) (increase(graft_predictor_request_log_dropped_total{{{OWN}}}[5m]))",
                "cache {{namespace}} {{revision}}": f"sum by (namespace, revision) (increase(graft_predictor_cache_faults_total{{{OWN}}}[5m]))",
            },
        ),
    ),
    "Objects": (
        Panel(
            "FineTuneJobs by phase", {"{{phase}}": 'max by (phase) (graft_operator_objects_count{kind="FineTuneJob"})'}
        ),
        Panel(
            "ModelReleases by phase",
            {"{{phase}}": 'max by (phase) (graft_operator_objects_count{kind="ModelRelease"})'},
        ),
        Panel(
            "Changes that watches told of",
            {"{{kind}} {{action}}": "sum by (kind, action) (rate(graft_operator_watch_events_total[5m]))"},
            "ops",
        ),
    ),
    "Operator": (
        Panel("Leads", {"{{pod}}": "graft_operator_leading_count"}, told="One replica, and no other."),
        Panel(
            "Passes by outcome",
            {"{{kind}} {{outcome}}": "sum by (kind, outcome) (rate(graft_operator_passes_total[5m]))"},
            "ops",
        ),
        Panel(
            "Time of a pass, p99",
            {
                "{{kind}}": "histogram_quantile(0.99, sum by (kind, le) (rate(graft_operator_pass_seconds_bucket[5m])))",
            },
            "s",
        ),
        Panel(
            "Queue",
            {
                "waiting {{pod}}": "graft_operator_queue_count",
                "under way {{pod}}": "graft_operator_running_count",
            },
        ),
        Panel(
            "Requests to the API server",
            {"{{method}} {{outcome}}": "sum by (method, outcome) (rate(graft_operator_api_requests_total[5m]))"},
            "reqps",
        ),
        Panel(
            "Time of a request, p99",
            {
                "{{method}}": "histogram_quantile(0.99, sum by (method, le) (rate(graft_operator_api_request_seconds_bucket[5m])))"
            },
            "s",
        ),
        Panel(
            "Watches broken, events lost",
            {
                "watches": "sum(increase(graft_operator_watches_broken_total[10m]))",
                "events": "sum(graft_operator_events_dropped_count)",
            },
        ),
    ),
}


def render() -> str:
    """Return the dashboard as JSON."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(
            {"type": "row", "title": title, "id": len(panels) + 1, "gridPos": _place(y, 0, 24, 1), "collapsed": False}
        )
        y += 1
        for index, panel in enumerate(row):
            at = _place(y + index // COLUMNS * HEIGHT, index % COLUMNS * WIDTH, WIDTH, HEIGHT)
            panels.append(_graph(panel, len(panels) + 1, at))
        y += -(-len(row) // COLUMNS) * HEIGHT
    made = {
        "title": "Graft",
        "uid": "graft",
        "description": "Generated by scripts/generate_dashboard.py.",
        "tags": ["graft"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }
    return json.dumps(made, indent=1) + "\n"


def _graph(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.told,
        "id": number,
        "gridPos": at,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _variables() -> list[dict[str, Any]]:
    asked = {
        "namespace": f"label_values({REQUESTS_TOTAL}, namespace)",
        "revision": f'label_values({REQUESTS_TOTAL}{{namespace=~"$namespace"}}, revision)',
    }
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    every = {"type": "query", "datasource": SOURCE, "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*"}
    return [source, *({**every, "name": name, "query": query} for name, query in asked.items())]


def _place(y: int, x: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


if __name__ == "__main__":
    sys.exit(run_generator({FILE: render()}))
