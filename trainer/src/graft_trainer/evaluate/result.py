"""What an evaluation found, as the file that publishing reads: metrics, gates, tables, and examples of what went wrong."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from graft_core.api.v1alpha1.finetunejob import GateStatus
from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.api.v1alpha1.training import Gate
from graft_core.contracts.base import Contract
from graft_core.tasks.scores import Metrics
from graft_trainer.evaluate.gates import judge_gates
from graft_trainer.evaluate.measure import Scored, summarize

__all__ = ["EvaluationResult", "ModelScores", "WorstExample", "build_result"]

ADAPTER: Final = "adapter"
MAX_WORST: Final = 12
"""Examples in the report; a reader wants a dozen, not all."""
MAX_EXAMPLE_CHARS: Final = 2000
"""Longer texts are cut in the report."""


class ModelScores(Contract):
    """One model on the test split."""

    metrics: dict[str, float]
    """By metric; what could not be told is absent."""
    per_class: dict[str, dict[str, float]]
    """By metric and class."""
    support: dict[str, dict[str, int]]
    """Records by field and class."""
    confusion: dict[str, dict[str, dict[str, int]]]
    """By field, expected and answered class."""


class WorstExample(Contract):
    """A record that the adapter got wrong; its texts go to the user's own report and nowhere else."""

    prompt: str
    """Input."""
    expected: str
    """Right answer."""
    answer: str
    """The adapter's."""
    base_answer: str | None = None
    """The untuned base's."""
    confidence: float | None = None
    """The classifier's probability of its answer."""
    source: str = ""
    """file:line."""


class EvaluationResult(Contract):
    """All that publishing and the report need to know."""

    count: int
    """Test records."""
    adapter: ModelScores
    """The tuned model."""
    baselines: dict[str, ModelScores]
    """Others on the same records."""
    gates: tuple[GateStatus, ...]
    """In the spec's order."""
    worst: tuple[WorstExample, ...]
    """Worst first."""


class Shown(Contract):
    """A test record as the report shows it."""

    prompt: str
    """Input."""
    expected: str
    """Right answer."""
    source: str
    """file:line."""


def build_result(
    task: TaskSpec, gates: Sequence[Gate], scored: Mapping[str, Scored], shown: Sequence[Shown]
) -> EvaluationResult:
    """Judge and tabulate.

    Args:
        task: The task contract, labels filled in.
        gates: spec.evaluation.gates.
        scored: `adapter` and baselines, as score_adapter returns them.
        shown: The test records, in the same order.

    Returns:
        The result.
    """
    tuned = scored[ADAPTER]
    others = {name: found for name, found in scored.items() if name != ADAPTER}
    return EvaluationResult(
        count=len(tuned.records),
        adapter=_scores(summarize(task, tuned)),
        baselines={name: _scores(summarize(task, found)) for name, found in others.items()},
        gates=judge_gates(task, gates, tuned, others),
        worst=_worst(tuned, others.get("base"), shown),
    )


def _scores(found: Metrics) -> ModelScores:
    return ModelScores(
        metrics={name: value for name, value in sorted(found.values.items()) if math.isfinite(value)},
        per_class={name: dict(values) for name, values in found.per_class.items()},
        support={name: dict(counts) for name, counts in found.support.items()},
        confusion={name: {cls: dict(row) for cls, row in table.items()} for name, table in found.confusion.items()},
    )


def _worst(tuned: Scored, base: Scored | None, shown: Sequence[Shown]) -> tuple[WorstExample, ...]:
    def badness(i: int) -> tuple[float, float]:
        record = tuned.records[i]
        mean = sum(record.scores.values()) / max(len(record.scores), 1)
        # Among equally wrong ones, those that the model was surest of teach most.
        return mean, -(record.confidence or 0.0)

    wrong = [i for i, record in enumerate(tuned.records) if min(record.scores.values(), default=1.0) < 1.0]
    return tuple(
        WorstExample(
            prompt=_cut(shown[i].prompt),
            expected=_cut(shown[i].expected),
            answer=_cut(tuned.answers[i]),
            base_answer=None if base is None else _cut(base.answers[i]),
            confidence=tuned.records[i].confidence,
            source=shown[i].source,
        )
        for i in sorted(wrong, key=badness)[:MAX_WORST]
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_EXAMPLE_CHARS else text[:MAX_EXAMPLE_CHARS] + " …"
