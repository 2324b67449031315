"""What a task contract says that no schema or CEL rule can refuse; asked when an object is accepted, and before training."""

import json
from functools import lru_cache
from typing import cast

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.outputs import check_output_schema, normalize_label
from graft_core.tasks.template import check_task_template

__all__ = ["find_task_faults"]


def find_task_faults(task: TaskSpec, *, path: str = "spec.task") -> tuple[InvalidInput, ...]:
    """List the faults of a task: its template, its output schema, its labels.

    Args:
        task: The task contract.
        path: Where it stands, for the faults' paths.

    Returns:
        Errors with `path` set; empty for a task that can be rendered and judged.
    """
    found: list[InvalidInput] = []
    try:
        check_task_template(task)
    except InvalidInput as err:
        found.append(InvalidInput(str(err), path=f"{path}.template"))
    if task.type is TaskType.TEXT_TO_JSON and task.output_schema is not None:
        fault = _schema_fault(json.dumps(task.output_schema), f"{path}.outputSchema")
        found += [fault] if fault else []
    found += _label_faults(task.labels or (), f"{path}.labels")
    return tuple(found)


@lru_cache(maxsize=256)
def _schema_fault(text: str, path: str) -> InvalidInput | None:
    """Check a schema once: reconcilers ask in every pass, and the check takes milliseconds."""
    try:
        check_output_schema(cast("dict[str, object]", json.loads(text)), path=path)
    except InvalidInput as err:
        return err
    return None


@lru_cache(maxsize=256)
def _label_faults(labels: tuple[str, ...], path: str) -> tuple[InvalidInput, ...]:
    seen: dict[str, str] = {}
    found: list[InvalidInput] = []
    for i, label in enumerate(labels):
        twin = seen.setdefault(normalize_label(label), label)
        if twin is not label:
            found.append(
                InvalidInput(
                    f"{path}[{i}]: {label!r} cannot be told from {twin!r}; case, quotes and spaces do not count",
                    path=f"{path}[{i}]",
                )
            )
    return tuple(found)
