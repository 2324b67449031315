"""The figures of a window asked of Prometheus, and what of its answers can be believed.

The series must carry the labels `namespace` and `pod` (a PodMonitor or ServiceMonitor adds them). Two series for one pod and outcome mean
that it is scraped twice: figures would be doubled, so there are none. Values are not judged here; the judge refuses NaN and the like.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from graft_core.contracts.serving_metrics import (
    FEEDBACK_SCORE,
    REQUEST_DURATION_SECONDS,
    REQUESTS_TOTAL,
    TIME_TO_FIRST_TOKEN_SECONDS,
)
from graft_core.errors import Unavailable
from graft_operator.reconcile.figures import Counts, to_window
from graft_operator.reconcile.observed import Window

__all__ = ["queries", "to_prometheus_window"]

Answer = list[tuple[dict[str, str], float]]
"""Labels and value of each element of a vector."""
_PREFIXES: Final[Mapping[str, str]] = {"latency": "latency:", "first_token": "first_token:"}


def queries(namespace: str, revision: str, since: datetime, now: datetime) -> dict[str, str]:
    """Write the queries for one revision's window.

    Args:
        namespace: The release's.
        revision: Ten hex digits.
        since: Start of the window.
        now: Its end, the time the queries are evaluated at.

    Returns:
        PromQL by what it asks for.
    """
    own = f'namespace="{namespace}",revision="{revision}"'
    span = f"[{max(1, math.ceil((now - since).total_seconds()))}s]"
    return {
        "fresh": f"max(timestamp({REQUESTS_TOTAL}{{{own}}}))",
        "copies": f"max(count by (pod, outcome) ({REQUESTS_TOTAL}{{{own}}}))",
        "outcomes": f"sum by (outcome) (increase({REQUESTS_TOTAL}{{{own}}}{span}))",
        "latency": f'sum by (le) (increase({REQUEST_DURATION_SECONDS}_bucket{{{own},cache=~"miss|bypass"}}{span}))',
        "first_token": f"sum by (le) (increase({TIME_TO_FIRST_TOKEN_SECONDS}_bucket{{{own}}}{span}))",
        "feedback_sum": f"sum(increase({FEEDBACK_SCORE}_sum{{{own}}}{span}))",
        "feedback_count": f"sum(increase({FEEDBACK_SCORE}_count{{{own}}}{span}))",
    }


def to_prometheus_window(revision: str, since: datetime, answers: Mapping[str, Any]) -> Window:
    """Turn the answers to `queries` into a window.

    Args:
        revision: The arm's.
        since: Start of the window.
        answers: Prometheus's JSON by query name.

    Returns:
        The window.

    Raises:
        Unavailable: There are no figures, or they can't be believed.
    """
    read = {name: _vector(name, answer) for name, answer in answers.items()}
    fresh = _scalar(read["fresh"])
    if fresh is None or not math.isfinite(fresh):
        raise Unavailable(f"Prometheus has no {REQUESTS_TOTAL} of revision {revision} in this namespace")
    copies = _scalar(read["copies"])
    if copies != 1:
        raise Unavailable(
            f"Prometheus has {copies} series for one pod and outcome of revision {revision}, expected 1: it is scraped more than once"
        )
    grown: Counts = {labels.get("outcome", ""): value for labels, value in read["outcomes"]}
    for name, prefix in _PREFIXES.items():
        grown |= {f"{prefix}{labels.get('le', '+Inf')}": value for labels, value in read[name]}
    for name in ("feedback_sum", "feedback_count"):
        grown[name] = _scalar(read[name]) or 0.0
    return to_window(revision, since, _time(fresh), grown)


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Unavailable(f"Prometheus's newest sample is of {seconds:g} s, which is no time") from error


def _scalar(vector: Answer) -> float | None:
    return vector[0][1] if vector else None


def _vector(name: str, answer: Any) -> Answer:  # noqa: ANN401  # JSON as it came
    try:
        if answer["status"] != "success" or answer["data"]["resultType"] != "vector":
            raise Unavailable(f"Prometheus refuses the query for {name}: {str(answer.get('error', ''))[:200]}")
        return [
            ({str(key): str(text) for key, text in one["metric"].items()}, float(one["value"][1]))
            for one in answer["data"]["result"]
        ]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Unavailable(f"Prometheus's answer for {name} is not one ({type(error).__name__})") from error
