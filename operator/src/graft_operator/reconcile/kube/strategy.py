"""What a decision means under each strategy: an action and the objects as they are seen give at most one write.

    action                 KServeWeights                            Slots                          Knative
    CreateArm, the first   InferenceService                         InferenceService -a            InferenceService, no percent
    CreateArm              canary entry at 0                        the free slot                  template and percent 0 in one write
    SetWeights             the canary's percent                     our HTTPRoute                  the percent
    SetWeights, all 0      InferenceService deleted                 our HTTPRoute deleted          InferenceService deleted
    RemoveArm (candidate)  entry dropped                            slot deleted                   the stable template back, percent 0
    RemoveArm (old stable) the canary becomes the predictor         slot deleted                   (Knative does it at 100 %)

Every write is absolute and its effect is looked for first, so that a pass that died is simply run again. There are two places in each
strategy: where a third revision is wanted, the draining one goes early, at weight 0. Nothing is removed but at a weight of 0 that the
gateway has acknowledged; where it has not, `NotReady` has the pass run again.

Knative keeps only its own memory of the revision before, one deep, and takes a percent below 100 without a new template for a rollback
(`kserve/kserve` ksvc_reconciler.go). So template and percent go together, a split between two wrong revisions is never widened, and once
the stable template is back and ready, `settle` takes the percent away.
"""

from collections.abc import Mapping

from graft_core.errors import NotReady
from graft_operator.ports import Json
from graft_operator.reconcile.decision import CreateArm, RemoveArm, SetWeights
from graft_operator.reconcile.kube.arms import find_places, observe_split, observed_weights
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
from graft_operator.reconcile.kube.parts import number, part, parts, text
from graft_operator.reconcile.kube.traffic import read_route
from graft_operator.reconcile.kube.view import (
    SLOTS,
    KubeView,
    Place,
    Strategy,
    is_terminating,
    read_revision,
    slot_name,
)

__all__ = ["plan", "settle"]

RETRY_S = 1.0
"""Seconds until a gateway or KServe is looked at again that has yet to catch up."""


def plan(action: CreateArm | SetWeights | RemoveArm, view: KubeView) -> Move | None:
    """Plan the write that an action means; NotReady where something must come first that is not ours to do.

    Args:
        action: As decided on this view.
        view: The objects.

    Returns:
        The write; None where it is done already.
    """
    match action:
        case CreateArm(revision=revision):
            return _create(revision, view)
        case SetWeights(weights=weights):
            serving = {revision: weight for revision, weight in weights.items() if weight}
            return _split(serving, view) if serving else _close(view)
        case RemoveArm(revision=revision):
            return _remove(revision, view)


def settle(view: KubeView) -> Move | None:
    """Plan what no decision asks for: in Knative mode, the end of an abort."""
    service = view.service
    if view.strategy is not Strategy.KNATIVE or service is None or is_terminating(service):
        return None
    predictor, status = service["spec"]["predictor"], _knative_status(service)
    percent = predictor.get("canaryTrafficPercent")
    wanted = read_revision(predictor)
    latest = text(status, "latestCreatedRevision")
    is_back = percent is not None and int(percent) < 100 and wanted == view.stable
    if not is_back or status.get("latestReadyRevision") != latest or _content(view, latest) != wanted:
        return None
    return SetPercent(None)


# ---------------------------------------------------------------- CreateArm


def _create(revision: str, view: KubeView) -> Move | None:
    places = find_places(view)
    if any(place.revision == revision and not place.is_terminating for place in places):
        return None
    if view.strategy is Strategy.SLOTS:
        return _fill_slot(revision, view, places)
    service = view.service
    if service is None:
        return CreateService(view.name, revision)
    if is_terminating(service):
        raise NotReady(f"InferenceService {view.name!r} is still being deleted", retry_after_s=RETRY_S)
    if view.strategy is Strategy.KNATIVE:
        return _replace_knative(revision, view)
    if len(places) > 1:
        return _evict(revision, view, places)
    return AddCanary(revision)


def _fill_slot(revision: str, view: KubeView, places: tuple[Place, ...]) -> Move | None:
    taken = {place.service for place in places}
    free = [name for name in (slot_name(view.name, slot) for slot in SLOTS) if name not in taken]
    return CreateService(free[0], revision) if free else _evict(revision, view, places)


def _replace_knative(revision: str, view: KubeView) -> Move | None:
    """Replace the template while all traffic is on the stable revision; never a canary on a canary."""
    if revision == view.stable:  # a person took it away: back with it, whatever serves in the meantime
        return ReplaceTemplate(revision, None)
    weights = observed_weights(view)
    wanted = read_revision(_need(view)["spec"]["predictor"])
    if wanted not in {view.stable, revision} and weights.get(wanted, 0):
        raise NotReady(f"revision {wanted} still has {weights[wanted]} % of the traffic", retry_after_s=RETRY_S)
    if not view.stable:
        return ReplaceTemplate(revision, None)
    if weights.get(view.stable, 0) != 100:
        raise NotReady(f"stable revision {view.stable} does not have all traffic yet", retry_after_s=RETRY_S)
    return ReplaceTemplate(revision, 0)


def _evict(revision: str, view: KubeView, places: tuple[Place, ...]) -> Move | None:
    """Take the arm away that nobody needs; the next pass finds its place free."""
    unused = [place for place in places if place.revision not in {revision, view.stable} and not place.is_terminating]
    for place in unused:
        if _is_unused(place, view):
            return _remove(place.revision, view)
    raise NotReady("an earlier arm must leave first: both places are taken", retry_after_s=RETRY_S)


# ---------------------------------------------------------------- SetWeights


def _split(serving: Mapping[str, int], view: KubeView) -> Move | None:
    places = {place.revision: place for place in find_places(view) if not place.is_terminating}
    missing = sorted(serving.keys() - places.keys())
    if missing:
        raise NotReady(f"revision {', '.join(missing)} is not there to be given traffic", retry_after_s=RETRY_S)
    match view.strategy:
        case Strategy.SLOTS:
            weights = {places[revision].backend: weight for revision, weight in serving.items()}
            route = view.routes.get(view.name)
            return None if route is not None and read_route(route) == weights else SplitRoute(weights)
        case Strategy.WEIGHTS:
            shares = {p.revision: serving.get(p.revision, 0) for p in places.values() if p.kind == "canary"}
            canaries = parts(_need(view), "spec", "canary")
            found = {read_revision(part(one, "predictor")): number(one, "trafficPercent") for one in canaries}
            return None if found == shares else SetCanaryShares(shares)
        case Strategy.KNATIVE:
            return _split_knative(serving, view)


def _split_knative(serving: Mapping[str, int], view: KubeView) -> Move | None:
    predictor, status = _need(view)["spec"]["predictor"], _knative_status(_need(view))
    wanted, percent = read_revision(predictor), predictor.get("canaryTrafficPercent")
    has = 100 if percent is None else int(percent)
    asks = serving.get(wanted, 0)
    if asks == has:
        return None
    rolled = _content(view, text(status, "latestRolledoutRevision"))
    others = serving.keys() - {wanted}
    if others and rolled not in others:
        # KServe would send the rest to another revision than the one that is meant: bring that one back as the template.
        return ReplaceTemplate(next(iter(others)), 0)
    return SetPercent(asks)


def _close(view: KubeView) -> Move | None:
    """Nobody is to answer: the one InferenceService's route goes with it, ours goes alone."""
    if view.strategy is Strategy.SLOTS:
        return DeleteRoute() if view.name in view.routes else None
    service = view.service
    return None if service is None or is_terminating(service) else DeleteService(view.name)


# ---------------------------------------------------------------- RemoveArm


def _remove(revision: str, view: KubeView) -> Move | None:
    places = [p for p in find_places(view) if p.revision == revision and not p.is_terminating]
    if not places:
        return None
    place = places[0]
    for one in places:
        if not _is_unused(one, view):
            raise NotReady(
                f"revision {revision} is not removed: the gateway has not acknowledged that it has no traffic",
                retry_after_s=RETRY_S,
            )
    match view.strategy:
        case Strategy.SLOTS:
            return DeleteService(place.service)
        case Strategy.WEIGHTS:
            return _remove_weighted(place, view)
        case Strategy.KNATIVE:
            return _remove_knative(revision, view)


def _remove_weighted(place: Place, view: KubeView) -> Move:
    if place.kind == "canary":
        return RemoveCanary(place.revision)
    weights = observed_weights(view)
    heirs = [p for p in find_places(view) if p.kind == "canary"]
    if not heirs:
        return DeleteService(view.name)
    heir = max(heirs, key=lambda p: weights.get(p.revision, 0))
    if weights.get(heir.revision, 0) == 0:
        raise NotReady(f"no canary has the traffic that revision {place.revision} gave up", retry_after_s=RETRY_S)
    return PromoteCanary(heir.revision)


def _remove_knative(revision: str, view: KubeView) -> Move | None:
    if read_revision(_need(view)["spec"]["predictor"]) != revision:
        return None  # Knative itself removes what has no traffic and is not the template
    return ReplaceTemplate(view.stable, 0) if view.stable and view.stable != revision else DeleteService(view.name)


def _is_unused(place: Place, view: KubeView) -> bool:
    split = observe_split(view)
    if not split.is_there:
        return True
    return split.is_acknowledged and not split.weights.get(place.backend, 0)


def _need(view: KubeView) -> Json:
    service = view.service
    if service is None:
        raise NotReady(f"there is no InferenceService {view.name!r} yet", retry_after_s=RETRY_S)
    return service


def _knative_status(service: Json) -> Json:
    return part(service, "status", "components", "predictor")


def _content(view: KubeView, backend: str) -> str:
    found = view.revisions.get(backend)
    return "" if found is None else read_revision(found["metadata"])
