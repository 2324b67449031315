"""Traffic as the cluster serves it: weights of HTTPRoutes and of Knative's status. Only what a gateway acknowledged counts as observed.

A route counts once every parent says Accepted and ResolvedRefs at the route's own generation. While it does not, the gateway may still
serve what it had before or already serve what is written: an arm then counts with the larger of what the status noted and what the route
says. These sum to more than 100, so no step begins and no arm is taken for unused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import number, parts, text
from graft_operator.reconcile.kube.view import KubeView, Place

__all__ = ["Split", "is_acknowledged", "read_knative", "read_route", "read_split", "to_revisions"]


@dataclass(frozen=True, slots=True)
class Split:
    """Percent by backend."""

    weights: Mapping[str, int]
    is_acknowledged: bool
    is_there: bool = True
    """False: there is no route at all."""


def read_split(routes: Sequence[Json]) -> Split:
    """Read one split out of the routes that lead to a service; where they differ, a backend counts with its largest share.

    Args:
        routes: KServe makes two, the one for the service and the one for its predictor.

    Returns:
        The split; nothing, and acknowledged, where there are no routes.
    """
    weights: dict[str, int] = {}
    for route in routes:
        for backend, percent in read_route(route).items():
            weights[backend] = max(percent, weights.get(backend, 0))
    return Split(weights, all(is_acknowledged(route) for route in routes), is_there=bool(routes))


def read_route(route: Json) -> dict[str, int]:
    """Read percent by Service; a rule's weights are relative, and unset means 1."""
    found: dict[str, int] = {}
    for rule in parts(route, "spec", "rules"):
        refs = parts(rule, "backendRefs")
        total = sum(_weight(ref) for ref in refs)
        for ref in refs:
            percent = round(_weight(ref) * 100 / total) if total else 0
            # A share too small for a percent is still a share.
            percent = max(percent, 1 if _weight(ref) else 0)
            found[str(ref["name"])] = max(percent, found.get(str(ref["name"]), 0))
    return found


def is_acknowledged(route: Json) -> bool:
    """Say whether every gateway the route asks for serves it as it is written now."""
    generation = number(route, "metadata", "generation")
    parents = parts(route, "status", "parents")
    asked = len(parts(route, "spec", "parentRefs"))
    if not parents or len(parents) < asked:
        return False
    return all(
        _holds(parts(parent, "conditions"), kind, generation)
        for parent in parents
        for kind in ("Accepted", "ResolvedRefs")
    )


def read_knative(service: Json) -> dict[str, int]:
    """Read percent by Knative Revision from an InferenceService's status."""
    found: dict[str, int] = {}
    for target in parts(service, "status", "components", "predictor", "traffic"):
        revision = text(target, "revisionName")
        found[revision] = found.get(revision, 0) + number(target, "percent")
    return found


def to_revisions(split: Split, places: Sequence[Place], view: KubeView) -> dict[str, int]:
    """Turn shares of backends into those of revisions, careful while the route is not acknowledged."""
    weights: dict[str, int] = {}
    for place in places:
        percent = split.weights.get(place.backend, 0)
        if split.is_there and not split.is_acknowledged:
            percent = max(percent, view.noted_weight(place.revision))
        weights[place.revision] = max(percent, weights.get(place.revision, 0))
    return weights


def _weight(ref: Json) -> int:
    return number(ref, "weight", unset=1)


def _holds(conditions: Sequence[Json], kind: str, generation: int) -> bool:
    return any(
        one.get("type") == kind and one.get("status") == "True" and number(one, "observedGeneration") >= generation
        for one in conditions
    )
