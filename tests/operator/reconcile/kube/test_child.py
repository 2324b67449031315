"""Every row of reading a child from its Job, its pods and its request."""

from dataclasses import replace
from typing import Any

import pytest

from graft_core.api.v1alpha1.names import QUEUE_LABEL
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import Progress, TrainReport
from graft_operator.ports import Json
from graft_operator.reconcile.kube.child import SeenChild, newest_pod, read_child
from graft_operator.reconcile.observed import (
    Absent,
    ChildState,
    Failed,
    Foreign,
    Pending,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)
from tests.builders import JOB_UID, a_report, after
from tests.operator.reconcile.kube.jobs import JOB_NAME, a_condition, a_kube_job, a_pod, at, ended_pod

TRAINED = a_report(role="train")
BAD_DATA = a_report(ExitClass.INVALID_DATASET, role="train", message="train.jsonl:3: no output", path="train.jsonl:3")
OUT_OF_REACH = a_report(ExitClass.INFRASTRUCTURE, role="train", message="s3://lake: no answer")
PREEMPTED = a_condition("DisruptionTarget", "PreemptionByScheduler")
MEMORY = "it used more memory than spec.resources.memory and was killed; raise that, or lower training.maxLength or batchSize"
QUEUED: dict[str, Any] = {"labels": {QUEUE_LABEL: "ml"}}


def state(job: Json | None = None, *pods: Json, **fields: Any) -> ChildState:
    values: dict[str, Any] = {"name": JOB_NAME, "role": "train", "uid": JOB_UID, "job": job, "pods": pods, **fields}
    return read_child(SeenChild(**values)).state


def waiting(reason: str, message: str = "") -> Json:
    return a_pod("Pending", state={"waiting": {"reason": reason, "message": message}})


def failed_job(reason: str, message: str = "", failed: int = 1) -> Json:
    return a_kube_job(a_condition("Failed", reason, message), failed=failed)


ROWS: list[Any] = [
    pytest.param(state(None, a_pod()), Terminating(), id="1-no-job-and-a-pod-still-runs"),
    pytest.param(state(None, ended_pod(143)), Absent(), id="3-no-job-and-its-pods-have-ended"),
    pytest.param(state(stopped="Suspend"), Suspended("spec"), id="2-suspended-by-spec"),
    pytest.param(state(stopped="End"), Failed(ExitClass.PREEMPTED, "stopped by its operator"), id="2-stopped"),
    pytest.param(
        state(stopped="Watchdog"),
        Failed(ExitClass.INFRASTRUCTURE, "it stopped making progress once more than spec.runtime.maxRestarts allows"),
        id="2-stalled-too-often",
    ),
    pytest.param(state(), Absent(), id="3-nothing"),
    pytest.param(state(a_kube_job(owner=None)), Foreign("a Job of nobody"), id="4-foreign-without-owner"),
    pytest.param(
        state(a_kube_job(owner={"kind": "CronJob", "name": "night", "uid": "x", "controller": True})),
        Foreign("a Job of CronJob 'night'"),
        id="4-foreign",
    ),
    pytest.param(
        state(a_kube_job(owner={"kind": "FineTuneJob", "name": "tune", "uid": "older", "controller": True})),
        Foreign("a Job of FineTuneJob 'tune'"),
        id="4-of-an-earlier-object-of-that-name",
    ),
    pytest.param(state(a_kube_job(deletionTimestamp=at(-1)), a_pod()), Terminating(), id="5-being-deleted"),
    pytest.param(
        state(a_kube_job(a_condition("Complete")), ended_pod(0, TRAINED)),
        Succeeded(after(-20), TRAINED),
        id="6-complete",
    ),
    pytest.param(
        state(a_kube_job(a_condition("Complete")), ended_pod(0, words="{")),
        Failed(ExitClass.BUG, "it ended with exit code 0, and its termination message is no report"),
        id="6-complete-without-words",
    ),
    pytest.param(
        state(a_kube_job(a_condition("Complete")), ended_pod(0, TRAINED.model_copy(update={"role": "check"}))),
        Failed(ExitClass.BUG, "it ended with exit code 0, and its termination message is no report"),
        id="6-complete-with-anothers-report",
    ),
    pytest.param(state(a_kube_job(a_condition("Complete"))), Absent(), id="7-complete-and-its-pod-gone"),
    pytest.param(
        state(failed_job("PodFailurePolicy"), ended_pod(11, BAD_DATA)),
        Failed(ExitClass.INVALID_DATASET, "train.jsonl:3: no output", "train.jsonl:3"),
        id="8-bad-data",
    ),
    pytest.param(
        state(failed_job("BackoffLimitExceeded", failed=4), ended_pod(75, OUT_OF_REACH), ended_pod(137, age_s=200)),
        Failed(ExitClass.INFRASTRUCTURE, "s3://lake: no answer", "", 3),
        id="8-infrastructure-after-its-restarts",
    ),
    pytest.param(
        state(failed_job("BackoffLimitExceeded"), ended_pod(137)), Failed(ExitClass.KILLED), id="8-killed-without-words"
    ),
    pytest.param(
        state(failed_job("PodFailurePolicy"), ended_pod(137, age_s=10, index="1"), ended_pod(12)),
        Failed(ExitClass.POLICY_DENIED),
        id="8-of-several-pods-the-final-end-counts",
    ),
    pytest.param(
        state(
            failed_job(
                "PodFailurePolicy", "Container trainer for pod a/b failed with exit code 14 matching FailJob rule"
            )
        ),
        Failed(
            ExitClass.DIVERGED,
            "PodFailurePolicy: Container trainer for pod a/b failed with exit code 14 matching FailJob rule",
        ),
        id="8-its-pod-gone-the-code-is-in-the-condition",
    ),
    pytest.param(
        state(failed_job("DeadlineExceeded", "Job was active longer than specified deadline")),
        Failed(ExitClass.INFRASTRUCTURE, "DeadlineExceeded: Job was active longer than specified deadline"),
        id="8-ended-by-somebody-else",
    ),
    pytest.param(state(a_kube_job(suspend=True), a_pod()), Terminating(), id="9-suspended-and-its-pod-still-saves"),
    pytest.param(
        state(a_kube_job(suspend=True, **QUEUED), queue="ml"), Suspended("queue"), id="10-not-admitted-by-the-queue"
    ),
    pytest.param(state(a_kube_job(suspend=True)), Suspended("spec"), id="11-suspended-by-hand"),
    pytest.param(
        state(a_kube_job(suspend=True, **QUEUED), queue="other"),
        Suspended("spec"),
        id="11-the-spec-names-another-queue",
    ),
    pytest.param(state(a_kube_job(), a_pod(), has_request=False), Absent(), id="12-its-request-is-gone"),
    pytest.param(
        state(a_kube_job()),
        Pending(
            after(-100),
            "PodNotCreated",
            f"no pod was made yet; `kubectl describe job {JOB_NAME}` says why (quota, admission)",
        ),
        id="13-no-pod-yet",
    ),
    pytest.param(state(a_kube_job(), a_pod(owner="another")), state(a_kube_job()), id="13-a-pod-of-another-job"),
    pytest.param(state(a_kube_job(), a_pod(deleted=-5)), Terminating(), id="14-a-pod-that-saves"),
    pytest.param(
        state(a_kube_job(), a_pod(deleted=-5, reason="NodeLost", message="Node n1 is unresponsive")),
        Pending(
            after(-5),
            "NodeLost",
            "Node n1 is unresponsive; no other pod is started before this one is known to have ended",
        ),
        id="14-node-lost",
    ),
    pytest.param(
        state(
            a_kube_job(),
            a_pod("Pending", conditions=[a_condition("PodScheduled", "Unschedulable", "0/3 nodes: gpu", "False")]),
        ),
        Pending(after(-90), "Unschedulable", "0/3 nodes: gpu"),
        id="15-unschedulable",
    ),
    pytest.param(
        state(a_kube_job(), waiting("ImagePullBackOff", 'Back-off pulling image "x"')),
        Pending(after(-90), "ImagePullBackOff", 'Back-off pulling image "x"'),
        id="15-image",
    ),
    pytest.param(
        state(a_kube_job(), waiting("CreateContainerConfigError", 'secret "lake" not found')),
        Pending(after(-90), "CreateContainerConfigError", 'secret "lake" not found'),
        id="15-missing-secret",
    ),
    pytest.param(state(a_kube_job(), waiting("ContainerCreating")), Pending(after(-90), "Starting"), id="15-starting"),
    pytest.param(state(a_kube_job(), a_pod("Pending")), Pending(after(-90), "Starting"), id="15-just-made"),
    pytest.param(state(a_kube_job(), a_pod()), Running(after(-80)), id="16-running"),
    pytest.param(
        state(a_kube_job(failed=1), a_pod(), ended_pod(75, age_s=300)),
        Running(after(-80), 0, "Infrastructure"),
        id="16-running-once-more",
    ),
    pytest.param(
        state(a_kube_job(), a_pod(), ended_pod(143, age_s=300, conditions=[PREEMPTED])),
        Running(after(-80), 0, "Preempted"),
        id="16-running-after-a-preemption",
    ),
    pytest.param(
        state(a_kube_job(), a_pod(), progress=Progress(at=at(-5), phase="Training", resumed_from_step=400)),
        Running(after(-80), 400),
        id="16-running-from-a-checkpoint",
    ),
    pytest.param(
        state(a_kube_job(), a_pod(), progress=Progress(at=at(-85), phase="Training", resumed_from_step=400)),
        Running(after(-80)),
        id="16-progress-of-the-pod-before",
    ),
    pytest.param(state(a_kube_job(), ended_pod(0, TRAINED)), Succeeded(after(-20), TRAINED), id="17-succeeded"),
    pytest.param(state(a_kube_job(), ended_pod(0)), Pending(after(-20), "Finishing"), id="17-without-a-report-yet"),
    pytest.param(
        state(a_kube_job(), ended_pod(137, reason="OOMKilled")),
        Failed(ExitClass.OUT_OF_MEMORY, MEMORY, "spec.resources.memory", is_retried=True),
        id="18-killed-for-its-memory",
    ),
    pytest.param(
        state(a_kube_job(), ended_pod(137)),
        Pending(after(-20), "BackOff", "the attempt before ended Killed; another one begins soon"),
        id="19-back-off",
    ),
    pytest.param(
        state(a_kube_job(), ended_pod(137, conditions=[PREEMPTED])),
        Pending(after(-20), "BackOff", "the attempt before ended Preempted; another one begins soon"),
        id="19-preempted-and-killed-after-its-grace",
    ),
    pytest.param(
        state(a_kube_job(), a_pod("Failed", reason="Evicted", message="The node was low on disk")),
        Pending(after(-90), "BackOff", "the attempt before ended Infrastructure; another one begins soon"),
        id="19-evicted-before-it-ran",
    ),
    pytest.param(
        state(a_kube_job(a_condition("Complete"), kind="TrainJob"), ended_pod(0, TRAINED, owner="a-job-of-jobset")),
        Succeeded(after(-20), TRAINED),
        id="6-a-train-job",
    ),
]


@pytest.mark.parametrize(("found", "expected"), ROWS)
def test_row(found: ChildState, expected: ChildState) -> None:
    assert found == expected


def test_a_disrupted_pod_that_found_bad_data_has_failed_all_the_same() -> None:
    found = state(failed_job("PodFailurePolicy"), ended_pod(11, BAD_DATA, conditions=[PREEMPTED]))
    assert isinstance(found, Failed)
    assert found.exit_class is ExitClass.INVALID_DATASET


def test_the_version_is_the_jobs_so_that_what_hurts_is_aimed_at_what_was_seen() -> None:
    seen = SeenChild(JOB_NAME, "train", JOB_UID, a_kube_job())
    assert read_child(seen).resource_version == "7"
    assert read_child(replace(seen, job=None)).resource_version == ""


def test_a_report_about_another_object_is_not_believed() -> None:
    job = TRAINED.job.model_copy(update={"uid": "another"})
    foreign: TrainReport = TRAINED.model_copy(update={"job": job})
    assert isinstance(state(a_kube_job(a_condition("Complete")), ended_pod(0, foreign)), Failed)


def test_the_first_node_speaks_for_all() -> None:
    pods = (a_pod(age_s=50, index="1"), a_pod(age_s=60, index="0"))
    seen = SeenChild(JOB_NAME, "train", JOB_UID, a_kube_job(kind="TrainJob"), pods)
    assert newest_pod(seen) == pods[1]


def test_a_long_message_of_others_is_cut() -> None:
    found = state(a_kube_job(), waiting("ErrImagePull", "x" * 5000))
    assert isinstance(found, Pending)
    assert len(found.message) == 512
