"""InferenceServices, Deployments, routes and Revisions as `observed.Arm` and `observed.Traffic`: what `decide_modelrelease` knows of a cluster.

    strategy        an arm is                              ready                                weight observed in            weights asked for in
    KServeWeights   the predictor, or an entry of canary   its Deployment is rolled out         KServe's two HTTPRoutes       canary[].trafficPercent
    Slots           an InferenceService -a or -b           its Deployment is rolled out         our HTTPRoute                 our HTTPRoute
    Knative         a revision in spec or in the traffic   its Knative Revision says Ready      status…traffic[]              canaryTrafficPercent

An InferenceService routes its first predictor as soon as that is ready, asked or not. Until then nothing is asked for, so that a first
release is made, becomes ready and is then found to have all the traffic, as in every other shell.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from graft_core.clock import from_rfc3339
from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import find_condition, number, part, parts, text
from graft_operator.reconcile.kube.pods import describe_pods
from graft_operator.reconcile.kube.traffic import Split, read_knative, read_route, read_split, to_revisions
from graft_operator.reconcile.kube.view import (
    SLOTS,
    KubeView,
    Place,
    Strategy,
    is_terminating,
    read_revision,
    slot_name,
    version_of,
)
from graft_operator.reconcile.observed import Arm, Traffic

__all__ = ["SPLIT_GRACE_S", "find_places", "observe_arms", "observe_split", "observe_traffic", "observed_weights"]

SPLIT_GRACE_S: Final = 60.0
"""Seconds after which a weight that KServe was asked for and does not put into its route counts as one it never will."""


def find_places(view: KubeView) -> tuple[Place, ...]:
    """List where revisions run; in Knative mode one revision may have several places."""
    match view.strategy:
        case Strategy.WEIGHTS:
            return _weight_places(view.service)
        case Strategy.SLOTS:
            names = [slot_name(view.name, slot) for slot in SLOTS]
            return tuple(_slot_place(view.services[name]) for name in names if name in view.services)
        case Strategy.KNATIVE:
            return _knative_places(view)


def observe_split(view: KubeView) -> Split:
    """Read the traffic in force, by backend."""
    if view.strategy is Strategy.KNATIVE:
        service = view.service
        return Split({} if service is None else read_knative(service), is_acknowledged=True)
    names = [view.name] if view.strategy is Strategy.SLOTS else [view.name, f"{view.name}-predictor"]
    return read_split([view.routes[name] for name in names if name in view.routes])


def observed_weights(view: KubeView) -> dict[str, int]:
    """Percent in force by revision; more than 100 in all while a gateway has not acknowledged a change."""
    places, split = find_places(view), observe_split(view)
    if view.strategy is not Strategy.KNATIVE:
        return to_revisions(split, places, view)
    weights: dict[str, int] = {}
    for place in places:
        weights[place.revision] = weights.get(place.revision, 0) + split.weights.get(place.backend, 0)
    return weights


def observe_arms(view: KubeView, now: datetime) -> tuple[Arm, ...]:
    """Turn places into arms, one a revision."""
    weights = observed_weights(view)
    arms: dict[str, Arm] = {}
    for place in find_places(view):
        message = _obstacle(view, place) or _unsplit(view, place, weights, now)
        old = arms.get(place.revision)
        if old is not None and (old.ready or message):
            continue  # another Knative Revision of the same content: one that can answer is enough
        arms[place.revision] = Arm(
            revision=place.revision,
            digest=view.records.get(place.revision, ""),
            ready=not message and not place.is_terminating,
            weight_observed=min(100, weights.get(place.revision, 0)),
            message="it is being removed" if place.is_terminating else message,
            terminating=place.is_terminating,
            resource_version=place.resource_version,
        )
    return tuple(arms.values())


def observe_traffic(view: KubeView, arms: tuple[Arm, ...]) -> Traffic:
    """Read the split that is asked for."""
    requested = {revision: weight for revision, weight in _requested(view).items() if weight}
    subject = view.routes.get(view.name) if view.strategy is Strategy.SLOTS else view.service
    if view.strategy is not Strategy.SLOTS and not view.stable and not any(arm.ready for arm in arms):
        requested = {}
    return Traffic(requested, version_of(subject))


def _requested(view: KubeView) -> dict[str, int]:
    match view.strategy:
        case Strategy.SLOTS:
            route = view.routes.get(view.name)
            asked = {} if route is None else read_route(route)
            return {place.revision: asked.get(place.backend, 0) for place in find_places(view)}
        case Strategy.WEIGHTS:
            return _requested_of_canaries(view.service)
        case Strategy.KNATIVE:
            return _requested_of_knative(view)


def _requested_of_canaries(service: Json | None) -> dict[str, int]:
    if service is None or is_terminating(service):
        return {}
    canaries = parts(service, "spec", "canary")
    shares = {read_revision(part(one, "predictor")): number(one, "trafficPercent") for one in canaries}
    return {read_revision(part(service, "spec", "predictor")): 100 - sum(shares.values()), **shares}


def _requested_of_knative(view: KubeView) -> dict[str, int]:
    service = view.service
    if service is None or is_terminating(service):
        return {}
    predictor = service["spec"]["predictor"]
    wanted, percent = read_revision(predictor), predictor.get("canaryTrafficPercent")
    rolled = _content(view, text(_predictor_status(service), "latestRolledoutRevision"))
    if percent is None or int(percent) >= 100 or not rolled or rolled == wanted:
        return {wanted: 100}
    return {wanted: int(percent), rolled: 100 - int(percent)}


def _weight_places(service: Json | None) -> tuple[Place, ...]:
    if service is None:
        return ()
    name, version, gone = service["metadata"]["name"], version_of(service), is_terminating(service)
    predictor = part(service, "spec", "predictor")
    own = f"-{predictor['name']}" if predictor.get("name") else ""
    main = Place(read_revision(predictor), "predictor", name, f"{name}{own}-predictor", version, gone)
    canaries = (part(one, "predictor") for one in parts(service, "spec", "canary"))
    return (
        main,
        *(
            Place(read_revision(p), "canary", name, f"{name}-{p.get('name')}-predictor", version, gone)
            for p in canaries
        ),
    )


def _slot_place(service: Json) -> Place:
    name = service["metadata"]["name"]
    revision = read_revision(part(service, "spec", "predictor"))
    return Place(revision, "slot", name, f"{name}-predictor", version_of(service), is_terminating(service))


def _knative_places(view: KubeView) -> tuple[Place, ...]:
    service = view.service
    if service is None:
        return ()
    name, version, gone = service["metadata"]["name"], version_of(service), is_terminating(service)
    wanted = read_revision(part(service, "spec", "predictor"))
    latest = text(_predictor_status(service), "latestCreatedRevision")
    own = Place(wanted, "revision", name, latest if _content(view, latest) == wanted else "", version, gone)
    routed = [backend for backend in read_knative(service) if backend not in {own.backend, ""}]
    # At 100 % the old stable revision leaves the traffic before the status says that it is stable no more: until then it is an arm.
    kept = _kept_stable(view, [wanted, *(_content(view, one) for one in routed)])
    others = (Place(_content(view, backend), "revision", name, backend, version, gone) for backend in [*routed, *kept])
    return (own, *(place for place in others if place.revision))


def _kept_stable(view: KubeView, known: list[str]) -> list[str]:
    if not view.stable or view.stable in known:
        return []
    return sorted(backend for backend in view.revisions if _content(view, backend) == view.stable)[-1:]


def _obstacle(view: KubeView, place: Place) -> str:
    """Say why a place can't answer; empty: it can."""
    if place.kind == "revision":
        return _knative_obstacle(view, place)
    deployment = view.deployments.get(place.backend)
    reason = "KServe has not made its Deployment yet" if deployment is None else _rollout_obstacle(deployment, place)
    if not reason:
        return ""
    return "; ".join(part for part in (reason, describe_pods(view.pods, place.revision)) if part)


def _rollout_obstacle(deployment: Json, place: Place) -> str:
    """Hold a Deployment to its own figures: KServe's conditions stay True during a rolling update."""
    content = read_revision(part(deployment, "spec", "template", "metadata"))
    if content != place.revision:
        return f"its Deployment still has revision {content or 'none'}"
    if number(deployment, "status", "observedGeneration") < number(deployment, "metadata", "generation"):
        return "its Deployment is being rolled out"
    replicas = number(deployment, "spec", "replicas", unset=1)
    # As many as a rolling update keeps: one pod of four that restarts is no outage.
    needed = max(1, replicas - replicas // 4)
    status = part(deployment, "status")
    available = min(number(status, "availableReplicas"), number(status, "updatedReplicas"))
    return "" if available >= needed else f"{available} of {max(1, replicas)} pods are available"


def _knative_obstacle(view: KubeView, place: Place) -> str:
    revision = view.revisions.get(place.backend)
    if revision is None:
        return "Knative has not made its Revision yet"
    ready = find_condition(revision, "Ready")
    if ready.get("status") == "True":
        return ""
    told = f"Knative says {text(ready, 'reason') or 'nothing yet'}"
    return "; ".join(part for part in (told, describe_pods(view.pods, place.revision)) if part)


def _unsplit(view: KubeView, place: Place, weights: Mapping[str, int], now: datetime) -> str:
    """Say that KServe, asked to split traffic, does not: it was taken back below a version that can."""
    candidate = view.release.status.candidate
    if (
        view.strategy is not Strategy.WEIGHTS
        or place.kind != "canary"
        or candidate is None
        or candidate.revision != place.revision
        or candidate.ready_at is None
        or weights.get(place.revision)
        or not _requested_of_canaries(view.service).get(place.revision)
    ):
        return ""
    since = max(from_rfc3339(candidate.ready_at), from_rfc3339(candidate.step_since or candidate.since))
    if (now - since).total_seconds() <= SPLIT_GRACE_S:
        return ""
    return (
        f"TrafficSplitUnsupported: it is ready and KServe was asked to give it traffic, but after {SPLIT_GRACE_S:.0f} s its HTTPRoute "
        "still names the stable predictor alone. Update KServe, or delete this release and apply it again to have it served in two slots"
    )


def _predictor_status(service: Json) -> Json:
    return part(service, "status", "components", "predictor")


def _content(view: KubeView, backend: str) -> str:
    """Return which revision a Knative Revision was made of."""
    found = view.revisions.get(backend)
    return "" if found is None else read_revision(found["metadata"])
