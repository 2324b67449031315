"""One child of a FineTuneJob, from its Job (or TrainJob), its pods and its request, into `observed.Child`. The first row that matches wins.

    row  the Job                                         the child
    1    none, and a pod of it still runs                Terminating
    2    none, taken away by Graft                       Suspended by spec, or Failed (stopped; stalled too often)
    3    none                                            Absent
    4    not ours                                        Foreign
    5    being deleted                                   Terminating
    6    Complete, the report is there                   Succeeded
    7    Complete, its pod is gone with the report       Absent: the next one finds what was published, and says it again
    8    Failed                                          Failed, by the pod whose end no restart would change, else the newest
    9    suspended, its pods have not ended              Terminating
    10   suspended, in the queue that the spec names     Suspended by queue
    11   suspended otherwise (by hand, another queue)    Suspended by spec: it is resumed as the spec says
    12   unfinished, and its request is gone             Absent: the request is made again, and the Job adopted
    13   unfinished, no pod yet                          Pending/PodNotCreated
    14   newest pod is being deleted                     Terminating; Pending/NodeLost where its node is gone
    15   newest pod waits                                Pending, with the reason
    16   newest pod runs                                 Running
    17   newest pod succeeded, with its report           Succeeded
    18   newest pod was killed for its memory            Failed, and stopped: a restart would end the same way
    19   newest pod failed                               Pending/BackOff

Suspending and stopping take the Job away (ADR 0012), so a suspended child is known by a mark on its request. A TrainJob has the same rows;
its pods belong to a Job of JobSet's and are told by their labels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graft_core.api.v1alpha1.names import QUEUE_LABEL
from graft_core.clock import from_rfc3339
from graft_core.contracts.exit_codes import ExitClass, exit_class_of, is_restartable
from graft_core.contracts.train_report import Progress
from graft_operator.ports import Json
from graft_operator.reconcile.decision import StopReason
from graft_operator.reconcile.kube.pod_reason import (
    PodEnd,
    end_of,
    find_condition_of,
    pending_reason,
    running_since,
    time_of,
)
from graft_operator.reconcile.observed import (
    Absent,
    Child,
    ChildState,
    Failed,
    Foreign,
    Pending,
    Role,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)

__all__ = ["SeenChild", "find_controller", "newest_pod", "read_child"]

EXIT_CODE: Final = re.compile(r"exit code (\d+)")
"""In the message of a Job that its podFailurePolicy ended."""
INDEX_LABEL: Final = "batch.kubernetes.io/job-completion-index"
"""Of a pod among several; the first one speaks for all."""


@dataclass(frozen=True, slots=True)
class SeenChild:
    """What the API server holds under one child's name."""

    name: str
    role: Role
    uid: str
    """The FineTuneJob's."""
    job: Json | None
    """Job or TrainJob of that name."""
    pods: Sequence[Json] = ()
    """Pods with the labels of this child."""
    has_request: bool = True
    """The ConfigMap is there."""
    stopped: str = ""
    """The mark on it: why Graft took the Job away."""
    queue: str | None = None
    """spec.runtime.queueName."""
    progress: Progress | None = None
    """What the running pod said last."""


def read_child(seen: SeenChild) -> Child:
    """Read one child."""
    job = seen.job
    if job is None:
        return Child(seen.name, _without_job(seen))
    version = str(job["metadata"].get("resourceVersion", ""))
    owner = find_controller(job)
    if owner is None or owner.get("uid") != seen.uid:
        told = "nobody" if owner is None else f"{owner.get('kind')} {owner.get('name')!r}"
        return Child(seen.name, Foreign(f"a {job.get('kind', 'Job')} of {told}"), version)
    return Child(seen.name, _with_job(seen, job), version)


def find_controller(body: Json) -> Json | None:
    """Return the owner that controls an object."""
    owners: list[Json] = body["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def newest_pod(seen: SeenChild) -> Json | None:
    """Return the pod that speaks for the child: the newest one, of several nodes the first."""
    mine = _own_pods(seen)
    first = [pod for pod in mine if pod["metadata"].get("labels", {}).get(INDEX_LABEL, "0") == "0"]
    return max(first or mine, key=_age_key, default=None)


def _age_key(pod: Json) -> tuple[str, str]:
    return pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]


def _own_pods(seen: SeenChild) -> list[Json]:
    if seen.job is None or seen.job.get("kind") != "Job":
        return list(seen.pods)
    uid = seen.job["metadata"]["uid"]
    return [pod for pod in seen.pods if (find_controller(pod) or {}).get("uid") == uid]


def _is_live(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}


def _without_job(seen: SeenChild) -> ChildState:
    """Rows 1 to 3."""
    if any(_is_live(pod) for pod in seen.pods):
        return Terminating()
    if seen.stopped == StopReason.SUSPEND:
        return Suspended("spec")
    if seen.stopped == StopReason.WATCHDOG:
        return Failed(
            ExitClass.INFRASTRUCTURE, "it stopped making progress once more than spec.runtime.maxRestarts allows"
        )
    if seen.stopped == StopReason.END:
        return Failed(ExitClass.PREEMPTED, "stopped by its operator")
    return Absent()


def _with_job(seen: SeenChild, job: Json) -> ChildState:
    """Rows 5 to 12."""
    status: Json = job.get("status") or {}
    if "deletionTimestamp" in job["metadata"]:
        return Terminating()
    if _is_true(status, "Complete"):
        return _complete(seen)
    if _is_true(status, "Failed"):
        return _failed(seen, status)
    if job["spec"].get("suspend"):
        return _suspended(seen, job)
    if not seen.has_request:
        return Absent()
    return _unfinished(seen, job, status)


def _is_true(status: Json, kind: str) -> bool:
    found = find_condition_of(status, kind)
    return found is not None and found["status"] == "True"


def _complete(seen: SeenChild) -> ChildState:
    """Rows 6 and 7."""
    ends = [end for end in _ends(seen) if end.exit_class is ExitClass.SUCCEEDED]
    told = next((end for end in ends if end.report is not None), None)
    if told is not None and told.report is not None:
        return Succeeded(told.at, told.report)
    if ends:
        return Failed(ExitClass.BUG, "it ended with exit code 0, and its termination message is no report")
    return Absent()


def _failed(seen: SeenChild, status: Json) -> ChildState:
    """Row 8."""
    restarts = max(0, int(status.get("failed") or 0) - 1)
    ends = [end for end in _ends(seen) if end.exit_class is not ExitClass.SUCCEEDED]
    final = next((end for end in ends if not is_restartable(end.exit_class)), None)
    end = final or next(iter(ends), None)
    if end is not None:
        return Failed(end.exit_class, end.message, end.path, restarts)
    condition = find_condition_of(status, "Failed") or {}
    message = str(condition.get("message", ""))
    code = EXIT_CODE.search(message)
    is_policy = condition.get("reason") == "PodFailurePolicy"
    kind = exit_class_of(int(code[1])) if code is not None and is_policy else ExitClass.INFRASTRUCTURE
    return Failed(kind, f"{condition.get('reason', 'Failed')}: {message}", "", restarts)


def _ends(seen: SeenChild) -> list[PodEnd]:
    """Return how those of its pods ended that did, the newest first."""
    pods = sorted(_own_pods(seen), key=_age_key, reverse=True)
    return [end for pod in pods if (end := end_of(pod, seen.uid, seen.role)) is not None]


def _suspended(seen: SeenChild, job: Json) -> ChildState:
    """Rows 9 to 11."""
    if any(_is_live(pod) for pod in _own_pods(seen)):
        return Terminating()
    queue = job["metadata"].get("labels", {}).get(QUEUE_LABEL)
    return Suspended("queue" if seen.queue is not None and queue == seen.queue else "spec")


def _unfinished(seen: SeenChild, job: Json, status: Json) -> ChildState:
    """Rows 13 to 19."""
    pod = newest_pod(seen)
    if pod is None:
        since = status.get("startTime")
        message = f"no pod was made yet; `kubectl describe job {seen.name}` says why (quota, admission)"
        return Pending(from_rfc3339(since) if since else time_of(job), "PodNotCreated", message)
    end = end_of(pod, seen.uid, seen.role)
    if end is not None:
        return _after(end)
    reason, message = pending_reason(pod)
    if "deletionTimestamp" in pod["metadata"]:
        since = from_rfc3339(pod["metadata"]["deletionTimestamp"])
        return Pending(since, reason, message) if reason == "NodeLost" else Terminating()
    started = running_since(pod)
    if started is None:
        return Pending(time_of(pod), reason, message)
    progress = seen.progress
    before = next(iter(_ends(seen)), None)
    return Running(
        started,
        0 if progress is None or from_rfc3339(progress.at) < started else progress.resumed_from_step,
        "" if before is None else before.exit_class.value,
    )


def _after(end: PodEnd) -> ChildState:
    """Rows 17 to 19: the newest pod ended, and the Job's controller has not said yet what follows."""
    if end.exit_class is ExitClass.SUCCEEDED:
        if end.report is not None:
            return Succeeded(end.at, end.report)
        return Pending(end.at, "Finishing")
    if end.exit_class is ExitClass.OUT_OF_MEMORY:
        return Failed(end.exit_class, end.message, end.path, is_retried=True)
    return Pending(end.at, "BackOff", f"the attempt before ended {end.exit_class.value}; another one begins soon")
