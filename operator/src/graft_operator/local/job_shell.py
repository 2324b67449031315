"""One pass of a FineTuneJob in the local shell: observe, decide, apply."""

from datetime import datetime

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.clock import Clock
from graft_core.telemetry.tracing import current_traceparent
from graft_operator.local.artifacts import Artifacts
from graft_operator.local.children import Children
from graft_operator.local.documents import ObjectKey
from graft_operator.local.objects import ObjectStore
from graft_operator.local.progress import last_progress
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateChild,
    DeleteChild,
    FineTuneJobAction,
    FineTuneJobDecision,
    RemoveFinalizer,
    ResumeChild,
    StopChild,
)
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.observed import ObservedFineTuneJob, Policy, Succeeded
from graft_operator.render.names import child_name
from graft_operator.render.train_request import output_prefix, render_train_request

__all__ = ["JobShell"]


class JobShell:
    """Reads and writes what FineTuneJobs are about."""

    def __init__(
        self,
        store: ObjectStore,
        children: Children,
        artifacts: Artifacts,
        clock: Clock,
        policy: Policy,
        output_uri: str,
    ) -> None:
        self._store = store
        self._children = children
        self._artifacts = artifacts
        self._clock = clock
        self._policy = policy
        self._output_uri = output_uri
        self._progress: dict[str, tuple[int, float]] = {}
        """Size of progress.jsonl and when it had just grown to it, by uid."""

    async def decide(self, job: FineTuneJob, now: datetime) -> FineTuneJobDecision:
        """Observe one job and decide."""
        meta = job.metadata
        check = self._children.observe(child_name(meta.name, meta.uid, "check"), meta.uid, "check")
        train = self._children.observe(child_name(meta.name, meta.uid, "train"), meta.uid, "train")
        artifact = await self._artifacts.of_job(
            output_prefix(job, self._output_uri), meta.uid, is_fresh=isinstance(train.state, Succeeded)
        )
        folder = self._children.folder(meta.uid, "train")
        age = self._progress_age_s(meta.uid)
        observed = ObservedFineTuneJob(
            job=job,
            check=check,
            train=train,
            artifact=artifact,
            progress=last_progress(folder),
            progress_age_s=age,
            policy=self._policy,
        )
        return decide_finetunejob(observed, now)

    async def apply(self, action: FineTuneJobAction, key: ObjectKey, job: FineTuneJob) -> None:
        """Carry one action out."""
        match action:
            case AddFinalizer():
                self._store.add_finalizer(key, job.metadata.uid)
            case RemoveFinalizer():
                self._store.remove_finalizer(key, job.metadata.uid)
            case CreateChild():
                request = render_train_request(
                    job, pinned=action.pinned, default_output_uri=self._output_uri, traceparent=current_traceparent()
                )
                self._children.create(action, job, request)
            case ResumeChild():
                self._children.resume(action)
            case StopChild():
                self._children.stop(action)
            case DeleteChild():
                self._children.delete(action)

    def look_at_progress(self) -> list[str]:
        """Return the uids of running jobs whose trainer has written since the last look."""
        grown: list[str] = []
        running = [r for r in self._children.running() if r.role == "train"]
        for record in running:
            path = self._children.folder(record.uid, "train") / "progress.jsonl"
            size = path.stat().st_size if path.exists() else 0
            if self._progress.get(record.uid, (-1, 0.0))[0] != size:
                self._progress[record.uid] = (size, self._clock.monotonic())
                grown.append(record.uid)
        return grown

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        self._progress.pop(uid, None)
        self._children.forget_job(uid)
        self._artifacts.forget(uid)

    def _progress_age_s(self, uid: str) -> float | None:
        seen = self._progress.get(uid)
        # A trainer found again after a restart of `graft up` counts from that moment: it was not watched in between.
        return None if seen is None or seen[0] == 0 else self._clock.monotonic() - seen[1]
