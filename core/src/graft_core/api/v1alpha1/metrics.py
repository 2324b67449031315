"""The closed set of metrics that gates may name, by task.

    task                metrics (per-class ones in brackets)
    chat, rag-qa        exact_match, rouge_1, rouge_2, rouge_l, perplexity
    text-to-json        json_validity, field_completeness, exact_match, perplexity, <field>.accuracy [boolean and enum fields]
    text-to-sql         exact_match, perplexity
    classification      accuracy [= recall], precision, recall, f1 [all three], macro_f1, calibration_error

All are shares between 0 and 1 but perplexity (>= 1). Lower is better for perplexity and calibration_error.
"""

from collections.abc import Mapping
from typing import Final, cast

from graft_core.api.v1alpha1.task import TaskSpec, TaskType

__all__ = ["LOWER_IS_BETTER", "class_fields", "metric_names", "per_class_metric_names", "schema_fields"]

LOWER_IS_BETTER: Final = frozenset({"perplexity", "calibration_error"})
"""Metrics where a smaller value is the better one."""

_TEXT: Final = frozenset({"exact_match", "rouge_1", "rouge_2", "rouge_l", "perplexity"})
_JSON: Final = frozenset({"json_validity", "field_completeness", "exact_match", "perplexity"})
_SQL: Final = frozenset({"exact_match", "perplexity"})
_CLASSIFICATION: Final = frozenset({"accuracy", "precision", "recall", "f1", "macro_f1", "calibration_error"})


def metric_names(task: TaskSpec) -> frozenset[str]:
    """Return the metrics that an evaluation of this task measures."""
    match task.type:
        case TaskType.TEXT_TO_JSON:
            return _JSON | {f"{name}.accuracy" for name in schema_fields(task)}
        case TaskType.CLASSIFICATION:
            return _CLASSIFICATION
        case TaskType.TEXT_TO_SQL:
            return _SQL
        case TaskType.CHAT | TaskType.RAG_QA:
            return _TEXT


def per_class_metric_names(task: TaskSpec) -> frozenset[str]:
    """Return the metrics that are also measured for each class by itself."""
    match task.type:
        case TaskType.TEXT_TO_JSON:
            return frozenset(f"{name}.accuracy" for name in class_fields(task))
        case TaskType.CLASSIFICATION:
            return frozenset({"accuracy", "precision", "recall", "f1"})
        case _:
            return frozenset()


def schema_fields(task: TaskSpec) -> tuple[str, ...]:
    """Return the properties of the output schema, in its order."""
    return tuple(_properties(task))


def class_fields(task: TaskSpec) -> tuple[str, ...]:
    """Return the properties with a closed set of values (boolean or enum): those that have classes."""
    return tuple(name for name, field in _properties(task).items() if field.get("type") == "boolean" or "enum" in field)


def _properties(task: TaskSpec) -> dict[str, Mapping[str, object]]:
    schema = cast("Mapping[str, object]", task.output_schema or {})
    found = schema.get("properties")
    if not isinstance(found, dict):
        return {}
    properties = cast("dict[str, object]", found)
    return {
        name: cast("Mapping[str, object]", field) if isinstance(field, dict) else {}
        for name, field in properties.items()
    }
