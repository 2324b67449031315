"""What report.html and model_card.md are told; built once by the run from what its stages left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graft_core.api.v1alpha1.finetunejob import GateStatus
from graft_core.api.v1alpha1.task import TaskSpec

__all__ = ["Curves", "Example", "Results", "Scores", "Story"]


@dataclass(frozen=True)
class Scores:
    """One model on the test split."""

    metrics: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    support: Mapping[str, Mapping[str, int]]
    confusion: Mapping[str, Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True)
class Example:
    """A record that the adapter got wrong."""

    prompt: str
    expected: str
    answer: str
    base_answer: str | None
    confidence: float | None
    source: str


@dataclass(frozen=True)
class Results:
    """What the evaluation found."""

    count: int
    adapter: Scores
    baselines: Mapping[str, Scores]
    gates: Sequence[GateStatus]
    worst: Sequence[Example]


@dataclass(frozen=True)
class Curves:
    """(step, value) pairs."""

    losses: Sequence[tuple[int, float]]
    eval_losses: Sequence[tuple[int, float]]
    learning_rates: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Story:
    """All there is to tell of a run; no time stamps, so that equal runs give equal files."""

    name: str
    """namespace/name of the FineTuneJob."""
    base_id: str
    base_revision: str
    license: str | None
    task: TaskSpec
    result: Results
    history: Curves
    lengths: Sequence[tuple[int, int, int]]
    """(from, below, count)."""
    length_unit: str
    note: str = ""
    """A remark under the metrics: what the base is, for instance."""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings and counts, in the order in which they are shown."""
