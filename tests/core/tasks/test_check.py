"""Tasks that no schema refuses and nothing could train or judge."""

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.tasks.check import find_task_faults


def test_a_task_that_can_be_rendered_and_judged_has_no_faults() -> None:
    assert (
        find_task_faults(TaskSpec(type=TaskType.TEXT_TO_JSON, template="{{ q }}", output_schema={"type": "object"}))
        == ()
    )
    assert find_task_faults(TaskSpec(type=TaskType.CLASSIFICATION, labels=("a", "b"))) == ()


def test_every_fault_is_told_with_its_path() -> None:
    task = TaskSpec(type=TaskType.TEXT_TO_JSON, template="{{ q", output_schema={"type": "array"})
    assert [fault.path for fault in find_task_faults(task)] == ["spec.task.template", "spec.task.outputSchema.type"]


def test_labels_that_cannot_be_told_apart_are_refused() -> None:
    faults = find_task_faults(
        TaskSpec(type=TaskType.CLASSIFICATION, labels=("Refund", "other", "refund. ")), path="spec.model.task"
    )
    assert [fault.path for fault in faults] == ["spec.model.task.labels[2]"]
    assert "'refund. ' cannot be told from 'Refund'" in str(faults[0])
