"""Reading all that a pass over a ModelRelease looks at; a handful of calls, none of them to an object store or a Secret."""

from collections.abc import Iterable

from pydantic import ValidationError

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import LABEL_REVISION, LABEL_ROLE, LABEL_UID
from graft_core.telemetry.logs import get_log
from graft_operator.ports import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    FINE_TUNE_JOBS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    KNATIVE_REVISIONS,
    PODS,
    Cluster,
    Json,
    Resource,
)
from graft_operator.reconcile.kube.parts import parts
from graft_operator.reconcile.kube.target import find_job
from graft_operator.reconcile.kube.view import SLOTS, KubeView, Strategy, is_owned, slot_name
from graft_operator.render.kube.record import RECORD_ROLE, read_recipe

__all__ = ["SERVICE_LABEL", "find_foreign", "read_job", "read_pods", "read_services", "read_view"]

_LOG = get_log(__name__)

SERVICE_LABEL = "serving.kserve.io/inferenceservice"
"""KServe's label on everything it makes for a service."""


async def read_services(cluster: Cluster, release: ModelRelease) -> dict[str, Json]:
    """Read the InferenceServices that this release owns, by name; its probe among them."""
    meta = release.metadata
    found = await cluster.list(INFERENCE_SERVICES, meta.namespace, {LABEL_UID: meta.uid})
    return {body["metadata"]["name"]: body for body in found if is_owned(body, release)}


async def read_view(cluster: Cluster, release: ModelRelease, strategy: Strategy, services: dict[str, Json]) -> KubeView:
    """Read everything but the pods, which only an arm that is not ready, or a scrape, asks for."""
    meta = release.metadata
    names = [slot_name(meta.name, slot) for slot in SLOTS] if strategy is Strategy.SLOTS else [meta.name]
    own = {name: services[name] for name in names if name in services}
    labels = [{SERVICE_LABEL: name} for name in own]
    is_knative = strategy is Strategy.KNATIVE
    route_names = {Strategy.SLOTS: [meta.name], Strategy.WEIGHTS: [meta.name, f"{meta.name}-predictor"]}
    routes = [await cluster.get(HTTP_ROUTES, meta.namespace, name) for name in route_names.get(strategy, [])]
    return KubeView(
        release=release,
        strategy=strategy,
        services=own,
        deployments={} if is_knative else await _list_by_name(cluster, DEPLOYMENTS, meta.namespace, labels),
        routes={
            body["metadata"]["name"]: body
            for body in routes
            # A route of our name that is somebody else's is told as such, never read as ours.
            if body is not None and (strategy is Strategy.WEIGHTS or is_owned(body, release))
        },
        revisions=await _list_by_name(cluster, KNATIVE_REVISIONS, meta.namespace, labels) if is_knative else {},
        records=await _read_records(cluster, release),
    )


async def read_pods(cluster: Cluster, release: ModelRelease) -> tuple[Json, ...]:
    """Read the release's pods."""
    return tuple(await cluster.list(PODS, release.metadata.namespace, {LABEL_UID: release.metadata.uid}))


async def read_job(cluster: Cluster, release: ModelRelease) -> FineTuneJob | None:
    """Read the job that published what the release wants: by name, or, for an adapter, the one with its digest."""
    ref, namespace = release.spec.model.fine_tune_job_ref, release.metadata.namespace
    if ref is not None:
        body = await cluster.get(FINE_TUNE_JOBS, namespace, ref.name)
        bodies = [] if body is None else [body]
    else:
        bodies = await cluster.list(FINE_TUNE_JOBS, namespace, {})
    jobs = [_read_job(body) for body in bodies]
    return find_job(release.spec, (job for job in jobs if job is not None))


def _read_job(body: Json) -> FineTuneJob | None:
    """Read a job; one that this version can't read has published nothing that it knows of."""
    try:
        return FineTuneJob.model_validate(body)
    except ValidationError:
        _LOG.warning("job_unreadable", namespace=body["metadata"]["namespace"], job=body["metadata"]["name"])
        return None


async def find_foreign(
    cluster: Cluster, release: ModelRelease, strategy: Strategy | None, services: dict[str, Json]
) -> str:
    """Say who holds a name that this release needs; empty: nobody.

    Asked only while nothing serves: afterwards the names are ours.
    """
    meta = release.metadata
    if release.status.stable is not None:
        return ""
    needed: list[tuple[Resource, str]] = []
    if strategy is not Strategy.SLOTS:
        needed.append((INFERENCE_SERVICES, meta.name))
    if strategy in {None, Strategy.SLOTS}:
        needed += [*((INFERENCE_SERVICES, slot_name(meta.name, slot)) for slot in SLOTS), (HTTP_ROUTES, meta.name)]
    for resource, name in needed:
        if resource == INFERENCE_SERVICES and name in services:
            continue
        body = await cluster.get(resource, meta.namespace, name)
        if body is not None and not is_owned(body, release):
            return _owner_of(body)
    return ""


async def _read_records(cluster: Cluster, release: ModelRelease) -> dict[str, str]:
    meta = release.metadata
    found = await cluster.list(CONFIG_MAPS, meta.namespace, {LABEL_UID: meta.uid, LABEL_ROLE: RECORD_ROLE})
    own = sorted((body for body in found if is_owned(body, release)), key=_age)
    return {body["metadata"]["labels"][LABEL_REVISION]: read_recipe(body).digest for body in own}


def _age(body: Json) -> tuple[str, str]:
    meta = body["metadata"]
    return str(meta.get("creationTimestamp", "")), str(meta["name"])


async def _list_by_name(
    cluster: Cluster, resource: Resource, namespace: str, selectors: Iterable[dict[str, str]]
) -> dict[str, Json]:
    found = [body for labels in selectors for body in await cluster.list(resource, namespace, labels)]
    return {body["metadata"]["name"]: body for body in found}


def _owner_of(body: Json) -> str:
    owners = parts(body, "metadata", "ownerReferences")
    owner = next((one for one in owners if one.get("controller")), None)
    what = f"{body.get('kind', 'object')} {body['metadata']['name']!r}"
    return f"{owner['kind']} {owner['name']!r} ({what})" if owner else f"nobody of Graft's ({what})"
