"""Rows 1 to 7 of the table in graft_operator.reconcile.finetunejob."""

from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import (
    FineTuneJobPhase,
    FineTuneJobStatus,
    GateStatus,
    UsageStatus,
)
from graft_core.clock import to_rfc3339
from graft_core.contracts.exit_codes import ExitClass
from graft_core.errors import Corrupt
from graft_operator.reconcile.decision import (
    DeleteChild,
    RemoveFinalizer,
    ResumeChild,
    StopChild,
    StopReason,
)
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.observed import (
    Absent,
    ArtifactFound,
    ChildState,
    Failed,
    Foreign,
    Pending,
    Policy,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)
from tests.builders import (
    NOW,
    a_finetunejob,
    a_manifest,
    a_report,
    after,
)
from tests.operator.reconcile.views import a_condition, a_finished_status, condition, decide_job, message, seen

PASSED = Succeeded(at=NOW, report=a_report())
TRAINED = Succeeded(at=NOW, report=a_report(role="train", usage=UsageStatus(gpu_seconds=5, train_seconds=60)))
ALIVE: tuple[ChildState, ...] = (Pending(NOW, "BackOff"), Running(NOW))
DELETED: dict[str, Any] = {"deletion_timestamp": to_rfc3339(NOW)}


def test_row_1_children_of_a_deleted_job_are_deleted_and_the_finalizer_stays() -> None:
    decision = decide_job(seen(a_finetunejob(**DELETED), check=PASSED, train=Running(NOW)), after(1))
    assert decision.actions == (
        DeleteChild("check", "tune-check-1", 60.0, "21"),
        DeleteChild("train", "tune-train-1", 60.0, "22"),
    )
    assert decision.look_again_s == 29


def test_row_1_the_finalizer_goes_with_the_last_child() -> None:
    decision = decide_job(seen(a_finetunejob(**DELETED), check=Absent(), train=Foreign("a Pod")))
    assert decision.actions == (RemoveFinalizer(),)


def test_row_1_a_deletion_waits_for_what_terminates_and_tells_it_once() -> None:
    assert decide_job(seen(a_finetunejob(**DELETED), train=Terminating())).actions == ()


def test_row_1_after_thirty_seconds_the_object_goes_and_an_event_names_what_is_left() -> None:
    decision = decide_job(seen(a_finetunejob(**DELETED), train=Terminating()), after(30))
    assert decision.actions == (RemoveFinalizer(),)
    assert [event.reason for event in decision.events] == ["ChildrenLeft"]
    assert "tune-train-1" in decision.events[0].message


def test_row_1_without_our_finalizer_a_deleted_job_is_not_ours_to_hold() -> None:
    decision = decide_job(seen(a_finetunejob(**DELETED, finalizers=()), train=Running(NOW)))
    assert (decision.actions, decision.look_again_s) == ((), None)


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
def test_row_2_a_finished_job_stays_finished_whatever_its_children_do(kind: str) -> None:
    job = a_finetunejob({"suspend": True}, status=a_finished_status(kind), generation=2)
    for state in (Absent(), PASSED, Failed(ExitClass.BUG), Foreign("x"), Terminating()):
        decision = decide_job(seen(job, check=state, train=state), after(5))
        assert decision.status is job.status
        assert decision.actions == ()


def test_row_2_children_left_running_by_a_failure_are_stopped() -> None:
    job = a_finetunejob(status=a_finished_status("Failed"))
    for state in (*ALIVE, Suspended("queue"), Suspended("spec")):
        stop = StopChild("train", "tune-train-1", 60.0, StopReason.END, "22")
        assert decide_job(seen(job, train=state), after(1)).actions == (stop,)


def test_row_2_a_child_that_published_may_finish_its_report() -> None:
    job = a_finetunejob(status=a_finished_status())
    early, late = (decide_job(seen(job, train=Running(NOW)), after(s)) for s in (29, 30))
    assert (early.actions, early.look_again_s) == ((), 1)
    assert len(late.actions) == 1


def test_row_2_children_are_deleted_after_the_ttl() -> None:
    job = a_finetunejob({"runtime": {"ttlSecondsAfterFinished": 100}}, status=a_finished_status())
    early, late = (decide_job(seen(job, check=PASSED, train=TRAINED), after(s)) for s in (99, 100))
    assert (early.actions, early.look_again_s) == ((), 1)
    assert [type(action) for action in late.actions] == [DeleteChild, DeleteChild]


def test_row_2_an_end_without_its_time_is_taken_from_the_condition() -> None:
    status = FineTuneJobStatus(conditions=(a_condition("Failed", at=NOW),))
    job = a_finetunejob({"runtime": {"ttlSecondsAfterFinished": 10}}, status=status)
    assert decide_job(seen(job, check=PASSED), after(4)).look_again_s == 6


@pytest.mark.parametrize(
    ("spec", "policy", "reason", "told"),
    [
        pytest.param(
            {"sweep": {"parameters": {"epochs": ["1"]}}},
            Policy(),
            "NotSupported",
            "spec.sweep is not supported in this version",
            id="field",
        ),
        pytest.param(
            {"method": {"objective": "dpo"}},
            Policy(),
            "NotSupported",
            "spec.method.objective 'dpo' is not supported in this version; use sft or classification",
            id="value",
        ),
        pytest.param(
            {"evaluation": {"gates": [{"metric": "bleu", "min": "1"}]}},
            Policy(),
            "InvalidSpec",
            "spec.evaluation.gates[0].metric: 'bleu' is not measured for this task",
            id="metric",
        ),
        pytest.param(
            {"evaluation": {"gates": [{"metric": "json_validity", "min": "1", "perClass": True}]}},
            Policy(),
            "InvalidSpec",
            "spec.evaluation.gates[0].perClass: 'json_validity' has no classes; expected one of ok.accuracy",
            id="per-class",
        ),
        pytest.param(
            {
                "evaluation": {
                    "baseline": "none",
                    "gates": [{"metric": "json_validity", "minDelta": "0.1", "versus": "base"}],
                }
            },
            Policy(),
            "InvalidSpec",
            "spec.evaluation.gates[0].versus 'base' needs spec.evaluation.baseline: base, found 'none'",
            id="versus",
        ),
        pytest.param(
            {},
            Policy(allowed_licenses=frozenset({"mit"})),
            "PolicyDenied",
            "spec.model.license 'apache-2.0' is not allowed; the operator allows mit",
            id="license",
        ),
        pytest.param(
            {"model": {"license": None}},
            Policy(allowed_licenses=frozenset()),
            "PolicyDenied",
            "spec.model.license is not set; the operator allows none",
            id="no-license",
        ),
    ],
)
def test_row_3_a_refused_spec_makes_no_child_and_names_the_field(
    spec: dict[str, Any], policy: Policy, reason: str, told: str
) -> None:
    decision = decide_job(seen(a_finetunejob(spec), policy=policy))
    assert condition(decision, "Accepted") == ("False", reason)
    assert told in message(decision, "Accepted")
    assert (decision.actions, decision.look_again_s) == ((), None)
    assert decision.status.phase is FineTuneJobPhase.PENDING


def test_row_3_all_faults_are_told_at_once() -> None:
    decision = decide_job(seen(a_finetunejob({"output": {"merge": True}, "resources": {"gpus": 4, "shm": "1Gi"}})))
    told = message(decision, "Accepted")
    assert all(path in told for path in ("spec.output.merge", "spec.resources.gpus 4", "spec.resources.shm"))


def test_row_3_a_policy_that_changes_suspends_what_runs_and_stops_the_clock() -> None:
    status = FineTuneJobStatus(active_since=to_rfc3339(NOW))
    view = seen(a_finetunejob(status=status), train=Running(NOW), policy=Policy(allowed_licenses=frozenset()))
    decision = decide_job(view, after(10))
    assert decision.actions == (StopChild("train", "tune-train-1", 60.0, StopReason.SUSPEND, "22"),)
    assert (decision.status.active_seconds, decision.status.active_since) == (10, None)


def test_row_3_a_spec_that_is_accepted_says_so() -> None:
    assert condition(decide_job(seen()), "Accepted") == ("True", "Accepted")


def test_row_4_a_suspended_job_stops_its_children_and_its_clock() -> None:
    job = a_finetunejob(
        {"suspend": True, "runtime": {"activeDeadlineSeconds": 5}},
        status=FineTuneJobStatus(active_seconds=3, active_since=to_rfc3339(NOW)),
    )
    decision = decide_job(seen(job, check=PASSED, train=Running(NOW)), after(7))
    assert decision.actions == (StopChild("train", "tune-train-1", 60.0, StopReason.SUSPEND, "22"),)
    assert (decision.status.active_seconds, decision.status.active_since) == (10, None)
    assert decision.status.phase is FineTuneJobPhase.SUSPENDED
    assert decision.look_again_s is None


def test_row_4_a_child_that_was_stopped_is_not_stopped_again() -> None:
    job = a_finetunejob({"suspend": True})
    assert decide_job(seen(job, check=PASSED, train=Suspended("spec"))).actions == ()
    assert decide_job(seen(job, check=Terminating())).actions == ()


def test_row_4_a_job_that_goes_on_says_so_and_resumes_its_child() -> None:
    status = FineTuneJobStatus(conditions=(a_condition("Suspended"),), active_seconds=40, train_seen=True)
    decision = decide_job(seen(a_finetunejob(status=status), check=PASSED, train=Suspended("spec")))
    assert condition(decision, "Suspended") == ("False", "Resumed")
    assert decision.actions == (ResumeChild("train", "tune-train-1"),)
    assert (decision.status.active_seconds, decision.status.active_since) == (40, to_rfc3339(NOW))


def test_row_5_active_time_over_the_deadline_fails_the_job() -> None:
    status = FineTuneJobStatus(active_seconds=90, active_since=to_rfc3339(NOW))
    job = a_finetunejob({"runtime": {"activeDeadlineSeconds": 100, "ttlSecondsAfterFinished": 50}}, status=status)
    on_time, late = (decide_job(seen(job, train=Running(NOW)), after(s)) for s in (10, 11))
    assert on_time.look_again_s == 1
    assert condition(late, "Failed") == ("True", "DeadlineExceeded")
    assert late.actions == (StopChild("train", "tune-train-1", 60.0, StopReason.END, "22"),)
    assert (late.status.finished_at, late.look_again_s) == (to_rfc3339(after(11)), 50)


def test_row_6_a_manifest_is_adopted_whatever_became_of_the_children() -> None:
    manifest = a_manifest(GateStatus(metric="json_validity", result="Pass", value="0.99"))
    artifact = ArtifactFound(manifest, "file:///store/x/")
    for train in (Absent(), TRAINED, Failed(ExitClass.KILLED), Running(NOW)):
        decision = decide_job(seen(train=train, artifact=artifact))
        assert condition(decision, "Complete") == ("True", "Complete")
        assert decision.actions == ()
        status = decision.status
        assert status.phase is FineTuneJobPhase.SUCCEEDED
        assert status.artifact is not None
        assert (status.artifact.digest, status.artifact.size_bytes) == (manifest.digest, 1000)
        assert (status.metrics, status.baselines) == (manifest.metrics, manifest.baselines)
        assert status.usage == (TRAINED.report.usage if train is TRAINED else None)


def test_row_6_without_gates_the_job_is_complete_and_says_that_none_were_asked_for() -> None:
    decision = decide_job(seen(artifact=ArtifactFound(a_manifest(), "file:///x/")))
    assert condition(decision, "GatesPassed") == ("True", "NoGates")


@pytest.mark.parametrize("result", ["Fail", "InsufficientEvidence"])
def test_row_6_a_gate_that_does_not_pass_ends_the_job_and_keeps_the_artifact(result: Any) -> None:
    gate = GateStatus(metric="json_validity", result=result, value="0.91", detail="below min 0.95")
    decision = decide_job(seen(train=TRAINED, artifact=ArtifactFound(a_manifest(gate), "file:///x/")))
    assert condition(decision, "Failed") == ("True", "GatesFailed")
    assert f"json_validity 0.91 {result} (below min 0.95)" in message(decision, "Failed")
    assert decision.status.artifact is not None
    assert decision.status.phase is FineTuneJobPhase.GATES_FAILED


def test_row_6_a_gate_that_the_manifest_does_not_mention_never_passes() -> None:
    job = a_finetunejob({"evaluation": {"gates": [{"metric": "exact_match", "min": "0.5"}]}})
    decision = decide_job(seen(job, artifact=ArtifactFound(a_manifest(), "file:///x/")))
    assert "exact_match InsufficientEvidence" in message(decision, "GatesPassed")


@pytest.mark.parametrize("gates", [0, 30, 64])
def test_row_6_a_manifest_with_very_many_figures_still_fits_the_status(gates: int) -> None:
    names = [f"metric_{index:02d}_{'x' * 110}" for index in range(64)]
    figures = dict.fromkeys(names, "0." + "1" * 30)
    manifest = a_manifest(
        *(GateStatus(metric=name, result="Pass", value="0.5", detail="ờ" * 256) for name in names[:gates]),
        metrics=figures,
        baselines={f"baseline{index}": figures for index in range(4)},
    )
    decision = decide_job(seen(artifact=ArtifactFound(manifest, "file:///x/")))
    assert len(decision.status.gates) == gates


def test_row_7_a_name_that_is_taken_is_left_alone() -> None:
    for view in (seen(check=Foreign("Job/other")), seen(check=PASSED, train=Foreign("Job/other"))):
        decision = decide_job(view)
        assert condition(decision, "Scheduled") == ("False", "NameConflict")
        assert "Job/other" in message(decision, "Scheduled")
        assert (decision.actions, decision.look_again_s) == ((), 60)


def test_a_status_that_holds_no_time_where_one_must_be_is_corrupt() -> None:
    job = a_finetunejob(
        {"runtime": {"activeDeadlineSeconds": 9}}, status=FineTuneJobStatus(active_since="yesterday", train_seen=True)
    )
    with pytest.raises(Corrupt, match=r"status.activeSince holds 'yesterday'; expected RFC 3339"):
        decide_finetunejob(seen(job), NOW)
