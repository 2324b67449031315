"""The objects of a FineTuneJob's children on the API server: its requests, its Jobs (or TrainJobs) and their pods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.names import ANNOTATION_PINNED, ANNOTATION_STOPPED, LABEL_ROLE, LABEL_UID
from graft_core.contracts.train_request import Pinned, TrainRequest
from graft_core.errors import Conflict, NotReady
from graft_operator.ports import (
    CONFIG_MAPS,
    JOBS,
    PODS,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
    Cluster,
    Json,
    Resource,
)
from graft_operator.reconcile.kube.child import find_controller
from graft_operator.reconcile.kube.pod_reason import find_condition_of
from graft_operator.reconcile.observed import Role
from graft_operator.render.kube.child import ChildPlan
from graft_operator.render.kube.config_map import REQUEST_ROLE, render_request_config_map
from graft_operator.render.kube.job import render_job
from graft_operator.render.kube.pod import PodDefaults
from graft_operator.render.kube.train_job import render_train_job, render_training_runtime

__all__ = ["JobObjects", "Marks", "annotations_of", "is_untouched", "may_have_pods", "resource_of"]

GONE_RETRY_S: Final = 1.0
"""A name that is just being given free is tried again so soon."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What Graft noted on the requests of a job; there may be two of them after an upgrade."""

    requests: Sequence[Json] = ()

    @property
    def is_there(self) -> bool:
        """Say whether there is a request at all."""
        return bool(self.requests)

    def stopped(self, role: Role) -> str:
        """Return why a role's Job was taken away; empty where it was not."""
        return next(
            filter(None, (annotations_of(one).get(f"{ANNOTATION_STOPPED}-{role}") for one in self.requests)), ""
        )

    def pinned(self) -> Pinned | None:
        """Return what the train child was pinned to."""
        found = next(filter(None, (annotations_of(one).get(ANNOTATION_PINNED) for one in self.requests)), None)
        return None if found is None else Pinned.model_validate_json(found)


class JobObjects:
    """Reads and writes them; every verb may be run again after a crash."""

    def __init__(self, cluster: Cluster, defaults: PodDefaults) -> None:
        self._cluster = cluster
        self._defaults = defaults

    async def find_job(self, job: FineTuneJob, role: Role, name: str) -> Json | None:
        """Read a child's Job or TrainJob, whoever made it."""
        return await self._cluster.get(resource_of(job, role), job.metadata.namespace, name)

    async def find_pods(self, job: FineTuneJob) -> dict[str, list[Json]]:
        """List the pods of both children, by role."""
        pods = await self._cluster.list(PODS, job.metadata.namespace, {LABEL_UID: job.metadata.uid})
        return {
            role: [pod for pod in pods if pod["metadata"]["labels"].get(LABEL_ROLE) == role]
            for role in ("check", "train")
        }

    async def find_runtime(self, job: FineTuneJob, name: str) -> Json | None:
        """Read the runtime of a TrainJob of ours."""
        found = await self._cluster.get(TRAINING_RUNTIMES, job.metadata.namespace, name)
        return found if found is not None and _is_ours(found, job) else None

    async def find_runtime_template(self, job: FineTuneJob, name: str) -> Json | None:
        """Read the pod template of a TrainJob of ours."""
        runtime = await self.find_runtime(job, name)
        if runtime is None:
            return None
        (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
        template: Json = replicated["template"]["spec"]["template"]
        return template

    async def find_marks(self, job: FineTuneJob) -> Marks:
        """List the requests of a job."""
        labels = {LABEL_UID: job.metadata.uid, LABEL_ROLE: REQUEST_ROLE}
        found = await self._cluster.list(CONFIG_MAPS, job.metadata.namespace, labels)
        return Marks([one for one in found if _is_ours(one, job)])

    async def find_name_taken(self, job: FineTuneJob, request: TrainRequest) -> str:
        """Say who has the request's name, where that is somebody else."""
        body = render_request_config_map(job, request)
        name = body["metadata"]["name"]
        found = await self._cluster.get(CONFIG_MAPS, job.metadata.namespace, name)
        return "" if found is None or _is_ours(found, job) else f"ConfigMap {name!r}"

    async def create_request(self, job: FineTuneJob, request: TrainRequest, known: Marks) -> str:
        """Make the request, unless it is among the known ones; return its name."""
        body = render_request_config_map(job, request)
        name = str(body["metadata"]["name"])
        if name not in {one["metadata"]["name"] for one in known.requests}:
            await self._create(CONFIG_MAPS, body, job)
        return name

    async def create_job(self, job: FineTuneJob, child: ChildPlan) -> bool:
        """Make a child's Job (TrainJob and its runtime), or find it.

        Args:
            job: The owner.
            child: What it is made from.

        Returns:
            True where it was made; False where it was there.

        Raises:
            NotReady: A Job of ours by that name is being deleted, or is finished and its report lost; it goes first.
        """
        resource = resource_of(job, child.role)
        if resource is TRAIN_JOBS:
            await self._create(TRAINING_RUNTIMES, render_training_runtime(job, child, defaults=self._defaults), job)
            body = render_train_job(job, child)
        else:
            body = render_job(job, child, defaults=self._defaults)
        found = await self._create(resource, body, job)
        if found is None:
            return True
        ended = find_condition_of(found.get("status") or {}, "Complete")
        if ended is not None and ended["status"] == "True":
            await self.delete_job(job, child.role, found)
            raise NotReady(f"{resource.kind} {child.name!r} is made anew", retry_after_s=GONE_RETRY_S)
        return False

    async def patch_job(self, job: FineTuneJob, role: Role, found: Json, patch: Json) -> None:
        """Patch a Job that was read, unless it has changed since."""
        meta = found["metadata"]
        await self._cluster.patch(
            resource_of(job, role), meta["namespace"], meta["name"], patch, resource_version=meta["resourceVersion"]
        )

    async def delete_job(self, job: FineTuneJob, role: Role, found: Json) -> None:
        """Delete a Job that was read, unless it has changed since; its pods end in their own time, and save."""
        meta = found["metadata"]
        await self._cluster.delete(
            resource_of(job, role),
            meta["namespace"],
            meta["name"],
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
        )
        if resource_of(job, role) is TRAIN_JOBS:
            runtime = await self.find_runtime(job, meta["name"])
            if runtime is not None:
                await self._delete(TRAINING_RUNTIMES, runtime)

    async def delete_pod(self, pod: Json, grace_s: int) -> None:
        """Delete one pod; its Job makes another."""
        meta = pod["metadata"]
        await self._cluster.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_s=grace_s)

    async def delete_requests(self, job: FineTuneJob) -> None:
        """Delete the requests of a job."""
        for found in (await self.find_marks(job)).requests:
            await self._delete(CONFIG_MAPS, found)

    async def mark(self, marks: Marks, annotations: dict[str, str | None]) -> None:
        """Note something on the requests; None takes a note away."""
        for found in marks.requests:
            meta, known = found["metadata"], annotations_of(found)
            if any(known.get(name) != value for name, value in annotations.items()):
                patch = {"metadata": {"annotations": annotations}}
                await self._cluster.patch(
                    CONFIG_MAPS, meta["namespace"], meta["name"], patch, resource_version=meta["resourceVersion"]
                )

    async def _create(self, resource: Resource, body: Json, job: FineTuneJob) -> Json | None:
        """Create an object; return the one of ours that is there already."""
        meta = body["metadata"]
        try:
            await self._cluster.create(resource, body)
        except Conflict:
            found = await self._cluster.get(resource, meta["namespace"], meta["name"])
            if found is None or "deletionTimestamp" in found["metadata"]:
                message = f"{resource.kind} {meta['name']!r} is just going; it is made when its name is free"
                raise NotReady(message, retry_after_s=GONE_RETRY_S) from None
            if not _is_ours(found, job):
                raise
            return found
        return None

    async def _delete(self, resource: Resource, found: Json) -> None:
        meta = found["metadata"]
        await self._cluster.delete(resource, meta["namespace"], meta["name"], uid=meta["uid"])


def resource_of(job: FineTuneJob, role: Role) -> Resource:
    """Say what a child is: Kubeflow's TrainJob only where the spec asks for it, and never for a check."""
    return TRAIN_JOBS if role == "train" and job.spec.runtime.engine == "TrainJob" else JOBS


def _is_ours(body: Json, job: FineTuneJob) -> bool:
    owner = find_controller(body)
    return owner is not None and owner.get("uid") == job.metadata.uid


def annotations_of(body: Json) -> dict[str, str]:
    """Return an object's annotations."""
    found: dict[str, str] = body["metadata"].get("annotations") or {}
    return found


def is_untouched(job: FineTuneJob) -> bool:
    """Say whether no pass was ever here: the finalizer, guarded by the version seen here, goes before all that is made."""
    meta = job.metadata
    return (
        not meta.finalizers
        and meta.deletion_timestamp is None
        and job.status.observed_generation == 0
        and not job.status.conditions
    )


def may_have_pods(*jobs: Json | None) -> bool:
    """Say whether there may be pods: not of a Job that no controller has begun with; one that is gone may have left some."""
    found = [job for job in jobs if job is not None]
    return not found or any(job.get("status") for job in found)
