"""Scores of one answer, and the metrics of a test split made from them.

Per-record scores are kept by name, so that a paired bootstrap can compare two models on the same records. An answer that cannot be
read scores 0 everywhere: a metric never flatters a model for answers it did not give.

    json_validity         the answer is one JSON value that the output schema accepts
    field_completeness    share of the schema's required fields that are there with an acceptable value (all fields, if none is required)
    exact_match           equal to the expected answer: as JSON values, or as text after normalisation
    <field>.accuracy      that field equals the expected one
    accuracy              the label is the expected one
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from graft_core.api.v1alpha1.metrics import class_fields, schema_fields
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.outputs import (
    Json,
    Parsed,
    compile_schema,
    normalize_sql,
    normalize_text,
    parse_json,
    parse_output,
)
from graft_core.tasks.overlap import rouge_l, rouge_n, words_of

__all__ = ["INVALID_CLASS", "Confusion", "Metrics", "RecordScore", "aggregate", "score_output"]

INVALID_CLASS: Final = "(invalid)"
"""Stands in confusion tables for answers that are no class at all."""
CALIBRATION_BINS: Final = 15
"""Equal-width bins of the calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599)."""

Confusion = Mapping[str, Mapping[str, int]]
"""Counts by expected, then by answered class."""


@dataclass(frozen=True, slots=True)
class RecordScore:
    """What one answer scored."""

    scores: Mapping[str, float]
    """By metric; each between 0 and 1."""
    classes: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """(expected, answered) class by field; `label` for classification."""
    confidence: float | None = None
    """The classifier's probability of its answer."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a test split scored."""

    count: int
    """Records."""
    values: Mapping[str, float]
    """By metric."""
    per_class: Mapping[str, Mapping[str, float]]
    """By metric and class; a class without a record in the split is absent."""
    support: Mapping[str, Mapping[str, int]]
    """Records by field and expected class."""
    confusion: Mapping[str, Confusion]
    """By field; `label` for classification."""


def score_output(task: TaskSpec, expected: Json, actual: str, *, confidence: float | None = None) -> RecordScore:
    """Score one answer.

    Args:
        task: The task contract.
        expected: The right answer: a JSON object or its text for text-to-json, else a text.
        actual: What the model wrote; for classification the label.
        confidence: The classifier's probability of that label.

    Returns:
        Scores by metric, and classes where the task has them.

    Raises InvalidInput: The *expected* answer does not keep the contract; records are checked before training, so this is a fault of the caller.
    """
    parsed = parse_output(task, actual)
    match task.type:
        case TaskType.TEXT_TO_JSON:
            return _score_json(task, _expected_json(expected), parsed)
        case TaskType.CLASSIFICATION:
            return _score_label(task, _expected_text(expected), parsed, confidence)
        case TaskType.TEXT_TO_SQL:
            return RecordScore({"exact_match": float(normalize_sql(actual) == normalize_sql(_expected_text(expected)))})
        case TaskType.CHAT | TaskType.RAG_QA:
            return _score_text(_expected_text(expected), actual)


def _expected_json(expected: Json) -> dict[str, Json]:
    value = parse_json(expected) if isinstance(expected, str) else expected
    if not isinstance(value, dict):
        raise InvalidInput(f"the expected answer is {type(value).__name__}, expected a JSON object")
    return value


def _expected_text(expected: Json) -> str:
    return expected if isinstance(expected, str) else json.dumps(expected, ensure_ascii=False)


def _score_json(task: TaskSpec, expected: dict[str, Json], parsed: Parsed) -> RecordScore:
    answer = parsed.value if isinstance(parsed.value, dict) else {}
    right = {
        name: name in answer and name in expected and _is_equal(answer[name], expected[name])
        for name in schema_fields(task)
    }
    for name in right:
        # A field that is rightly absent is right, in an answer that could be read.
        if name not in expected and name not in answer:
            right[name] = isinstance(parsed.value, dict)
    scores = {
        "json_validity": float(parsed.ok),
        "field_completeness": _completeness(task, answer),
        "exact_match": float(isinstance(parsed.value, dict) and _is_equal(answer, expected)),
        **{f"{name}.accuracy": float(value) for name, value in right.items()},
    }
    classes = {
        name: (_class_name(expected[name]), _answered_class(answer, name, _class_values(task, name)))
        for name in class_fields(task)
        if name in expected
    }
    return RecordScore(scores, classes)


def _completeness(task: TaskSpec, answer: Mapping[str, Json]) -> float:
    schema = cast("Mapping[str, object]", task.output_schema or {})
    names = cast("Sequence[str]", schema.get("required") or schema_fields(task))
    if not names:
        return float(bool(answer))
    properties = cast("Mapping[str, Mapping[str, object]]", schema.get("properties", {}))
    return sum(name in answer and _accepts(properties.get(name), answer[name]) for name in names) / len(names)


def _accepts(schema: Mapping[str, object] | None, value: Json) -> bool:
    return schema is None or compile_schema({"type": "object", "properties": {"value": schema}}).is_valid(
        {"value": value}
    )


def _is_equal(left: Json, right: Json) -> bool:
    """Compare JSON values: 1 equals 1.0, true does not equal 1, texts after NFC and trimming."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) and isinstance(right, str):
        return unicodedata.normalize("NFC", left).strip() == unicodedata.normalize("NFC", right).strip()
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_equal(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_equal, left, right))
    return left == right


def _class_name(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _class_values(task: TaskSpec, name: str) -> Sequence[Json]:
    properties = cast(
        "Mapping[str, Mapping[str, object]]", cast("Mapping[str, object]", task.output_schema)["properties"]
    )
    return cast("Sequence[Json]", properties[name].get("enum", (True, False)))


def _answered_class(answer: Mapping[str, Json], name: str, known: Sequence[Json]) -> str:
    # The text "true" is not the class true, and what is no class must not make a row of its own in the table.
    return next(
        (_class_name(value) for value in known if name in answer and _is_equal(answer[name], value)), INVALID_CLASS
    )


def _score_label(task: TaskSpec, expected: str, parsed: Parsed, confidence: float | None) -> RecordScore:
    wanted = parse_output(task, expected)
    if not isinstance(wanted.value, str):
        raise InvalidInput(f"the expected label is not one of the task's: {'; '.join(wanted.faults)}")
    found = parsed.value if isinstance(parsed.value, str) else INVALID_CLASS
    return RecordScore({"accuracy": float(found == wanted.value)}, {"label": (wanted.value, found)}, confidence)


def _score_text(expected: str, actual: str) -> RecordScore:
    left, right = words_of(expected), words_of(actual)
    return RecordScore(
        {
            "exact_match": float(normalize_text(expected) == normalize_text(actual)),
            "rouge_1": rouge_n(left, right, 1),
            "rouge_2": rouge_n(left, right, 2),
            "rouge_l": rouge_l(left, right),
        }
    )


def aggregate(task: TaskSpec, records: Sequence[RecordScore]) -> Metrics:
    """Make the metrics of a split from its records.

    Args:
        task: The task contract.
        records: One score a record, all of the same task.

    Returns:
        Means by metric; for classification also macro averages and the calibration error, where confidences were given.

    Raises:
        InvalidInput: There are no records: no metric could be told.
    """
    if not records:
        raise InvalidInput("the split has no records, so there is nothing to measure")
    totals: Counter[str] = Counter()
    for record in records:
        totals.update(record.scores)
    values = {name: total / len(records) for name, total in totals.items()}
    confusion = _confusion(records)
    per_class = {_metric_of(name): _recall(table) for name, table in confusion.items()}
    if task.type is TaskType.CLASSIFICATION and "label" in confusion:
        averages, by_class = _classification(confusion["label"])
        values |= averages
        per_class |= by_class
        values |= _calibration(records)
    support = {name: {cls: sum(row.values()) for cls, row in table.items()} for name, table in confusion.items()}
    return Metrics(len(records), values, per_class, support, confusion)


def _metric_of(name: str) -> str:
    return "accuracy" if name == "label" else f"{name}.accuracy"


def _confusion(records: Sequence[RecordScore]) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for record in records:
        for name, pair in record.classes.items():
            counts.setdefault(name, Counter())[pair] += 1
    tables: dict[str, dict[str, dict[str, int]]] = {}
    for name, pairs in counts.items():
        table = tables.setdefault(name, {})
        for (expected, answered), count in sorted(pairs.items()):
            table.setdefault(expected, {})[answered] = count
    return tables


def _recall(table: Confusion) -> dict[str, float]:
    return {cls: row.get(cls, 0) / sum(row.values()) for cls, row in table.items()}


def _classification(table: Confusion) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Macro averages over the classes that the split has, and the figures by class."""
    answered: Counter[str] = Counter()
    for row in table.values():
        answered.update(row)
    recall = _recall(table)
    # Nothing answered as this class: precision counts as 0, as scikit-learn's zero_division=0.
    precision = {cls: table[cls].get(cls, 0) / answered[cls] if answered[cls] else 0.0 for cls in table}
    f1 = {cls: 2 * precision[cls] * recall[cls] / (precision[cls] + recall[cls] or 1.0) for cls in table}
    means = {
        name: sum(values.values()) / len(values)
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1))
    }
    return {**means, "macro_f1": means["f1"]}, {"precision": precision, "recall": recall, "f1": f1}


def _calibration(records: Sequence[RecordScore]) -> dict[str, float]:
    """Expected calibration error: mean distance of confidence and accuracy over bins of confidence, weighted by records."""
    if any(record.confidence is None for record in records):
        return {}
    bins: dict[int, list[tuple[float, float]]] = {}
    for record in records:
        confidence = record.confidence or 0.0
        at = min(int(confidence * CALIBRATION_BINS), CALIBRATION_BINS - 1)
        bins.setdefault(at, []).append((confidence, record.scores["accuracy"]))
    gaps = (abs(sum(c for c, _ in rows) - sum(a for _, a in rows)) for rows in bins.values())
    return {"calibration_error": sum(gaps) / len(records)}
