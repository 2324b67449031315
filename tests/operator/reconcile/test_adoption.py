"""A child's report as the only witness of what was published, and a child that must be stopped though it failed."""

from typing import Any

import pytest

from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, GateStatus
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import TrainReport
from graft_operator.reconcile.decision import StopChild, StopReason
from graft_operator.reconcile.observed import ArtifactReported, Failed, Succeeded
from tests.builders import BASE_REVISION, NOW, a_finetunejob, a_report
from tests.operator.reconcile.views import condition, decide_job, message, seen

GATES: dict[str, Any] = {
    "evaluation": {"gates": [{"metric": "json_validity", "min": "0.9"}, {"metric": "exact_match", "min": "0.5"}]}
}


def published(**fields: Any) -> ArtifactReported:
    artifact = ArtifactStatus(
        uri="s3://lake/x/", digest="sha256:" + "e" * 64, size_bytes=9, base_model="m", base_revision=BASE_REVISION
    )
    return ArtifactReported(a_report(role="train", artifact=artifact, **fields))


def ended(reported: ArtifactReported, spec: dict[str, Any] | None = None) -> Any:
    job = a_finetunejob(spec)
    return decide_job(seen(job, train=Succeeded(NOW, reported.report), artifact=reported))


def judged(metric: str, result: str = "Pass") -> GateStatus:
    return GateStatus.model_validate({"metric": metric, "result": result, "value": "0.7"})


def test_what_the_child_read_back_is_taken_over() -> None:
    report = published(metrics={"exact_match": "0.7"}, gates=(judged("json_validity"), judged("exact_match")))
    decision = ended(report, GATES)
    assert condition(decision, "Complete") == ("True", "Complete")
    assert decision.status.artifact == report.report.artifact
    assert decision.status.metrics == {"exact_match": "0.7"}
    assert decision.status.dataset == report.report.dataset


@pytest.mark.parametrize(("letters", "ends"), [("PP", "Complete"), ("PF", "Failed"), ("PI", "Failed"), ("P", "Failed")])
def test_letters_stand_for_gates_that_had_no_room(letters: str, ends: str) -> None:
    decision = ended(published(gate_results=letters), GATES)
    assert find_condition(decision.status.conditions, ends) is not None
    assert [gate.metric for gate in decision.status.gates] == ["json_validity", "exact_match"]


def test_a_gate_that_the_report_is_silent_about_does_not_hold() -> None:
    decision = ended(published(gates=(judged("json_validity"),)), GATES)
    assert condition(decision, "Failed") == ("True", "GatesFailed")
    assert "exact_match InsufficientEvidence" in message(decision, "Failed")


def test_a_failed_child_that_would_be_retried_is_stopped() -> None:
    killed = Failed(ExitClass.OUT_OF_MEMORY, "too large", is_retried=True)
    decision = decide_job(seen(check=Succeeded(NOW, a_report()), train=killed))
    assert condition(decision, "Failed") == ("True", "OutOfMemory")
    (stop,) = decision.actions
    assert isinstance(stop, StopChild)
    assert stop.reason is StopReason.END


def test_a_report_tells_its_usage_and_where_training_stood() -> None:
    report = TrainReport.model_validate(
        published().report.model_dump()
        | {"usage": {"gpu_seconds": 40, "train_seconds": 10}, "progress": {"step": 72, "total_steps": 72}}
    )
    status = ended(ArtifactReported(report)).status
    assert status.usage is not None
    assert status.usage.gpu_seconds == 40
    assert status.progress is not None
    assert status.progress.steps == "72/72"
