"""One pass of a ModelRelease in the local shell: observe, decide, apply."""

from datetime import datetime

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_core.clock import Clock
from graft_core.errors import NotSupported
from graft_operator.local.arms import ArmRecord, Arms
from graft_operator.local.artifacts import Artifacts
from graft_operator.local.documents import ObjectKey
from graft_operator.local.gateway import Gateway, Split
from graft_operator.local.metrics import ArmSource, Metrics
from graft_operator.local.objects import ObjectStore
from graft_operator.reconcile.acceptance import KeptRefusals
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateArm,
    ModelReleaseAction,
    ModelReleaseDecision,
    RemoveArm,
    RemoveFinalizer,
    SetWeights,
    Upkeep,
)
from graft_operator.reconcile.figures import wanted_since
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.observed import Arm, ArtifactAbsent, ObservedModelRelease, Policy, Wanted, Window
from graft_operator.reconcile.support import LOCAL_SHELL
from graft_operator.reconcile.target import check_job, resolve_target
from graft_operator.render.predictor_config import render_arm
from graft_operator.render.revision import revision_of

__all__ = ["ReleaseShell"]


class ReleaseShell:
    """Reads and writes what ModelReleases are about."""

    def __init__(
        self,
        store: ObjectStore,
        arms: Arms,
        gateway: Gateway,
        metrics: Metrics,
        artifacts: Artifacts,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._store = store
        self._arms = arms
        self._gateway = gateway
        self._metrics = metrics
        self._artifacts = artifacts
        self._clock = clock
        self._policy = policy
        self._refusals = KeptRefusals(LOCAL_SHELL)

    async def decide(self, release: ModelRelease, now: datetime) -> ModelReleaseDecision:
        """Observe one release and decide."""
        meta = release.metadata
        target = await self._resolve(release)
        if meta.deletion_timestamp is None:
            self._gateway.declare(meta.uid, _split_of(release))
        await self._gateway.sync()
        observed = ObservedModelRelease(
            release=release,
            target=target,
            arms=tuple(self._arm(record, release) for record in self._arms.of(meta.uid)),
            traffic=self._gateway.traffic(meta.uid),
            windows=await self._windows(release),
            known=self._arms.known(meta.uid),
            url=f"{self._gateway.url}/{meta.namespace}/{meta.name}",
            policy=self._policy,
            spec_refusals=self._refusals.of(release),
        )
        return decide_modelrelease(observed, now)

    async def apply(self, action: ModelReleaseAction, key: ObjectKey, release: ModelRelease) -> None:
        """Carry one action out."""
        uid = release.metadata.uid
        match action:
            case AddFinalizer():
                self._store.add_finalizer(key, uid)
            case RemoveFinalizer():
                if not self._arms.of(uid):  # with arms left, deletionPolicy is Orphan: the service stays
                    await self._gateway.forget(uid)
                self._store.remove_finalizer(key, uid)
            case CreateArm(revision=revision, target=target):
                recipe = (
                    None
                    if target is None
                    else render_arm(release, revision=revision, uri=target.uri, digest=target.digest)
                )
                self._arms.create(uid, f"{key.namespace}/{key.name}", revision, recipe)
            case SetWeights(weights=weights, resource_version=version):
                await self._take_over(uid, key)
                await self._gateway.set_weights(uid, weights, version)
            case RemoveArm(revision=revision, resource_version=version):
                self._arms.remove(uid, revision, version)
            case Upkeep():
                raise NotSupported(f"there is no upkeep {action.task!r} without a cluster")

    async def scrape(self, release: ModelRelease, now: datetime) -> bool:
        """Read the arms' figures where a verdict may need them; says whether it did."""
        if wanted_since(release, now) is None:
            return False
        sources = [
            ArmSource(a.revision, a.attempt, a.port)
            for a in self._arms.of(release.metadata.uid)
            if a.phase == "running"
        ]
        await self._metrics.scrape(release.metadata.uid, sources)
        return True

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self._metrics.forget(uid)
        self._refusals.forget(uid)
        if not self._arms.of(uid):
            self._arms.forget_release(uid)

    async def _resolve(self, release: ModelRelease) -> Wanted:
        model, namespace = release.spec.model, release.metadata.namespace
        job = self._job(namespace, model.fine_tune_job_ref.name) if model.fine_tune_job_ref is not None else None
        uri = model.adapter.uri if model.adapter is not None else None
        if job is not None and check_job(job.metadata.name, job) is None and job.status.artifact is not None:
            uri = job.status.artifact.uri
        artifact = ArtifactAbsent(self._clock.now()) if uri is None else await self._artifacts.at(uri)
        return resolve_target(release.spec, job, artifact, self._policy, revision_of)

    def _job(self, namespace: str, name: str) -> FineTuneJob | None:
        body = self._store.find(ObjectKey(KIND_FINETUNEJOB, namespace, name))
        return None if body is None else FineTuneJob.model_validate(body)

    def _arm(self, record: ArmRecord, release: ModelRelease) -> Arm:
        namespace, name = release.metadata.namespace, release.metadata.name
        reason = self._arms.unready_reason(record) if record.phase == "running" else "it is being started again"
        if record.phase == "stopping":
            reason = "it is being stopped"
        elif record.phase == "waiting":
            reason = self._arms.unready_reason(record)
        elif not reason and not self._gateway.is_healthy(namespace, name, record.revision):
            reason = "the gateway's health check has not seen it ready yet"
            self._gateway.look_closely()
        return Arm(
            revision=record.revision,
            digest=record.digest,
            ready=not reason,
            weight_observed=self._gateway.observed(namespace, name).get(record.revision, 0),
            message=reason,
            terminating=record.phase == "stopping",
            resource_version=str(record.version),
        )

    async def _windows(self, release: ModelRelease) -> dict[str, Window]:
        uid = release.metadata.uid
        since = wanted_since(release, self._clock.now())
        if since is None:
            return {}
        records = self._arms.of(uid)
        if any(not self._metrics.has_window(uid, r.revision, since) for r in records):
            await self.scrape(release, self._clock.now())
        found = {r.revision: self._metrics.window(uid, r.revision, since) for r in records}
        return {revision: window for revision, window in found.items() if window is not None}

    async def _take_over(self, uid: str, key: ObjectKey) -> None:
        """End what a deleted release of this name left behind."""
        for other in self._gateway.others_named(uid, key.namespace, key.name):
            await self._gateway.forget(other)
            for arm in self._arms.of(other):
                self._arms.remove(other, arm.revision, str(arm.version))


def _split_of(release: ModelRelease) -> Split:
    spec, status = release.spec, release.status
    return Split(
        namespace=release.metadata.namespace,
        name=release.metadata.name,
        stable=status.stable.revision if status.stable is not None else "",
        sticky_header=spec.rollout.sticky_header or "",
        timeout_s=spec.predictor.timeout_seconds,
    )
