"""Judge the gates: which promises about the test split were kept.

    condition                                                            result
    fewer than MIN_RECORDS test records                                  InsufficientEvidence
    perClass, and a class has fewer than MIN_CLASS_RECORDS               InsufficientEvidence
    confidence, and fewer than MIN_BOOTSTRAP_RECORDS test records        InsufficientEvidence
    the metric, or the baseline's, is missing or NaN                     InsufficientEvidence
    value < min, value > max, or lead < minDelta                         Fail
    confidence: lower bound of the lead (paired bootstrap) < minDelta    Fail
    otherwise                                                            Pass

Bounds are inclusive. A lead counts towards better: base minus tuned for metrics where lower is better. With perClass every class must
hold by itself and the worst is named. Missing evidence never passes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from graft_core.api.v1alpha1.finetunejob import GateStatus
from graft_core.api.v1alpha1.metrics import LOWER_IS_BETTER, class_fields, metric_names, per_class_metric_names
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.api.v1alpha1.training import Gate
from graft_core.errors import InvalidInput
from graft_trainer.evaluate.bootstrap import lower_bound_of_lead
from graft_trainer.evaluate.measure import Measure, Scored, measure

__all__ = ["MIN_BOOTSTRAP_RECORDS", "MIN_CLASS_RECORDS", "MIN_RECORDS", "check_gates", "judge_gates"]

MIN_RECORDS: Final = 10
"""Fewer test records than this prove nothing: one record would move a share by more than a tenth."""
MIN_CLASS_RECORDS: Final = 5
"""The same for one class; rare classes are why perClass exists, so it is lower."""
MIN_BOOTSTRAP_RECORDS: Final = 20
"""Under about twenty records a bootstrap interval is too narrow to be trusted."""


@dataclass(frozen=True)
class _Finding:
    """One class (or the whole split) held against one gate."""

    result: str
    value: float
    detail: str
    margin: float
    """Distance to the nearest bound, negative where it is broken; the smallest is the worst class."""


def check_gates(task: TaskSpec, gates: Sequence[Gate], *, has_baseline: bool) -> None:
    """Refuse gates that no evaluation of this task could judge.

    Args:
        task: The task contract.
        gates: spec.evaluation.gates.
        has_baseline: The untuned base is scored as well.

    Raises:
        InvalidInput: An unknown metric, perClass on a metric without classes, or a comparison with a base that is not scored.
    """
    known, by_class = metric_names(task), per_class_metric_names(task)
    for i, gate in enumerate(gates):
        path = f"spec.evaluation.gates[{i}]"
        if gate.metric not in known:
            raise InvalidInput(
                f"{path}.metric: {gate.metric!r} is not a metric of task {task.type.value!r}; it has {', '.join(sorted(known))}",
                path=f"{path}.metric",
            )
        if gate.per_class and gate.metric not in by_class:
            names = ", ".join(sorted(by_class)) or "none"
            raise InvalidInput(
                f"{path}.perClass: {gate.metric!r} has no classes; metrics with classes here: {names}",
                path=f"{path}.perClass",
            )
        if gate.versus == "base" and not has_baseline:
            raise InvalidInput(
                f"{path}.versus: 'base' is not scored (spec.evaluation.baseline is 'none'); set it to 'base'",
                path=f"{path}.versus",
            )


def judge_gates(
    task: TaskSpec, gates: Sequence[Gate], tuned: Scored, baselines: Mapping[str, Scored]
) -> tuple[GateStatus, ...]:
    """Judge every gate; the table is in the module's docstring.

    Args:
        task: The task contract, labels filled in.
        gates: spec.evaluation.gates.
        tuned: The adapter on the test split.
        baselines: Others on the same records, by name.

    Returns:
        One status a gate, in order.
    """
    return tuple(_judge(task, gate, tuned, baselines.get(gate.versus or "")) for gate in gates)


def _judge(task: TaskSpec, gate: Gate, tuned: Scored, base: Scored | None) -> GateStatus:
    count = len(tuned.records)
    if count < MIN_RECORDS:
        return _insufficient(gate, f"{count} test records, at least {MIN_RECORDS} are needed; raise dataset.split.test")
    if gate.confidence is not None and count < MIN_BOOTSTRAP_RECORDS:
        return _insufficient(
            gate, f"{count} test records, confidence needs {MIN_BOOTSTRAP_RECORDS}; raise dataset.split.test"
        )
    if gate.min_delta is not None and base is None:
        return _insufficient(gate, f"{gate.versus!r} was not scored, so there is nothing to compare with")
    findings = list(_findings(task, gate, tuned, base))
    order = {"InsufficientEvidence": 1, "Fail": 0, "Pass": 2}
    worst = min(findings, key=lambda f: (order[f.result], f.margin))
    return GateStatus.model_validate(
        {
            "metric": gate.metric,
            "result": worst.result,
            "value": "" if math.isnan(worst.value) else f"{worst.value:.4g}",
            "detail": worst.detail[:256],
        }
    )


def _findings(task: TaskSpec, gate: Gate, tuned: Scored, base: Scored | None) -> Iterator[_Finding]:
    if not gate.per_class:
        yield _hold(gate, _pair(task, gate, tuned, base, None), len(tuned.records), "")
        return
    field = "label" if task.type is TaskType.CLASSIFICATION else gate.metric.removesuffix(".accuracy")
    support = {
        cls: sum(1 for r in tuned.records if r.classes.get(field, ("", ""))[0] == cls) for cls in _classes(task, field)
    }
    for cls, count in support.items():
        if count < MIN_CLASS_RECORDS:
            detail = f"class {cls!r}: {count} test records, at least {MIN_CLASS_RECORDS} are needed"
            yield _Finding("InsufficientEvidence", math.nan, detail, -math.inf)
        else:
            yield _hold(gate, _pair(task, gate, tuned, base, cls), len(tuned.records), f"class {cls!r}: ")


def _classes(task: TaskSpec, field: str) -> tuple[str, ...]:
    if field == "label":
        return task.labels or ()
    if field not in class_fields(task):
        return ()
    schema = (task.output_schema or {})["properties"][field]
    return tuple(v if isinstance(v, str) else str(v).lower() for v in schema.get("enum", (True, False)))


def _pair(
    task: TaskSpec, gate: Gate, tuned: Scored, base: Scored | None, cls: str | None
) -> tuple[Measure, Measure | None]:
    other = measure(task, base, gate.metric, cls) if base is not None and gate.min_delta is not None else None
    return measure(task, tuned, gate.metric, cls), other


def _hold(gate: Gate, pair: tuple[Measure, Measure | None], count: int, prefix: str) -> _Finding:
    """Hold one value, and its lead where one is asked for, against the gate's bounds."""
    tuned, base = pair
    every = np.arange(count)
    value = tuned(every)
    if math.isnan(value):
        return _Finding("InsufficientEvidence", value, f"{prefix}the metric was not measured", -math.inf)
    margins = [(value - float(gate.min), f"min {gate.min}")] if gate.min is not None else []
    if gate.max is not None:
        margins.append((float(gate.max) - value, f"max {gate.max}"))
    if base is not None and gate.min_delta is not None:
        lead, shown = _lead(gate, tuned, base, count)
        if math.isnan(lead):
            return _Finding("InsufficientEvidence", value, f"{prefix}{gate.versus} was not measured", -math.inf)
        margins.append((lead - float(gate.min_delta), shown))
    # A share such as 0.9 has no exact binary form; a hair under the bound is on it.
    broken = [text for margin, text in margins if margin < -1e-12]
    texts = broken or [text for _, text in margins]
    detail = prefix + ("broken: " if broken else "held: ") + "; ".join(texts)
    return _Finding("Fail" if broken else "Pass", value, detail, min(margin for margin, _ in margins))


def _lead(gate: Gate, tuned: Measure, base: Measure, count: int) -> tuple[float, str]:
    sign = -1.0 if gate.metric in LOWER_IS_BETTER else 1.0
    every = np.arange(count)
    measured = sign * (tuned(every) - base(every))
    shown = f"lead over {gate.versus} {measured:+.4g}, minDelta {gate.min_delta}"
    if gate.confidence is None or math.isnan(measured):
        return measured, shown
    bound = lower_bound_of_lead(count, lambda at: sign * (tuned(at) - base(at)), float(gate.confidence))
    return bound, f"{shown}, at confidence {gate.confidence} at least {bound:+.4g} (paired bootstrap, {count} records)"


def _insufficient(gate: Gate, detail: str) -> GateStatus:
    return GateStatus(metric=gate.metric, result="InsufficientEvidence", detail=detail)
