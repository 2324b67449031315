"""Scores of a test split, and every metric that can be read from them, whole or for a subset of records.

Perplexity is kept beside core's per-record scores, since it comes from the loss and not from an answer: per record the summed negative
log-likelihood (nats) and the tokens it was summed over.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
    kind, field = _kind_of(metric)
    if kind in _FROM_COUNTS and all(field in record.classes for record in scored.records):
        return _from_counts(scored, field, kind, cls)

    def from_records(at: "NDArray[np.intp]") -> float:
        chosen: Sequence[RecordScore] = [scored.records[i] for i in at]
        found = aggregate(task, chosen)
        values = found.values if cls is None else found.per_class.get(metric, {})
        return values.get(metric if cls is None else cls, math.nan)

    return from_records


_TINY: Final = 1e-12
_FROM_COUNTS: Final = frozenset({"accuracy", "precision", "recall", "f1", "macro_f1"})


def _kind_of(metric: str) -> tuple[str, str]:
    field, dot, kind = metric.rpartition(".")
    return (kind, field) if dot else (metric, "label")


def _from_counts(scored: Scored, field: str, kind: str, cls: str | None) -> Measure:
    """Figures by class from counts of (expected, answered): as core's aggregate, fast enough for thousands of resamples."""
    pairs = [record.classes[field] for record in scored.records]
    names = sorted({name for pair in pairs for name in pair} | ({cls} if cls is not None else set()))
    index = {name: i for i, name in enumerate(names)}
    size = len(names)
    codes = np.array([index[expected] * size + index[answered] for expected, answered in pairs])

    def figure(at: "NDArray[np.intp]") -> float:
        counts = np.bincount(codes[at], minlength=size * size).reshape(size, size)
        right, support, answered = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        recall = right / np.maximum(support, 1)
        precision = right / np.maximum(answered, 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, _TINY)
        by_class = {"accuracy": recall, "recall": recall, "precision": precision}.get(kind, f1)
        if cls is None:
            return float(by_class[support > 0].mean())
        at_class = index[cls]
        return float(by_class[at_class]) if support[at_class] else math.nan

    return figure


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
