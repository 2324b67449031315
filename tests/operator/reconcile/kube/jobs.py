"""Jobs and pods as an API server shows them, for the tests that read them."""

from typing import Any

from graft_core.clock import to_rfc3339
from graft_core.contracts.train_report import TrainReport
from graft_operator.ports import Json
from tests.builders import JOB_UID, after

__all__ = ["JOB_NAME", "a_condition", "a_kube_job", "a_pod", "ended_pod"]

JOB_NAME = "tune-train-1a3622e9"
KUBE_JOB_UID = "11111111-0000-4000-8000-000000000001"
OWNER = {"apiVersion": "graft.dev/v1alpha1", "kind": "FineTuneJob", "name": "tune", "uid": JOB_UID, "controller": True}


def at(seconds: float) -> str:
    return to_rfc3339(after(seconds))


def a_condition(kind: str, reason: str = "", message: str = "", status: str = "True") -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def a_kube_job(
    *conditions: Json, suspend: bool = False, owner: Json | None = OWNER, kind: str = "Job", **fields: Any
) -> Json:
    """Build a Job; `fields` are of its metadata, `failed` of its status."""
    status: Json = {"conditions": list(conditions), "failed": fields.pop("failed", 0), "startTime": at(-100)}
    return {
        "kind": kind,
        "metadata": {
            "name": JOB_NAME,
            "namespace": "default",
            "uid": KUBE_JOB_UID,
            "resourceVersion": "7",
            "creationTimestamp": at(-110),
            "ownerReferences": [] if owner is None else [owner],
            **fields,
        },
        "spec": {"suspend": suspend},
        "status": status,
    }


def a_pod(phase: str = "Running", *, age_s: float = 90, **parts: Any) -> Json:
    """Build a pod of that Job; `parts` are state and reason, message, conditions, deleted, index, owner."""
    state = parts.pop("state", {"running": {"startedAt": at(10 - age_s)}} if phase == "Running" else None)
    meta: Json = {
        "name": f"{JOB_NAME}-{age_s:g}",
        "namespace": "default",
        "uid": f"22222222-0000-4000-8000-{age_s:012g}",
        "creationTimestamp": at(-age_s),
        "labels": {"batch.kubernetes.io/job-completion-index": parts.pop("index", "0")},
        "ownerReferences": [
            {"kind": "Job", "name": JOB_NAME, "uid": parts.pop("owner", KUBE_JOB_UID), "controller": True}
        ],
    }
    if (deleted := parts.pop("deleted", None)) is not None:
        meta["deletionTimestamp"] = at(deleted)
    statuses = [] if state is None else [{"name": "trainer", "state": state}]
    return {"metadata": meta, "status": {"phase": phase, "containerStatuses": statuses, **parts}}


def ended_pod(
    code: int, report: TrainReport | None = None, *, reason: str = "", age_s: float = 90, **parts: Any
) -> Json:
    """Build a pod that ended 20 s before NOW."""
    ended: Json = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "finishedAt": at(-20)}
    ended["message"] = parts.pop("words", "" if report is None else report.to_json())
    return a_pod("Failed" if code else "Succeeded", age_s=age_s, state={"terminated": ended}, **parts)
