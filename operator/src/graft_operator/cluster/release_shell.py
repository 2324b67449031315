"""One pass of a ModelRelease on a cluster: observe, decide, apply.

`decide_modelrelease` speaks of arms and weights; `reconcile.kube` says what these are under each strategy and which write an action means;
this module only reads, asks both, and writes. Nothing but `status.trafficStrategy` is remembered beside what the objects themselves say.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.clock import Clock
from graft_core.errors import Conflict, Corrupt
from graft_operator.cluster.figures import Figures
from graft_operator.cluster.release_moves import Mover, Origin, ReleaseDefaults
from graft_operator.cluster.release_probe import Probe
from graft_operator.cluster.release_view import find_foreign, read_job, read_pods, read_services, read_view
from graft_operator.ports import CONFIG_MAPS, Cluster, Json
from graft_operator.reconcile.acceptance import KeptRefusals
from graft_operator.reconcile.cluster_release_support import ON_CLUSTER
from graft_operator.reconcile.decision import (
    CreateArm,
    ModelReleaseAction,
    ModelReleaseDecision,
    RemoveArm,
    SetWeights,
    Upkeep,
)
from graft_operator.reconcile.kube.arms import find_places, observe_arms, observe_traffic
from graft_operator.reconcile.kube.limits import find_limits
from graft_operator.reconcile.kube.parts import text
from graft_operator.reconcile.kube.probe import Probing
from graft_operator.reconcile.kube.records import find_prunable
from graft_operator.reconcile.kube.strategy import plan, settle
from graft_operator.reconcile.kube.target import resolve_cluster_target, secrets_of
from graft_operator.reconcile.kube.view import SLOTS, KubeView, Strategy, slot_name
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.observed import NotYet, ObservedModelRelease, Policy, Target, Wanted
from graft_operator.reconcile.support import Refusal
from graft_operator.render.kube.http_route import host_of
from graft_operator.render.kube.predictor_pod import PodAccess
from graft_operator.render.kube.record import record_name
from graft_operator.render.revision import revision_of

__all__ = ["ClusterReleaseShell"]

SETTLE = "Settle"
PRUNE_RECORD = "PruneRecord"
PROBE_LOOK_S = 2.0


@dataclass
class _Pass:
    """What a pass has in hand between deciding and applying."""

    view: KubeView | None
    services: dict[str, Json]
    origin: Origin


class ClusterReleaseShell:
    """Reads and writes what ModelReleases are about."""

    def __init__(
        self, cluster: Cluster, clock: Clock, policy: Policy, defaults: ReleaseDefaults, figures: Figures
    ) -> None:
        """Keep what is needed.

        Args:
            cluster: The API server.
            clock: Time.
            policy: What the operator allows.
            defaults: What it brings to every release.
            figures: Reads what the arms count.
        """
        self._cluster = cluster
        self._clock = clock
        self._policy = policy
        self._defaults = defaults
        self._figures = figures
        self._mover = Mover(cluster, defaults)
        self._probe = Probe(cluster, defaults.predictor.image)
        self._refusals = KeptRefusals(ON_CLUSTER)
        self._passes: dict[str, _Pass] = {}

    async def decide(self, release: ModelRelease, now: datetime) -> ModelReleaseDecision:
        """Observe one release and decide."""
        services = await read_services(self._cluster, release)
        target, origin = await self._resolve(release)
        strategy = self._known_strategy(release, services)
        foreign = await find_foreign(self._cluster, release, strategy, services)
        observed = ObservedModelRelease(
            release=release,
            target=target,
            foreign=foreign,
            policy=self._policy,
            capabilities=ON_CLUSTER,
            spec_refusals=self._refusals.of(release),
            refusals=self._limits(release, origin, services),
        )
        probing: Probing | None = None
        if strategy is None and _may_begin(observed):
            probing = await self._probe.look(release, services, now)
            strategy = probing.answer
        view = None if strategy is None else await read_view(self._cluster, release, strategy, services)
        seen = self._passes[release.metadata.uid] = _Pass(view, services, origin)
        if view is None:
            message = (
                probing.message if probing is not None else "how traffic is split is found out before anything is made"
            )
            if isinstance(target, Target):
                observed = replace(observed, target=NotYet("TrafficProbe", message))
        else:
            seen.view = view = await self._with_pods(view, now)
            observed = await self._observe(observed, view, now)
        decision = decide_modelrelease(observed, now)
        return self._with_upkeep(decision, release, seen, probing if view is None else None)

    async def apply(self, action: ModelReleaseAction, release: ModelRelease) -> None:
        """Carry one action out, on what the pass that decided it saw.

        Args:
            action: As decided.
            release: The release.

        Raises:
            Conflict: There was no such pass, or what it saw has changed.
        """
        seen = self._passes.get(release.metadata.uid)
        if seen is None:
            raise Conflict(f"{release.metadata.name!r} was not looked at before {type(action).__name__}")
        match action:
            case Upkeep():
                await self._keep_up(action, release, seen)
            case CreateArm() | SetWeights() | RemoveArm():
                if seen.view is None:
                    raise Conflict(f"how traffic of {release.metadata.name!r} is split is not known yet")
                if isinstance(action, CreateArm) and action.target is not None:
                    await self._mover.keep_recipe(seen.view, action.target, seen.origin)
                move = plan(action, seen.view)
                if move is not None:
                    seen.view = await self._mover.carry_out(move, seen.view)
            case _:
                raise Conflict(f"{type(action).__name__} is not this shell's to apply")

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self._passes.pop(uid, None)
        self._refusals.forget(uid)
        self._figures.forget(uid)
        self._probe.forget(uid)

    # -- observing

    async def _resolve(self, release: ModelRelease) -> tuple[Wanted, Origin]:
        job = await read_job(self._cluster, release)
        target = resolve_cluster_target(release.spec, job, self._policy, revision_of)
        adapter, hub = secrets_of(job)
        log = release.spec.request_log
        access = PodAccess(adapter=adapter, hub=hub, request_log=log.secret_ref if log is not None else None)
        return target, Origin(access, rank=job.spec.method.adapter.r if job is not None else 0)

    def _mode(self, release: ModelRelease) -> str:
        return release.spec.deployment_mode or self._defaults.mode

    def _known_strategy(self, release: ModelRelease, services: dict[str, Json]) -> Strategy | None:
        """Return what was found out before, or what the objects that are there were made by."""
        noted = release.status.traffic_strategy
        if noted:
            if noted not in set(Strategy):
                raise Corrupt(f"status.trafficStrategy {noted!r} is not one of {', '.join(Strategy)}")
            return Strategy(noted)
        name = release.metadata.name
        if self._mode(release) == "Knative":
            return Strategy.KNATIVE
        if name in services:
            return Strategy.WEIGHTS
        return Strategy.SLOTS if any(slot_name(name, slot) in services for slot in SLOTS) else None

    def _limits(self, release: ModelRelease, origin: Origin, services: dict[str, Json]) -> tuple[Refusal, ...]:
        is_knative = self._mode(release) == "Knative"
        return find_limits(
            release,
            prometheus_urls=self._defaults.prometheus_urls,
            is_knative=is_knative,
            adapter=origin.access.adapter,
            service=services.get(release.metadata.name),
        )

    async def _with_pods(self, view: KubeView, now: datetime) -> KubeView:
        """Read the pods where somebody will ask for them: to say why an arm is not ready, or to read figures."""
        is_asked = self._figures.is_due(view.release, now) or not all(arm.ready for arm in observe_arms(view, now))
        if not is_asked or not find_places(view):
            return view
        return replace(view, pods=await read_pods(self._cluster, view.release))

    async def _observe(self, observed: ObservedModelRelease, view: KubeView, now: datetime) -> ObservedModelRelease:
        arms = observe_arms(view, now)
        return replace(
            observed,
            arms=arms,
            traffic=observe_traffic(view, arms),
            windows=await self._figures.windows(view, tuple(arm.revision for arm in arms), now),
            known=dict(view.records),
            url=self._url(view),
        )

    def _url(self, view: KubeView) -> str:
        if view.strategy is Strategy.SLOTS:
            # KServe's own URL of a slot leads nowhere.
            gateway = self._defaults.gateway
            return f"{gateway.scheme}://{host_of(view.release, gateway)}" if view.name in view.routes else ""
        return text(view.service, "status", "url")

    # -- beside the decision

    def _with_upkeep(
        self, decision: ModelReleaseDecision, release: ModelRelease, seen: _Pass, probing: Probing | None
    ) -> ModelReleaseDecision:
        if release.metadata.deletion_timestamp is not None:
            return decision
        upkeep = list(self._probe.find_upkeep(release, seen.services, probing))
        status, view = decision.status, seen.view
        if view is not None:
            if status.traffic_strategy != view.strategy.value:
                status = status.model_copy(update={"traffic_strategy": view.strategy.value})
            if settle(view) is not None:
                upkeep.append(Upkeep(SETTLE, view.name))
            upkeep += [Upkeep(PRUNE_RECORD, revision) for revision in find_prunable(view, status)]
        waits = [wait for wait in (decision.look_again_s, PROBE_LOOK_S if probing else None) if wait is not None]
        return replace(
            decision,
            status=status,
            actions=(*decision.actions, *upkeep),
            look_again_s=min(waits, default=None),
        )

    async def _keep_up(self, action: Upkeep, release: ModelRelease, seen: _Pass) -> None:
        match action.task:
            case "MakeProbe":
                await self._probe.make(release)
            case "RemoveProbe":
                await self._probe.remove(release, seen.services)
            case "Settle":
                move = None if seen.view is None else settle(seen.view)
                if move is not None and seen.view is not None:
                    seen.view = await self._mover.carry_out(move, seen.view)
            case "PruneRecord":
                await self._prune(release, action.subject)
            case _:
                raise Conflict(f"{action.task!r} is no upkeep of this shell")

    async def _prune(self, release: ModelRelease, revision: str) -> None:
        namespace, name = release.metadata.namespace, record_name(release, revision)
        record = await self._cluster.get(CONFIG_MAPS, namespace, name)
        if record is not None:
            await self._cluster.delete(CONFIG_MAPS, namespace, name, uid=record["metadata"]["uid"])


def _may_begin(observed: ObservedModelRelease) -> bool:
    """Say whether a release would make its first arm now: nothing is asked of KServe before."""
    release = observed.release
    return (
        isinstance(observed.target, Target)
        and not observed.foreign
        and not observed.refusals
        and release.metadata.deletion_timestamp is None
        and not observed.spec_refusals
    )
