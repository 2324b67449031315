"""What a training run needs to know, and whom it tells how it goes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from graft_core.api.v1alpha1.finetunejob import ProgressStatus
from graft_core.api.v1alpha1.metrics import class_fields
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.api.v1alpha1.training import AdapterSpec, AdapterType, TrainingSpec
from graft_core.errors import InvalidInput

__all__ = ["ClassWeights", "TrainPlan", "Watch", "check_class_weights", "divisors", "record_weight"]

ClassWeights = Mapping[str, Mapping[str, str]]
"""training.classWeights: weight by field of the answer and value there."""

MAX_GRAD_NORM: Final = 1.0
"""Gradients are clipped to this norm: what every recipe for LoRA does, and what keeps a first bad batch from ending the run."""


@dataclass(frozen=True)
class TrainPlan:
    """One training run, whatever the objective."""

    base: Path
    """Folder of the base model, verified."""
    task: TaskSpec
    """Task contract, labels filled in."""
    adapter: AdapterSpec
    training: TrainingSpec
    checkpoints: Path
    """Folder of checkpoints; a run goes on from the newest complete one."""
    on_gpu: bool = False
    """bf16 on one CUDA device; otherwise fp32 on the CPU."""
    recompute: bool = False
    """Recompute activations in the backward pass instead of keeping them (Chen et al. 2016): the last way to fit."""

    world: int = 1
    """Processes that train together (torchrun); the batch is shared evenly."""
    attempt: int = 0
    """With several processes: which of the sizes of micro-batches this run tries. A process that runs out of memory leaves the others
    waiting, so all of them start anew with the next size."""

    @property
    def use_rslora(self) -> bool:
        """Scale by alpha / sqrt(r)."""
        return self.adapter.type is AdapterType.RSLORA

    @property
    def use_dora(self) -> bool:
        """Learn magnitude and direction apart."""
        return self.adapter.type is AdapterType.DORA


class Watch(Protocol):
    """Whoever watches a run; calls come from the training thread and must be quick."""

    def should_stop(self) -> bool:
        """Say whether to save a checkpoint and leave at the end of this step."""
        ...

    def resumed(self, step: int) -> None:
        """Hear that training goes on from a checkpoint."""
        ...

    def stepped(self, status: ProgressStatus) -> None:
        """Hear of a finished step."""
        ...

    def evaluated(self, eval_loss: float) -> None:
        """Hear the loss on the validation split."""
        ...

    def saved(self, checkpoint: Path) -> None:
        """Hear of a complete checkpoint; training waits meanwhile."""
        ...


def divisors(number: int) -> list[int]:
    """List the divisors, largest first: micro-batches of these sizes make up the batch exactly."""
    return [size for size in range(number, 0, -1) if number % size == 0]


def record_weight(weights: ClassWeights | None, answer: str, label: str | None) -> float:
    """Weigh one record: the product over the fields that class weights name.

    Args:
        weights: training.classWeights.
        answer: The right answer; a JSON object where fields are weighed.
        label: The label, for classification.

    Returns:
        1.0 where nothing applies.
    """
    if not weights:
        return 1.0
    values = {"label": label} if label is not None else _field_values(answer)
    weight = 1.0
    for field, by_value in weights.items():
        value = values.get(field)
        if value is not None:
            weight *= float(by_value.get(value, "1"))
    return weight


def check_class_weights(weights: ClassWeights | None, task: TaskSpec) -> None:
    """Refuse weights that no record could have.

    Args:
        weights: training.classWeights.
        task: The task contract, labels filled in.

    Raises:
        InvalidInput: An unknown field, or a value that is none of its closed set.
    """
    path = "spec.training.classWeights"
    known = _closed_sets(task)
    for field, by_value in (weights or {}).items():
        if field not in known:
            fields = ", ".join(known) or "none"
            raise InvalidInput(
                f"{path}: {field!r} has no classes in task {task.type.value!r}; fields with classes: {fields}",
                path=path,
            )
        for value in by_value:
            if value not in known[field]:
                raise InvalidInput(
                    f"{path}.{field}: {value!r} is not one of {', '.join(known[field][:20])}", path=f"{path}.{field}"
                )


def _closed_sets(task: TaskSpec) -> dict[str, list[str]]:
    if task.type is TaskType.CLASSIFICATION:
        return {"label": list(task.labels or ())}
    properties = (task.output_schema or {}).get("properties", {})
    return {name: [_text(v) for v in properties[name].get("enum", (True, False))] for name in class_fields(task)}


def _field_values(answer: str) -> dict[str, str]:
    try:
        value = json.loads(answer)
    except ValueError:
        return {}
    return {name: _text(field) for name, field in value.items()} if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
