"""Scores of a test split, and every metric that can be read from them, whole or for a subset of records.

Perplexity is kept beside core's per-record scores, since it comes from the loss and not from an answer: per record the summed negative
log-likelihood (nats) and the tokens it was summed over.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.tasks.scores import Metrics, RecordScore, aggregate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Measure", "Scored", "measure", "summarize"]

PERPLEXITY = "perplexity"

Measure = Callable[["NDArray[np.intp]"], float]
"""Value of one metric over the records at these indices (repetitions allowed); NaN where it cannot be told."""


@dataclass(frozen=True)
class Scored:
    """One model on the test split, records in the split's order."""

    records: tuple[RecordScore, ...]
    answers: tuple[str, ...]
    nll: tuple[tuple[float, int], ...] = ()
    """(nats, tokens) a record; empty for classification."""


def summarize(task: TaskSpec, scored: Scored) -> Metrics:
    """Compute all metrics of the split."""
    found = aggregate(task, scored.records)
    if not scored.nll:
        return found
    every = np.arange(len(scored.records))
    values = {**found.values, PERPLEXITY: _perplexity(scored)(every)}
    return Metrics(found.count, values, found.per_class, found.support, found.confusion)


def measure(task: TaskSpec, scored: Scored, metric: str, cls: str | None = None) -> Measure:
    """Prepare one metric for many subsets.

    Args:
        task: The task contract.
        scored: The model's scores.
        metric: Its name.
        cls: Only this class, for metrics that have classes.

    Returns:
        The metric as a function of record indices.
    """
    if metric == PERPLEXITY:
        return _perplexity(scored)
    if cls is None and all(metric in record.scores for record in scored.records):
        # A plain mean: thousands of resamples cost milliseconds.
        values = np.array([record.scores[metric] for record in scored.records])
        return lambda at: float(values[at].mean())

    def from_records(at: "NDArray[np.intp]") -> float:
        chosen: Sequence[RecordScore] = [scored.records[i] for i in at]
        found = aggregate(task, chosen)
        values = found.values if cls is None else found.per_class.get(metric, {})
        return values.get(metric if cls is None else cls, math.nan)

    return from_records


def _perplexity(scored: Scored) -> Measure:
    if not scored.nll:
        return lambda _: math.nan
    nats = np.array([nats for nats, _ in scored.nll])
    tokens = np.array([tokens for _, tokens in scored.nll])

    def perplexity(at: "NDArray[np.intp]") -> float:
        mean = nats[at].sum() / max(tokens[at].sum(), 1)
        # Beyond this exp overflows a double; such a model knows nothing, and infinity is not a number to compare with.
        return math.exp(mean) if mean < 700 else math.nan

    return perplexity
