"""Rows 8 to 18 of the table in graft_operator.reconcile.finetunejob."""

from dataclasses import replace
from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import (
    AttemptStatus,
    FineTuneJobPhase,
    FineTuneJobStatus,
    UsageStatus,
)
from graft_core.clock import to_rfc3339
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import Progress
from graft_core.contracts.train_request import Pinned
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateChild,
    ResumeChild,
    StopChild,
    StopReason,
)
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.observed import (
    Absent,
    ArtifactAbsent,
    ArtifactCorrupt,
    ArtifactUnreachable,
    ChildState,
    Failed,
    Pending,
    Policy,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)
from tests.builders import (
    BASE_REVISION,
    DATASET_DIGEST,
    NOW,
    a_dataset_status,
    a_finetunejob,
    a_report,
    after,
    some_progress,
)
from tests.operator.reconcile.views import a_condition, condition, decide_job, message, seen

PASSED = Succeeded(at=NOW, report=a_report())
TRAINED = Succeeded(at=NOW, report=a_report(role="train", usage=UsageStatus(gpu_seconds=5, train_seconds=60)))
ALIVE: tuple[ChildState, ...] = (Pending(NOW, "BackOff"), Running(NOW))
DELETED: dict[str, Any] = {"deletion_timestamp": to_rfc3339(NOW)}


def test_row_8_the_check_comes_first_behind_the_finalizer() -> None:
    decision = decide_job(seen(a_finetunejob({"runtime": {"maxRestarts": 2}}, finalizers=())))
    assert decision.actions == (AddFinalizer(), CreateChild("check", "tune-check-1", None, 2))
    assert decision.status.phase is FineTuneJobPhase.PREPARING
    assert decision.status.active_since == to_rfc3339(NOW)


def test_row_8_a_check_that_is_deleted_does_not_disturb_a_training() -> None:
    decision = decide_job(seen(check=Absent(), train=Running(NOW)))
    assert decision.actions == ()
    assert decision.status.phase is FineTuneJobPhase.PREPARING


@pytest.mark.parametrize("state", [Running(NOW), Terminating(), Pending(NOW, "Starting")])
def test_row_9_a_check_under_way_is_waited_for(state: ChildState) -> None:
    decision = decide_job(seen(check=state))
    assert (decision.actions, decision.status.phase) == ((), FineTuneJobPhase.PREPARING)


def test_row_9_a_pending_reason_is_shown_after_a_minute() -> None:
    pending = Pending(NOW, "ImagePullBackOff", "no such image")
    early, late = (decide_job(seen(check=pending), after(s)) for s in (59, 60))
    assert early.look_again_s == 1
    assert condition(late, "Scheduled") == ("False", "ImagePullBackOff")
    assert "no such image" in message(late, "Scheduled")


def test_row_9_a_suspended_check_is_resumed_or_queued() -> None:
    assert decide_job(seen(check=Suspended("spec"))).actions == (ResumeChild("check", "tune-check-1"),)
    assert decide_job(seen(check=Suspended("queue"))).status.phase is FineTuneJobPhase.QUEUED


@pytest.mark.parametrize("kind", [ExitClass.INVALID_DATASET, ExitClass.POLICY_DENIED, ExitClass.BUG])
def test_row_10_a_check_that_fails_by_the_users_doing_ends_the_job_with_its_message(kind: ExitClass) -> None:
    decision = decide_job(seen(check=Failed(kind, "not JSON: Expecting ','", "train.jsonl:17")))
    assert condition(decision, "Failed") == ("True", kind.value)
    assert message(decision, "Failed") == "not JSON: Expecting ',' (train.jsonl:17)"


def test_row_10_a_check_that_left_no_report_says_where_to_look() -> None:
    decision = decide_job(seen(check=Failed(ExitClass.BUG)))
    assert message(decision, "Failed") == "the check ended with Bug and left no report; see its log"


def test_row_10_data_that_changed_since_the_first_check_ends_the_job() -> None:
    job = a_finetunejob(status=FineTuneJobStatus(dataset=a_dataset_status("sha256:" + "1" * 64), train_seen=True))
    decision = decide_job(seen(job, check=PASSED))
    assert condition(decision, "Failed") == ("True", "DatasetChanged")
    assert DATASET_DIGEST in message(decision, "Failed")


@pytest.mark.parametrize("kind", [ExitClass.INFRASTRUCTURE, ExitClass.KILLED, ExitClass.PREEMPTED])
def test_row_11_a_check_that_infrastructure_broke_ends_the_job_after_its_restarts(kind: ExitClass) -> None:
    decision = decide_job(seen(check=Failed(kind, "store out of reach", restarts=3)))
    assert condition(decision, "Failed") == ("True", "Infrastructure")


def test_row_12_the_train_child_gets_what_the_check_pinned() -> None:
    decision = decide_finetunejob(seen(check=PASSED), NOW)
    pinned = Pinned(dataset_digest=DATASET_DIGEST, base_revision=BASE_REVISION)
    assert decision.actions == (CreateChild("train", "tune-train-1", pinned, 3),)
    assert decision.status.train_seen
    assert decision.status.dataset == a_dataset_status()


def test_row_12_a_check_that_pins_nothing_is_a_bug_and_asks_for_no_gpu() -> None:
    decision = decide_job(seen(check=Succeeded(NOW, a_report(base_revision=None))))
    assert (condition(decision, "Failed"), decision.actions) == (("True", "Bug"), ())


def test_row_13_a_train_child_that_somebody_deleted_is_made_again_and_counted() -> None:
    job = a_finetunejob(status=FineTuneJobStatus(train_seen=True, children_deleted=1))
    decision = decide_finetunejob(seen(job, check=PASSED), NOW)
    assert [type(action) for action in decision.actions] == [CreateChild]
    assert decision.status.children_deleted == 2
    assert [event.reason for event in decision.events if event.type == "Warning"] == ["ChildDeleted"]


def test_row_13_a_train_child_deleted_too_often_fails_the_job() -> None:
    job = a_finetunejob(status=FineTuneJobStatus(train_seen=True, children_deleted=3))
    decision = decide_job(seen(job, check=PASSED))
    assert (condition(decision, "Failed"), decision.actions) == (("True", "ChildDeleted"), ())


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        pytest.param(Suspended("queue"), FineTuneJobPhase.QUEUED, id="queue"),
        pytest.param(Pending(after(-61), "Unschedulable", "no GPU"), FineTuneJobPhase.PENDING, id="pending"),
        pytest.param(Pending(NOW, "Starting"), FineTuneJobPhase.PREPARING, id="starting"),
        pytest.param(Terminating(), FineTuneJobPhase.PREPARING, id="terminating"),
    ],
)
def test_row_14_a_train_child_that_waits_says_for_what(state: ChildState, phase: FineTuneJobPhase) -> None:
    status = FineTuneJobStatus(conditions=(a_condition("Trained", "False", "Preparing"),))
    decision = decide_job(seen(a_finetunejob(status=status), check=PASSED, train=state))
    assert (decision.status.phase, decision.actions) == (phase, ())
    assert decision.status.train_seen


def test_row_14_a_train_child_found_without_a_status_keeps_what_its_check_said() -> None:
    decision = decide_job(seen(check=PASSED, train=Pending(NOW, "Starting")))
    assert decision.status.dataset == a_dataset_status()


@pytest.mark.parametrize("phase", ["Training", "Evaluating", "Publishing"])
def test_row_15_the_phase_of_a_training_is_its_progress(phase: Any) -> None:
    progress = Progress(at=to_rfc3339(after(5)), phase=phase, status=some_progress(40))
    decision = decide_job(seen(train=Running(NOW), progress=progress, progress_age_s=1), after(6))
    assert decision.status.phase.value == phase
    assert decision.status.progress == some_progress(40)
    assert decision.look_again_s == 899


def test_row_15_progress_is_written_at_most_every_ten_seconds_and_at_its_end() -> None:
    status = FineTuneJobStatus(progress=some_progress(40), progress_at=to_rfc3339(NOW))

    def shown(step: int, at_s: float) -> int:
        progress = Progress(at=to_rfc3339(after(at_s)), phase="Training", status=some_progress(step))
        view = seen(a_finetunejob(status=status), train=Running(after(-100)), progress=progress, progress_age_s=0)
        written = decide_job(view, after(at_s)).status.progress
        return written.step if written else -1

    assert (shown(41, 9), shown(42, 10), shown(1000, 3)) == (40, 42, 1000)


def test_row_15_lines_of_an_earlier_attempt_say_nothing_of_this_one() -> None:
    progress = Progress(at=to_rfc3339(after(-5)), phase="Publishing", status=some_progress(40))
    decision = decide_job(seen(train=Running(NOW), progress=progress, progress_age_s=5))
    assert (decision.status.phase, decision.status.progress) == (FineTuneJobPhase.PREPARING, None)


def test_row_15_attempts_are_listed_once_and_never_by_an_old_view() -> None:
    first = decide_job(seen(train=Running(NOW))).status
    second = decide_job(seen(a_finetunejob(status=first), train=Running(after(60), 400, "Preempted"))).status
    assert second.attempts == (
        AttemptStatus(started_at=to_rfc3339(NOW)),
        AttemptStatus(started_at=to_rfc3339(after(60)), resumed_from_step=400, reason="Preempted"),
    )
    assert decide_job(seen(a_finetunejob(status=second), train=Running(NOW))).status.attempts == second.attempts


def test_row_15_an_attempt_tells_where_it_went_on_from_once_it_is_known_and_keeps_it() -> None:
    begun = decide_job(seen(train=Running(NOW, 0, "Killed"))).status
    told = decide_job(seen(a_finetunejob(status=begun), train=Running(NOW, 400, "Killed"))).status
    assert told.attempts == (AttemptStatus(started_at=to_rfc3339(NOW), resumed_from_step=400, reason="Killed"),)
    assert (
        decide_job(seen(a_finetunejob(status=told), train=Running(NOW, 0, "Killed"))).status.attempts == told.attempts
    )


def test_row_15_a_training_without_a_sign_of_life_is_stopped_and_counted() -> None:
    policy = Policy(watchdog_s=100)
    stop = StopChild("train", "tune-train-1", 60.0, StopReason.WATCHDOG, "22")
    for age_s, actions in ((99.0, ()), (100.0, (stop,)), (None, (stop,))):
        view = seen(train=Running(NOW), policy=policy, progress_age_s=age_s)
        assert decide_finetunejob(view, after(100)).actions == actions


def test_row_15_an_attempt_is_given_the_whole_watchdog_time() -> None:
    view = seen(train=Running(after(90)), policy=Policy(watchdog_s=100), progress_age_s=1000)
    assert decide_job(view, after(100)).look_again_s == 90


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ExitClass.OUT_OF_MEMORY, "OutOfMemory"),
        (ExitClass.DIVERGED, "Diverged"),
        (ExitClass.INVALID_SPEC, "InvalidSpec"),
        (ExitClass.INFRASTRUCTURE, "BackoffLimitExceeded"),
        (ExitClass.KILLED, "BackoffLimitExceeded"),
    ],
)
def test_row_16_a_training_that_failed_ends_the_job_by_its_class(kind: ExitClass, reason: str) -> None:
    decision = decide_job(seen(check=PASSED, train=Failed(kind, "why", restarts=3)))
    assert condition(decision, "Failed") == ("True", reason)
    assert decision.status.finished_at == to_rfc3339(NOW)


def test_row_17_a_store_out_of_reach_is_waited_for_longer_and_longer() -> None:
    view = seen(train=TRAINED, artifact=ArtifactUnreachable("connection refused"))
    first = decide_job(view)
    assert condition(first, "Published") == ("Unknown", "StoreUnreachable")
    assert first.status.phase is FineTuneJobPhase.PUBLISHING
    held = replace(view, job=a_finetunejob(status=first.status))
    waits = [first.look_again_s, *(decide_job(held, after(s)).look_again_s for s in (60, 5000))]
    assert waits == [5, 60, 300]


@pytest.mark.parametrize(
    ("artifact", "reason"),
    [
        pytest.param(ArtifactAbsent(NOW), "ArtifactMissing", id="missing"),
        pytest.param(ArtifactCorrupt("adapter_config.json: sha256 differs", NOW), "ArtifactCorrupt", id="corrupt"),
    ],
)
def test_row_18_an_artifact_that_is_not_there_after_a_fresh_look_fails_the_job(artifact: Any, reason: str) -> None:
    fresh, old = (decide_job(seen(train=Succeeded(at, TRAINED.report), artifact=artifact)) for at in (NOW, after(1)))
    assert condition(fresh, "Failed") == ("True", reason)
    assert (old.look_again_s, old.status.finished_at) == (1, None)
