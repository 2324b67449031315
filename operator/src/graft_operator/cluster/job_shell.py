"""One pass of a FineTuneJob on a cluster: observe, decide, apply.

Nothing is remembered that matters: a child is found by its name and owner, what Graft did to it stands on its request. Taking a Job
away (to suspend it, or for good) is a mark on the request, then the deletion, so that a pass which died in between says the same again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from graft_core.api.conditions import is_condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.names import ANNOTATION_PINNED, ANNOTATION_STALLS, ANNOTATION_STOPPED, QUEUE_LABEL
from graft_core.clock import Clock, from_rfc3339
from graft_core.contracts.pod import PINNED_ENV
from graft_core.contracts.train_request import Pinned, TrainRequest
from graft_core.errors import Conflict
from graft_core.telemetry.tracing import current_traceparent
from graft_operator.cluster.job_objects import JobObjects, Marks, annotations_of, is_untouched, may_have_pods
from graft_operator.cluster.progress import ASK_EVERY_S, ProgressWatch
from graft_operator.ports import TRAIN_JOBS, Cluster, Json
from graft_operator.reconcile.cluster_support import finetunejob_support
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateChild,
    DeleteChild,
    FineTuneJobAction,
    FineTuneJobDecision,
    RemoveFinalizer,
    ResumeChild,
    StopChild,
    StopReason,
)
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.kube.child import SeenChild, newest_pod, read_child
from graft_operator.reconcile.observed import (
    Absent,
    ArtifactAbsent,
    ArtifactReported,
    Child,
    Foreign,
    ObservedFineTuneJob,
    Policy,
    Role,
    Running,
    Succeeded,
)
from graft_operator.reconcile.support import LOCAL_SHELL, Capabilities
from graft_operator.render.kube.child import ChildPlan
from graft_operator.render.kube.pod import PodDefaults
from graft_operator.render.names import child_name
from graft_operator.render.train_request import render_train_request

__all__ = ["ClusterJobShell"]

STALL_GRACE_S: Final = 1
"""A stalled trainer gets that long: one that could still save would not have stalled."""
NO_PODS: Final[Mapping[str, list[Json]]] = {"check": [], "train": []}
SETTLED_AFTER_S: Final = 300.0
"""A job that ended so long ago has nothing left that could be stopped; its children are not read until their TTL."""


class ClusterJobShell:
    """Reads and writes what FineTuneJobs are about."""

    def __init__(
        self, cluster: Cluster, clock: Clock, policy: Policy, defaults: PodDefaults, *, output_uri: str | None
    ) -> None:
        self._cluster = cluster
        self._policy = replace(policy, has_default_store=output_uri is not None)
        self._output_uri = output_uri or ""
        self._objects = JobObjects(cluster, defaults)
        self._progress = ProgressWatch(cluster, clock)

    async def decide(self, job: FineTuneJob, now: datetime) -> FineTuneJobDecision:
        """Observe one job and decide."""
        uid = job.metadata.uid
        check, train = (_absent(job, "check"), _absent(job, "train"))
        if not _is_settled(job, now) and not is_untouched(job):
            check, train = await self._read_children(job)
        state = train.state
        observed = ObservedFineTuneJob(
            job=job,
            check=check,
            train=train,
            artifact=(
                ArtifactReported(state.report)
                if isinstance(state, Succeeded) and state.report.artifact is not None
                else ArtifactAbsent(now)
            ),
            progress=self._progress.last(uid),
            progress_age_s=self._progress.age_s(uid),
            policy=self._policy,
            capabilities=await self._capabilities(job),
        )
        decision = decide_finetunejob(observed, now)
        if not isinstance(state, Running):
            return decision
        again_s = ASK_EVERY_S if decision.look_again_s is None else min(ASK_EVERY_S, decision.look_again_s)
        return replace(decision, look_again_s=again_s)

    async def apply(self, action: FineTuneJobAction, job: FineTuneJob) -> bool:
        """Carry one action out; finalizers are the engine's. True where watches will tell what comes of it."""
        match action:
            case AddFinalizer() | RemoveFinalizer():
                pass
            case CreateChild():
                # A check comes first: there is no request yet, and looking for one would only cost time.
                known = Marks() if action.role == "check" else await self._objects.find_marks(job)
                request_name = await self._objects.create_request(job, self._request(job), known)
                plan = ChildPlan(action.role, action.name, request_name, action.pinned, action.max_restarts)
                return await self._objects.create_job(job, plan)
            case ResumeChild():
                await self._resume(action, job)
            case StopChild(reason=StopReason.WATCHDOG):
                await self._stop_stalled(action, job)
            case StopChild():
                await self._take_away(action, job, action.reason)
            case DeleteChild():
                await self._delete(action, job)
        return False

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        self._progress.forget(uid)

    # -- reading

    async def _capabilities(self, job: FineTuneJob) -> Capabilities:
        has_train_jobs = job.spec.runtime.engine != "TrainJob" or await self._cluster.serves(TRAIN_JOBS)
        return Capabilities(finetunejob_support(has_train_jobs=has_train_jobs), LOCAL_SHELL.modelrelease)

    async def _read_children(self, job: FineTuneJob) -> tuple[Child, Child]:
        check_job = await self._objects.find_job(job, "check", _name(job, "check"))
        train_job = await self._objects.find_job(job, "train", _name(job, "train"))
        marks = await self._objects.find_marks(job)
        pods = await self._objects.find_pods(job) if may_have_pods(check_job, train_job) else NO_PODS
        check = self._seen(job, "check", check_job, marks, pods["check"])
        train = self._seen(job, "train", train_job, marks, pods["train"])
        await self._progress.look(job.metadata.uid, newest_pod(train))
        train = replace(train, progress=self._progress.last(job.metadata.uid))
        read = read_child(check), read_child(train)
        if check_job is None and train_job is None and not marks.is_there:
            taken = await self._objects.find_name_taken(job, self._request(job))
            return (Child(read[0].name, Foreign(taken)), read[1]) if taken else read
        return read

    def _seen(self, job: FineTuneJob, role: Role, found: Json | None, marks: Marks, pods: list[Json]) -> SeenChild:
        return SeenChild(
            name=_name(job, role),
            role=role,
            uid=job.metadata.uid,
            job=found,
            pods=pods,
            has_request=marks.is_there,
            stopped=marks.stopped(role),
            queue=job.spec.runtime.queue_name,
        )

    def _request(self, job: FineTuneJob) -> TrainRequest:
        return render_train_request(
            job, pinned=None, default_output_uri=self._output_uri, traceparent=current_traceparent()
        )

    # -- writing

    async def _resume(self, action: ResumeChild, job: FineTuneJob) -> None:
        """Bring a suspended child in line with the spec: its Job is made again, or put into the queue that is named now."""
        found = await self._objects.find_job(job, action.role, action.name)
        if found is not None:
            queue = job.spec.runtime.queue_name
            labels = {QUEUE_LABEL: queue}
            patch = {"metadata": {"labels": labels}, "spec": {"suspend": queue is not None}}
            await self._objects.patch_job(job, action.role, found, patch)
            return
        marks = await self._objects.find_marks(job)
        pinned = marks.pinned() if action.role == "train" else None
        request_name = await self._objects.create_request(job, self._request(job), marks)
        plan = ChildPlan(action.role, action.name, request_name, pinned, job.spec.runtime.max_restarts)
        await self._objects.create_job(job, plan)
        await self._objects.mark(marks, {_mark(action.role): None, ANNOTATION_PINNED: None})

    async def _take_away(self, action: StopChild, job: FineTuneJob, reason: StopReason) -> None:
        found = await self._find_unchanged(action, job)
        marks = await self._objects.find_marks(job)
        if not marks.is_there:
            await self._objects.create_request(job, self._request(job), marks)
            marks = await self._objects.find_marks(job)
        notes: dict[str, str | None] = {_mark(action.role): reason.value}
        pinned = None if found is None else await self._pins_of(found, job)
        if pinned is not None:
            notes[ANNOTATION_PINNED] = pinned.to_json()
        await self._objects.mark(marks, notes)
        if found is not None:
            await self._objects.delete_job(job, action.role, found)

    async def _stop_stalled(self, action: StopChild, job: FineTuneJob) -> None:
        """Delete the pods, which counts; a Job whose trainers stall more often than it may restart is taken away for good."""
        found = await self._find_unchanged(action, job)
        if found is None:
            return
        pods = [pod for pod in (await self._objects.find_pods(job))[action.role] if _is_running(pod)]
        known = str(annotations_of(found).get(ANNOTATION_STALLS, "")).split()
        stalled = list(dict.fromkeys([*known, *(pod["metadata"]["uid"] for pod in pods)]))
        if len(stalled) > job.spec.runtime.max_restarts * job.spec.resources.nodes:
            await self._take_away(action, job, StopReason.WATCHDOG)
            return
        notes = {"metadata": {"annotations": {ANNOTATION_STALLS: " ".join(stalled)}}}
        await self._objects.patch_job(job, action.role, found, notes)
        for pod in pods:
            await self._objects.delete_pod(pod, STALL_GRACE_S)

    async def _delete(self, action: DeleteChild, job: FineTuneJob) -> None:
        found = await self._find_unchanged(action, job)
        if found is not None:
            await self._objects.delete_job(job, action.role, found)
        other: Role = "train" if action.role == "check" else "check"
        if await self._objects.find_job(job, other, _name(job, other)) is None:
            await self._objects.delete_requests(job)

    async def _find_unchanged(self, action: StopChild | DeleteChild, job: FineTuneJob) -> Json | None:
        found = await self._objects.find_job(job, action.role, action.name)
        version = "" if found is None else found["metadata"]["resourceVersion"]
        if version != action.resource_version:
            raise Conflict(
                f"{action.name!r} changed since it was looked at (version {version!r}, expected {action.resource_version!r})"
            )
        return found

    async def _pins_of(self, found: Json, job: FineTuneJob) -> Pinned | None:
        template: Json | None = found["spec"].get("template")
        if template is None:
            template = await self._objects.find_runtime_template(job, found["metadata"]["name"])
        env: list[Json] = [] if template is None else template["spec"]["containers"][0].get("env") or []
        text: str | None = next((one["value"] for one in env if one["name"] == PINNED_ENV), None)
        return None if text is None else Pinned.model_validate_json(text)


def _name(job: FineTuneJob, role: Role) -> str:
    return child_name(job.metadata.name, job.metadata.uid, role)


def _absent(job: FineTuneJob, role: Role) -> Child:
    return Child(_name(job, role), Absent())


def _mark(role: Role) -> str:
    return f"{ANNOTATION_STOPPED}-{role}"


def _is_running(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def _is_settled(job: FineTuneJob, now: datetime) -> bool:
    """Say whether nothing of a job's children can matter to this pass."""
    at, conditions = job.status.finished_at, job.status.conditions
    if at is None or job.metadata.deletion_timestamp is not None:
        return False
    if not is_condition(conditions, "Complete") and not is_condition(conditions, "Failed"):
        return False
    age_s = (now - from_rfc3339(at)).total_seconds()
    ttl_s = job.spec.runtime.ttl_seconds_after_finished
    return age_s > SETTLED_AFTER_S and (ttl_s is None or age_s < ttl_s)
