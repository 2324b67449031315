"""Prometheus metrics: one registry a process, made by its entry point; names and labels that cannot run away.

A name is `graft_<part>_<what>_<unit>`; a label is one of a closed list whose values come from closed sets (an outcome, a revision),
never from a request: a tenant, a user or a path as a label would fill the server's memory and tell of people.
"""

import re
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["CONTENT_TYPE", "DECIDE_BUCKETS_S", "LABELS", "MetricSet", "render_metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Content type of render_metrics."""
LABELS: Final = frozenset(
    {
        "action",
        "arm",
        "cache",
        "engine",
        "guard",
        "kind",
        "method",
        "outcome",
        "phase",
        "reason",
        "result",
        "revision",
        "stage",
        "tier",
    }
)
"""Names a label may have; a new one needs a closed set of values."""
DECIDE_BUCKETS_S: Final = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0)
"""For work inside a process: a decision, a rendering."""

_NAME: Final = re.compile(r"graft_[a-z]+(_[a-z0-9]+)*_(total|seconds|bytes|ratio|count|score|tokens|info)")


class MetricSet:
    """Makes a part's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry(auto_describe=True)

    def counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        """Make a counter; its name ends in `_total`."""
        return Counter(_checked(name, labels), doc, labels, registry=self.registry)

    def gauge(self, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
        """Make a gauge."""
        return Gauge(_checked(name, labels), doc, labels, registry=self.registry)

    def histogram(self, name: str, doc: str, labels: Sequence[str] = (), *, buckets: Sequence[float]) -> Histogram:
        """Make a histogram with upper bounds in the unit of its name."""
        return Histogram(_checked(name, labels), doc, labels, registry=self.registry, buckets=buckets)

    def summary(self, name: str, doc: str, labels: Sequence[str] = ()) -> Summary:
        """Make a summary: a sum and a count."""
        return Summary(_checked(name, labels), doc, labels, registry=self.registry)


def render_metrics(registry: CollectorRegistry) -> bytes:
    """Write the registry in Prometheus' text format."""
    return generate_latest(registry)


def _checked(name: str, labels: Sequence[str]) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"metric name {name!r} is not graft_<part>_<what>_<unit>, with a unit of {_NAME.pattern.rpartition('(')[2]}"
        )
    strangers = sorted(set(labels) - LABELS)
    if strangers:
        raise ValueError(
            f"label {strangers[0]!r} of {name} is not one of {sorted(LABELS)}; labels have closed sets of values"
        )
    return name
