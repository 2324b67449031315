"""What arms count, as numbers: read from a Prometheus page by revision label, summed, subtracted, and told as a window.

Counters of a process only grow; one that falls was started again, and goes on from where it was. Feedback for one revision may be counted by
the other arm, so figures are summed over arms by their label.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.clock import from_rfc3339
from graft_core.contracts.serving_metrics import (
    FEEDBACK_SCORE,
    REQUEST_DURATION_SECONDS,
    REQUESTS_TOTAL,
    TIME_TO_FIRST_TOKEN_SECONDS,
)
from graft_operator.reconcile.observed import Window

__all__ = ["Counts", "add", "has_fallen", "parse_figures", "subtract", "to_window", "wanted_since"]

Counts = dict[str, float]
"""Counters by short name: ok, error, blocked, feedback_sum, feedback_count, latency:<le>, first_token:<le>."""


def wanted_since(release: ModelRelease, now: datetime) -> datetime | None:
    """Say since when figures are wanted: the step's weight, or a promotion that is still watched; None: not at all."""
    candidate, stable = release.status.candidate, release.status.stable
    if candidate is not None:
        return None if candidate.weight_since is None else from_rfc3339(candidate.weight_since)
    if stable is None or stable.promoted_at is None:
        return None
    promoted = from_rfc3339(stable.promoted_at)
    watch = timedelta(seconds=release.spec.rollout.watch_after_promotion_seconds)
    return promoted if now - promoted <= watch else None


def parse_figures(text: str) -> dict[str, Counts]:
    """Read the figures that the verdict needs from a Prometheus page, by revision label; ValueError where it is malformed.

    A page that has a series twice is malformed: summed up, ten copies of five requests would be the fifty that a step asks for.
    """
    found: dict[str, Counts] = {}
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = _short_name(sample.name, sample.labels)
            if name is not None:
                series = (sample.name, frozenset(sample.labels.items()))
                if series in seen:
                    raise ValueError(f"series {sample.name} stands twice on a page")
                seen.add(series)
                figures = found.setdefault(sample.labels.get("revision", ""), {})
                figures[name] = figures.get(name, 0.0) + float(sample.value)
    return found


def add(one: Counts, other: Counts) -> Counts:
    """Sum two sets of counters."""
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in one.keys() | other.keys()}


def subtract(one: Counts, other: Counts) -> Counts:
    """Say how much the first set grew over the other."""
    return {name: value - other.get(name, 0.0) for name, value in one.items()}


def has_fallen(old: Mapping[str, Counts], new: Mapping[str, Counts]) -> bool:
    """Say whether any counter is lower than it was, or gone."""
    return any(
        new.get(label, {}).get(name, 0.0) < value for label, figures in old.items() for name, value in figures.items()
    )


def to_window(revision: str, since: datetime, at: datetime, grown: Counts) -> Window:
    """Tell what counters grew by as a window; values stand as they are."""
    return Window(
        revision=revision,
        since=since,
        scraped_at=at,
        ok=grown.get("ok", 0.0),
        errors=grown.get("error", 0.0),
        blocked=grown.get("blocked", 0.0),
        latency=_buckets(grown, "latency:"),
        first_token=_buckets(grown, "first_token:"),
        feedback_sum=grown.get("feedback_sum", 0.0),
        feedback_count=grown.get("feedback_count", 0.0),
    )


def _short_name(name: str, labels: Mapping[str, str]) -> str | None:
    if name == REQUESTS_TOTAL:
        return labels.get("outcome")
    if name == f"{REQUEST_DURATION_SECONDS}_bucket":
        # A new arm starts with a cold cache, so only answers of the engine are compared.
        return f"latency:{labels['le']}" if labels.get("cache") in {"miss", "bypass"} else None
    if name == f"{TIME_TO_FIRST_TOKEN_SECONDS}_bucket":
        return f"first_token:{labels['le']}"
    if name in {f"{FEEDBACK_SCORE}_sum", f"{FEEDBACK_SCORE}_count"}:
        return f"feedback_{name.rpartition('_')[2]}"
    return None


def _buckets(grown: Counts, prefix: str) -> tuple[tuple[float, float], ...]:
    return tuple(
        sorted((float(name.removeprefix(prefix)), value) for name, value in grown.items() if name.startswith(prefix))
    )
