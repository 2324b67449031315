"""Carrying out the moves of `reconcile.kube`: each is one guarded write, after the recipe it rests on was written."""

from dataclasses import dataclass, field, replace
from typing import Literal

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.errors import Conflict, Corrupt
from graft_operator.ports import CONFIG_MAPS, HTTP_ROUTES, INFERENCE_SERVICES, Cluster, Json, Resource
from graft_operator.reconcile.kube.moves import (
    AddCanary,
    CreateService,
    DeleteRoute,
    DeleteService,
    Move,
    PromoteCanary,
    RemoveCanary,
    ReplaceTemplate,
    SetCanaryShares,
    SetPercent,
    SplitRoute,
)
from graft_operator.reconcile.kube.parts import number, part, parts
from graft_operator.reconcile.kube.view import KubeView, Strategy, is_owned, predictor_name, read_revision, version_of
from graft_operator.reconcile.observed import Target
from graft_operator.render.kube.engine_server import BaseModel
from graft_operator.render.kube.http_route import GatewayDefaults, render_route
from graft_operator.render.kube.inference_service import (
    merge_diff,
    render_canary,
    render_promoted,
    render_service,
    render_template,
    render_without_canary,
)
from graft_operator.render.kube.predictor_pod import ArmModel, PodAccess, PredictorDefaults
from graft_operator.render.kube.record import Recipe, read_recipe, record_name, render_record

__all__ = ["Mover", "Origin", "ReleaseDefaults"]


@dataclass(frozen=True, slots=True)
class ReleaseDefaults:
    """What the operator brings to every release; read from its settings once."""

    predictor: PredictorDefaults
    gateway: GatewayDefaults = field(default_factory=GatewayDefaults)
    mode: Literal["Standard", "Knative"] = "Standard"
    """Deployment mode of releases that do not say."""
    prometheus_urls: frozenset[str] = frozenset()
    """Prometheus servers that a release may name; the operator asks no others, whatever a user writes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What an arm's pod must know of the job that published its adapter."""

    access: PodAccess
    rank: int
    """Of the adapter."""


class Mover:
    """Writes what moves say."""

    def __init__(self, cluster: Cluster, defaults: ReleaseDefaults) -> None:
        self._cluster = cluster
        self._defaults = defaults

    async def keep_recipe(self, view: KubeView, target: Target, origin: Origin) -> None:
        """Write the recipe of a revision ahead of its arm; one that is kept stays as it is. Conflict: its name is somebody else's."""
        release = view.release
        if target.revision in view.records:
            return
        base = BaseModel(target.base_model, target.base_revision, origin.rank)
        body = render_record(
            release,
            ArmModel(target.revision, target.uri, target.digest, base),
            access=origin.access,
            defaults=self._defaults.predictor,
            is_knative=view.strategy is Strategy.KNATIVE,
        )
        await self._create(CONFIG_MAPS, body, release)

    async def carry_out(self, move: Move, view: KubeView) -> KubeView:
        """Carry one move out.

        Args:
            move: As planned on the view.
            view: What the plan was made on; writes are refused where it has changed since.

        Returns:
            The view with what was written.
        """
        match move:
            case CreateService(name=name, revision=revision):
                recipe = await self._recipe(view, revision)
                return _with_service(view, name, await self._create_service(view, name, recipe))
            case DeleteService(name=name):
                return await self._delete_service(view, name)
            case SplitRoute() | DeleteRoute():
                return await self._change_route(view, move)
            case _:
                service = _need(view)
                patch = await self._patch_of(move, view, service)
                return _with_service(view, view.name, await self._patch(view, service, patch))

    async def _patch_of(self, move: Move, view: KubeView, service: Json) -> Json:
        match move:
            case AddCanary(revision=revision):
                stable = await self._recipe_of_predictor(view, service)
                recipe = await self._recipe(view, revision)
                return render_canary(service, recipe, stable, predictor_name(revision))
            case SetCanaryShares(shares=shares):
                canaries = [
                    {**one, "trafficPercent": shares.get(read_revision(one["predictor"]), 0)}
                    for one in parts(service, "spec", "canary")
                ]
                return {"spec": {"canary": canaries}}
            case RemoveCanary():
                return render_without_canary(service, await self._recipe_of_predictor(view, service))
            case PromoteCanary(revision=revision):
                return render_promoted(service, predictor_name(revision), await self._recipe(view, revision))
            case ReplaceTemplate(revision=revision, percent=percent):
                return render_template(service, await self._recipe(view, revision), percent)
            case SetPercent(percent=percent):
                return {"spec": {"predictor": {"canaryTrafficPercent": percent}}}
            case _:
                raise Corrupt(f"{type(move).__name__} is no change of an InferenceService")

    async def _create_service(self, view: KubeView, name: str, recipe: Recipe) -> Json:
        is_weights = view.strategy is Strategy.WEIGHTS
        body = render_service(
            view.release,
            name,
            recipe,
            mode="Knative" if view.strategy is Strategy.KNATIVE else "Standard",
            predictor=predictor_name(recipe.revision) if is_weights else None,
            is_local=view.strategy is Strategy.SLOTS,
        )
        return await self._create(INFERENCE_SERVICES, body, view.release)

    async def _delete_service(self, view: KubeView, name: str) -> KubeView:
        service, meta = view.services[name], view.release.metadata
        await self._cluster.delete(
            INFERENCE_SERVICES,
            meta.namespace,
            name,
            uid=service["metadata"]["uid"],
            resource_version=version_of(service),
        )
        return _with_service(view, name, None)

    async def _change_route(self, view: KubeView, move: SplitRoute | DeleteRoute) -> KubeView:
        release, route = view.release, view.routes.get(view.name)
        namespace = release.metadata.namespace
        if isinstance(move, DeleteRoute):
            if route is not None:
                version, uid = version_of(route), route["metadata"]["uid"]
                await self._cluster.delete(HTTP_ROUTES, namespace, view.name, uid=uid, resource_version=version)
            return _with_route(view, None)
        wanted = render_route(release, move.weights, self._defaults.gateway)
        if route is None:
            return _with_route(view, await self._create(HTTP_ROUTES, wanted, release))
        patch = {"spec": merge_diff(route["spec"], wanted["spec"])}
        changed = await self._cluster.patch(
            HTTP_ROUTES, namespace, view.name, patch, resource_version=version_of(route)
        )
        return _with_route(view, changed)

    async def _patch(self, view: KubeView, service: Json, patch: Json) -> Json:
        namespace = view.release.metadata.namespace
        return await self._cluster.patch(
            INFERENCE_SERVICES, namespace, view.name, patch, resource_version=version_of(service)
        )

    async def _create(self, resource: Resource, body: Json, release: ModelRelease) -> Json:
        """Create an object; one of this name that is ours was made by a pass that died."""
        try:
            return await self._cluster.create(resource, body)
        except Conflict:
            found = await self._cluster.get(resource, release.metadata.namespace, body["metadata"]["name"])
            if found is None or not is_owned(found, release):
                raise
            return found

    async def _recipe(self, view: KubeView, revision: str) -> Recipe:
        release = view.release
        name = record_name(release, revision)
        body = await self._cluster.get(CONFIG_MAPS, release.metadata.namespace, name)
        if body is None or not is_owned(body, release):
            raise Conflict(f"ConfigMap {name!r} is not there: nothing is kept of revision {revision}")
        return read_recipe(body)

    async def _recipe_of_predictor(self, view: KubeView, service: Json) -> Recipe:
        """Return what the predictor is made of; where its record was taken away, by what it says itself."""
        predictor = part(service, "spec", "predictor")
        revision = read_revision(predictor)
        if revision in view.records:
            return await self._recipe(view, revision)
        least = number(predictor, "minReplicas", unset=1)
        most = number(predictor, "maxReplicas", unset=least)
        return Recipe(revision=revision, digest="", predictor={}, min_replicas=least, max_replicas=max(least, most))


def _need(view: KubeView) -> Json:
    service = view.service
    if service is None:
        raise Conflict(f"InferenceService {view.name!r} is gone")
    return service


def _with_service(view: KubeView, name: str, service: Json | None) -> KubeView:
    services = {key: body for key, body in view.services.items() if key != name}
    return replace(view, services=services if service is None else {**services, name: service})


def _with_route(view: KubeView, route: Json | None) -> KubeView:
    routes = {key: body for key, body in view.routes.items() if key != view.name}
    return replace(view, routes=routes if route is None else {**routes, view.name: route})
