"""Kubernetes objects of a release, as KServe and a gateway leave them; a test says only what it is about."""

from collections.abc import Mapping
from typing import Any

from graft_core.api.v1alpha1.modelrelease import ArmStatus, CandidateStatus, DrainingStatus, ModelReleaseStatus
from graft_core.api.v1alpha1.names import LABEL_REVISION, LABEL_UID
from graft_operator.reconcile.kube.view import KubeView, Strategy
from tests.builders import NOW, RELEASE_UID, a_release
from tests.operator.reconcile.views import BLUE, GREEN

__all__ = [
    "a_deployment",
    "a_knative_view",
    "a_kube_view",
    "a_pod",
    "a_predictor",
    "a_route",
    "a_service",
    "a_slots_view",
    "a_status",
    "a_weights_view",
]

Json = dict[str, Any]
OWNER = {
    "apiVersion": "graft.dev/v1alpha1",
    "kind": "ModelRelease",
    "name": "shop",
    "uid": RELEASE_UID,
    "controller": True,
}


def a_status(stable: str = BLUE, candidate: str = "", draining: str = "", **fields: Any) -> ModelReleaseStatus:
    """Build a status with these arms."""
    stamp = NOW.isoformat()
    return ModelReleaseStatus(
        stable=ArmStatus(revision=stable, weight=100) if stable else None,
        candidate=CandidateStatus(revision=candidate, since=stamp, **fields) if candidate else None,
        draining=DrainingStatus(revision=draining, since=stamp) if draining else None,
    )


def a_predictor(revision: str, name: str = "") -> Json:
    """Build a predictor of one revision."""
    return {"annotations": {LABEL_REVISION: revision}, **({"name": name} if name else {})}


def a_service(name: str, spec: Json, *, status: Json | None = None, **meta: Any) -> Json:
    """Build an InferenceService of the release."""
    head = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "resourceVersion": f"rv-{name}",
        "labels": {LABEL_UID: RELEASE_UID},
    }
    return {"metadata": {**head, "ownerReferences": [OWNER], **meta}, "spec": spec, "status": status or {}}


def a_deployment(name: str, revision: str, *, available: int = 1, replicas: int = 1, observed: int = 1) -> Json:
    """Build a Deployment."""
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": replicas, "template": {"metadata": {"annotations": {LABEL_REVISION: revision}}}},
        "status": {"observedGeneration": observed, "updatedReplicas": replicas, "availableReplicas": available},
    }


def a_route(name: str, weights: Mapping[str, int], *, observed: int = 1, accepted: str = "True", **meta: Any) -> Json:
    """Build an HTTPRoute at generation 1."""
    conditions = [
        {"type": kind, "status": accepted, "observedGeneration": observed} for kind in ("Accepted", "ResolvedRefs")
    ]
    return {
        "metadata": {"name": name, "generation": 1, "resourceVersion": f"rv-route-{name}", **meta},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [{"backendRefs": [{"name": backend, "weight": weight} for backend, weight in weights.items()]}],
        },
        "status": {"parents": [{"conditions": conditions}]},
    }


def a_pod(revision: str, name: str = "pod", **status: Any) -> Json:
    """Build a pod of the release."""
    labels = {LABEL_REVISION: revision, LABEL_UID: RELEASE_UID}
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": labels}
    return {"metadata": meta, "status": {"conditions": [{"type": "Ready", "status": "True"}], **status}}


def a_kube_view(strategy: Strategy, status: ModelReleaseStatus | None = None, **fields: Any) -> KubeView:
    """Build a view."""
    records = {BLUE: "sha256:" + "b" * 64, GREEN: "sha256:" + "c" * 64}
    given: dict[str, Any] = {"records": records, **fields}
    return KubeView(release=a_release(status=status or a_status()), strategy=strategy, **given)


def a_weights_view(
    percent: int | None = None, *, served: int | None = None, status: ModelReleaseStatus | None = None, **route: Any
) -> KubeView:
    """Build a view of one InferenceService with BLUE, and with GREEN as its canary where a percent is given."""
    spec: Json = {"predictor": a_predictor(BLUE, f"r{BLUE}")}
    weights = {f"shop-r{BLUE}-predictor": 1}
    if percent is not None:
        spec["canary"] = [{"trafficPercent": percent, "predictor": a_predictor(GREEN, f"r{GREEN}")}]
        share = percent if served is None else served
        weights = {f"shop-r{BLUE}-predictor": 100 - share, f"shop-r{GREEN}-predictor": share}
    deployments = {f"shop-r{one}-predictor": a_deployment(f"shop-r{one}-predictor", one) for one in (BLUE, GREEN)}
    return a_kube_view(
        Strategy.WEIGHTS,
        status or a_status(candidate=GREEN if percent is not None else ""),
        services={"shop": a_service("shop", spec)},
        deployments=deployments,
        routes={name: a_route(name, weights, **route) for name in ("shop", "shop-predictor")},
    )


def a_slots_view(
    weights: Mapping[str, int] | None = None, *, status: ModelReleaseStatus | None = None, **route: Any
) -> KubeView:
    """Build a view of BLUE in slot a and GREEN in slot b."""
    slots = {"shop-a": BLUE, "shop-b": GREEN}
    return a_kube_view(
        Strategy.SLOTS,
        status or a_status(candidate=GREEN),
        services={name: a_service(name, {"predictor": a_predictor(one)}) for name, one in slots.items()},
        deployments={f"{name}-predictor": a_deployment(f"{name}-predictor", one) for name, one in slots.items()},
        routes={} if weights is None else {"shop": a_route("shop", weights, **route)},
    )


def a_knative_view(
    percent: int | None = None,
    *,
    template: str = GREEN,
    latest: str = GREEN,
    rolled: str = BLUE,
    traffic: Mapping[str, int] | None = None,
    status: ModelReleaseStatus | None = None,
) -> KubeView:
    """Build a view of a template, and of Revisions of BLUE and GREEN, named by their content."""
    predictor = a_predictor(template) | ({} if percent is None else {"canaryTrafficPercent": percent})
    state = {
        "latestCreatedRevision": f"k-{latest}",
        "latestReadyRevision": f"k-{latest}",
        "latestRolledoutRevision": f"k-{rolled}" if rolled else "",
        "traffic": [{"revisionName": f"k-{one}", "percent": share} for one, share in (traffic or {BLUE: 100}).items()],
    }
    service = a_service("shop", {"predictor": predictor}, status={"components": {"predictor": state}})
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    known = {BLUE, GREEN, latest, rolled, *(traffic or {})} - {""}
    revisions = {
        f"k-{one}": {"metadata": {"name": f"k-{one}", "annotations": {LABEL_REVISION: one}}, "status": ready}
        for one in known
    }
    return a_kube_view(
        Strategy.KNATIVE, status or a_status(candidate=GREEN), services={"shop": service}, revisions=revisions
    )
