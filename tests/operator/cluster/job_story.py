"""A FineTuneJob on the double of an API server: the pass around the shell, and a Job controller with a kubelet behind it.

Both are doubles. The pass is the smallest one that keeps the engine's promises (finalizer, actions in order, one status write); the
controller makes a pod for each Job that wants one, and the test says how the pod ends.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, FineTuneJob
from graft_core.api.v1alpha1.names import FINALIZER
from graft_core.clock import to_rfc3339
from graft_core.contracts.base import ObjectRef
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.train_report import TrainReport
from graft_core.errors import Conflict, NotReady
from graft_operator.cluster.job_shell import ClusterJobShell
from graft_operator.ports import FINE_TUNE_JOBS, JOBS, PODS, Json
from graft_operator.reconcile.decision import AddFinalizer, FineTuneJobDecision, RemoveFinalizer
from graft_operator.reconcile.observed import Policy
from graft_operator.render.kube.pod import PodDefaults
from tests.builders import BASE_REVISION, NOW, a_dataset_status, a_finetunejob
from tests.fakes.kube import FakeKube

__all__ = ["JobStory", "a_published_report"]

SPEC: dict[str, Any] = {
    "dataset": {"train": ["s3://lake/train.jsonl"]},
    "output": {"uri": "s3://lake/adapters/"},
    "runtime": {"maxRestarts": 2},
}


class StoryClock:
    """A clock that the story sets."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - NOW).total_seconds() + 1000.0


def a_published_report(job: FineTuneJob, **fields: Any) -> TrainReport:
    """Build what a train child says that has published."""
    digest = "sha256:" + "e" * 64
    artifact = ArtifactStatus(
        uri=f"s3://lake/adapters/default/{job.metadata.name}/{'e' * 64}/",
        digest=digest,
        size_bytes=1000,
        base_model=job.spec.model.id,
        base_revision=BASE_REVISION,
    )
    return a_report_of(job, "train", artifact=artifact, metrics={"json_validity": "0.99"}, **fields)


def a_report_of(job: FineTuneJob, role: str, **fields: Any) -> TrainReport:
    meta = job.metadata
    values: dict[str, Any] = {
        "job": ObjectRef(namespace=meta.namespace, name=meta.name, uid=meta.uid),
        "role": role,
        "exit_class": ExitClass.SUCCEEDED,
        "dataset": a_dataset_status(),
        "base_revision": BASE_REVISION,
        **fields,
    }
    return TrainReport.model_validate(values)


@dataclass
class JobStory:
    """One job, its API server, its shell."""

    kube: FakeKube = field(default_factory=FakeKube)
    clock: StoryClock = field(default_factory=StoryClock)
    policy: Policy = field(default_factory=Policy)
    pods_made: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all that a shell holds in memory."""
        defaults = PodDefaults(image="ghcr.io/graft-dev/trainer:0.1.0")
        self.shell = ClusterJobShell(self.kube, self.clock, self.policy, defaults, output_uri="s3://default/")

    def apply(self, spec: dict[str, Any] | None = None) -> None:
        """Apply the job as a user does."""
        job = a_finetunejob({**SPEC, **(spec or {})})
        body = {
            "metadata": {"name": "tune", "namespace": "default"},
            "spec": job.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        self.kube.add(FINE_TUNE_JOBS, body)

    @property
    def job(self) -> FineTuneJob:
        """The job as it is stored."""
        found = self.kube.find(FINE_TUNE_JOBS, "default", "tune")
        assert found is not None
        return FineTuneJob.model_validate(found)

    @property
    def is_gone(self) -> bool:
        """Whether the object is gone."""
        return self.kube.find(FINE_TUNE_JOBS, "default", "tune") is None

    async def run_pass(self) -> FineTuneJobDecision | None:
        """One pass; what it raises, the engine would retry."""
        if self.is_gone:
            return None
        job = self.job
        decision = await self.shell.decide(job, self.clock.now())
        for action in decision.actions:
            match action:
                case AddFinalizer():
                    await self._finalizers([FINALIZER])
                case RemoveFinalizer():
                    await self._finalizers([])
                case _:
                    await self.shell.apply(action, job)
        if decision.status != job.status and not self.is_gone:
            gone: dict[str, Any] = dict.fromkeys(job.status.model_dump(by_alias=True))
            status = gone | decision.status.model_dump(mode="json", by_alias=True, exclude_none=True)
            await self.kube.patch(FINE_TUNE_JOBS, "default", "tune", {"status": status}, subresource="status")
        return decision

    async def settle(self, passes: int = 12) -> FineTuneJobDecision | None:
        """Run passes until one changes nothing."""
        decision: FineTuneJobDecision | None = None
        for _ in range(passes):
            before = len(self.kube.writes)
            try:
                decision = await self.run_pass()
            except (Conflict, NotReady):
                continue
            self.control()
            if len(self.kube.writes) == before:
                return decision
        raise AssertionError(f"{passes} passes, and still writing: {self.kube.writes[-3:]}")

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.time += timedelta(seconds=seconds)
        self.kube.now = to_rfc3339(self.clock.time)

    def kube_job(self, role: str) -> Json | None:
        """Find the Job of a role."""
        return next(
            (one for one in self.kube.all(JOBS) if one["metadata"]["labels"].get("graft.dev/role") == role), None
        )

    def pod(self, role: str) -> Json:
        """Find the newest pod of a role."""
        return [one for one in self.kube.all(PODS) if one["metadata"]["labels"].get("graft.dev/role") == role][-1]

    # -- the Job controller and the kubelet, as doubles

    def control(self) -> None:
        """Make a running pod for each Job that wants one."""
        for job in self.kube.all(JOBS):
            meta = job["metadata"]
            mine = [one for one in self.kube.all(PODS) if one["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]]
            ended = bool((job.get("status") or {}).get("conditions"))
            alive = [one for one in mine if one["status"]["phase"] == "Running"]
            if ended or job["spec"].get("suspend") or alive or "template" not in job["spec"]:
                continue
            self.pods_made += 1
            self.kube.add(
                PODS,
                {
                    "metadata": {
                        "name": f"{meta['name']}-{self.pods_made:03d}",
                        "namespace": meta["namespace"],
                        "labels": job["spec"]["template"]["metadata"]["labels"],
                        "ownerReferences": [
                            {
                                "apiVersion": "batch/v1",
                                "kind": "Job",
                                "name": meta["name"],
                                "uid": meta["uid"],
                                "controller": True,
                            }
                        ],
                    },
                    "spec": job["spec"]["template"]["spec"],
                    "status": {
                        "phase": "Running",
                        "containerStatuses": [{"state": {"running": {"startedAt": to_rfc3339(self.clock.time)}}}],
                    },
                },
            )
            status = {**(job.get("status") or {}), "active": 1}
            self.kube.set_status(JOBS, meta["namespace"], meta["name"], status)

    def end_pod(self, role: str, code: int, report: TrainReport | None = None, *, reason: str = "Error") -> None:
        """Have the running pod of a role end, and its Job follow the failure policy."""
        pod, job = self.pod(role), self.kube_job(role)
        assert job is not None
        ended = {"exitCode": code, "reason": reason, "finishedAt": to_rfc3339(self.clock.time)}
        ended["message"] = "" if report is None else report.to_json()
        phase = "Failed" if code else "Succeeded"
        status = {"phase": phase, "containerStatuses": [{"state": {"terminated": ended}}]}
        self.kube.set_status(PODS, "default", pod["metadata"]["name"], status)
        self._follow(job, code)

    def _follow(self, job: Json, code: int) -> None:
        failed = int((job.get("status") or {}).get("failed", 0))
        final = job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
        conditions: list[Json] = []
        if code == 0:
            conditions = [{"type": "Complete", "status": "True"}]
        elif code in final:
            failed += 1
            conditions = [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}]
        elif code != EXIT_CODES[ExitClass.PREEMPTED]:
            failed += 1
            if failed > job["spec"]["backoffLimit"]:
                conditions = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
        self.kube.set_status(
            JOBS,
            "default",
            job["metadata"]["name"],
            {"failed": failed, **({"conditions": conditions} if conditions else {})},
        )

    async def _finalizers(self, finalizers: list[str]) -> None:
        await self.kube.patch(FINE_TUNE_JOBS, "default", "tune", {"metadata": {"finalizers": finalizers}})
