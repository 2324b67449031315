"""Why a trainer's pod has not started, and how one ended: from the pod's JSON alone.

    a pod that waits                                             reason
    PodScheduled is False: Unschedulable, SchedulingGated        that, with the scheduler's message (no GPU, taints, quota of a class)
    the container waits for anything but its creation            ImagePullBackOff, CreateContainerConfigError (a Secret or key is missing), …
    it is being deleted, and its node does not answer            NodeLost
    otherwise                                                    Starting

    a pod that ended                                             exit class
    OOMKilled                                                    OutOfMemory, whatever the code
    an exit code that no restart would change                    its class, even while the node was drained
    DisruptionTarget (preempted, evicted, drained)               Preempted
    another exit code                                            its class (`graft_core.contracts.exit_codes`)
    no exit code: refused or evicted by the kubelet              Infrastructure

A report is believed where it is about this FineTuneJob; the owner of the pod is checked by the caller.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from graft_core.clock import from_rfc3339
from graft_core.contracts.exit_codes import ExitClass, exit_class_of, is_restartable
from graft_core.contracts.train_report import TrainReport
from graft_operator.ports import Json

__all__ = ["PodEnd", "end_of", "find_condition_of", "pending_reason", "running_since", "time_of"]

ORDINARY: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
"""What every container waits for at first."""
MESSAGE_CHARS: Final = 512
"""Of a message that is not ours."""
MEMORY_TEXT: Final = "it used more memory than spec.resources.memory and was killed; raise that, or lower training.maxLength or batchSize"


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How a pod's container ended."""

    exit_class: ExitClass
    at: datetime
    message: str = ""
    path: str = ""
    report: TrainReport | None = None
    """What it left as its last words, if that was whole and its own."""


def pending_reason(pod: Json) -> tuple[str, str]:
    """Say why a pod does not run yet: reason and message."""
    status = pod.get("status", {})
    if "deletionTimestamp" in pod["metadata"] and status.get("reason") == "NodeLost":
        told = status.get("message", "its node does not answer")
        return "NodeLost", f"{_cut(told)}; no other pod is started before this one is known to have ended"
    scheduled = find_condition_of(status, "PodScheduled")
    if scheduled is not None and scheduled["status"] == "False":
        return scheduled.get("reason", "Unschedulable"), _cut(scheduled.get("message", ""))
    waiting = _container(pod).get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    if reason in ORDINARY:
        return "Starting", ""
    return reason, _cut(waiting.get("message", ""))


def running_since(pod: Json) -> datetime | None:
    """Return when the container started; None where it has not."""
    state = _container(pod).get("state", {})
    found = state.get("running", {}).get("startedAt") or state.get("terminated", {}).get("startedAt")
    return None if found is None else from_rfc3339(found)


def end_of(pod: Json, uid: str, role: str) -> PodEnd | None:
    """Say how a pod ended.

    Args:
        pod: As the API server sends it.
        uid: The FineTuneJob's.
        role: check or train.

    Returns:
        The end; None where it has not.
    """
    status = pod.get("status", {})
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    disrupted = find_condition_of(status, "DisruptionTarget")
    is_disrupted = disrupted is not None and disrupted["status"] == "True"
    ended: Json | None = _container(pod).get("state", {}).get("terminated")
    if ended is None:
        kind = ExitClass.PREEMPTED if is_disrupted else ExitClass.INFRASTRUCTURE
        told = status.get("message") or (disrupted or {}).get("message") or status.get("reason") or "it never started"
        return PodEnd(kind, time_of(pod), _cut(told))
    at = from_rfc3339(ended["finishedAt"]) if ended.get("finishedAt") else time_of(pod)
    kind = _class_of(ended, is_disrupted=is_disrupted)
    report = _report_of(ended.get("message", ""), uid, role)
    if kind is ExitClass.OUT_OF_MEMORY and ended.get("reason") == "OOMKilled":
        return PodEnd(kind, at, MEMORY_TEXT, "spec.resources.memory", report)
    if report is not None and report.exit_class is kind:
        return PodEnd(kind, at, report.message, report.path, report)
    return PodEnd(kind, at)


def time_of(body: Json) -> datetime:
    """Return when an object was made."""
    return from_rfc3339(body["metadata"]["creationTimestamp"])


def find_condition_of(status: Json, kind: str) -> Json | None:
    """Find one of the conditions of a Kubernetes status."""
    conditions: list[Json] = status.get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), None)


def _class_of(ended: Json, *, is_disrupted: bool) -> ExitClass:
    if ended.get("reason") == "OOMKilled":
        return ExitClass.OUT_OF_MEMORY
    kind = exit_class_of(int(ended.get("exitCode", 1)))
    return ExitClass.PREEMPTED if is_disrupted and is_restartable(kind) else kind


def _container(pod: Json) -> Json:
    statuses: list[Json] = pod.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0]


def _report_of(text: str, uid: str, role: str) -> TrainReport | None:
    try:
        report = TrainReport.model_validate_json(text)
    except ValidationError:
        return None
    return report if (report.job.uid, report.role) == (uid, role) else None


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS else f"{text[: MESSAGE_CHARS - 1]}…"
