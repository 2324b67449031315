"""Pure: the children that KServe makes for an InferenceService.

Facts: KServe's `pkg/controller/v1beta1/inferenceservice`, and objects captured from v0.20.0 and from a build of August 2026.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = [
    "COMPONENT_LABELS",
    "GROUP",
    "ISVC",
    "LABEL",
    "SOURCE_URI",
    "Behaviour",
    "Plan",
    "Settings",
    "predictor_name",
    "render_deployment",
    "render_routes",
    "render_service",
    "to_plan",
]

Json = dict[str, Any]

GROUP = "serving.kserve.io"
ISVC = (f"{GROUP}/v1beta1", "InferenceService")
LABEL = f"{GROUP}/inferenceservice"
SOURCE_URI = f"internal.{GROUP}/storage-initializer-sourceuri"
COMPONENT_LABELS = {"component": "predictor"}
PORT = 80
DEFAULT_CONTAINER_PORT = 8080
DEFAULT_TIMEOUT = "60s"
UNPROPAGATED = {"kubectl.kubernetes.io/last-applied-configuration"}
"""Annotations of the service that are not copied to its children; all others are."""
SCALING = {"minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "name", "timeout", "labels", "annotations"}
"""Fields of a predictor that are no pod fields."""


class Behaviour(StrEnum):
    """Which KServe is played."""

    NO_WEIGHTS = "0.20"
    """Canaries get a Deployment and a Service, and no traffic, whatever their percent; stable is lowered at once."""
    WEIGHTS = "0.21"
    """Ready canaries get their percent in both routes; stable is lowered when they are ready."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What KServe's ConfigMap says."""

    behaviour: Behaviour
    domain: str = "example.com"
    gateway_namespace: str = "kserve"
    gateway: str = "kserve-ingress-gateway"


@dataclass(frozen=True, slots=True)
class Plan:
    """One predictor to run: stable's or a canary's."""

    name: str
    """Of its Deployment and Service."""
    predictor: Json
    """Complete: a canary's is laid over stable's."""
    replicas: int
    canary: str = ""
    """The canary's name; empty for stable."""
    percent: int = 0
    """What the spec asks for a canary."""


def to_plan(isvc: Json, ready: set[str], behaviour: Behaviour) -> tuple[Plan, tuple[Plan, ...]]:
    """Read stable and canaries off a service.

    Args:
        isvc: The InferenceService.
        ready: Names of Deployments with an available replica.
        behaviour: Decides when stable makes room.

    Returns:
        Stable, and canaries in the spec's order.
    """
    stable = isvc["spec"]["predictor"]
    least = max(1, stable.get("minReplicas", 1))
    canaries = tuple(_canary(isvc, item, stable, least) for item in isvc["spec"].get("canary", ()))
    counted = [canary for canary in canaries if behaviour is Behaviour.NO_WEIGHTS or canary.name in ready]
    lowered = least - sum(canary.replicas for canary in counted) if "minReplicas" in stable else least
    return Plan(predictor_name(isvc, stable.get("name", "")), stable, max(1, lowered)), canaries


def _canary(isvc: Json, item: Json, stable: Json, least: int) -> Plan:
    own = {name: value for name, value in item["predictor"].items() if value or name == "minReplicas"}
    percent = item.get("trafficPercent", 0)
    replicas = own.get("minReplicas", math.ceil(least * percent / 100))
    name = own["name"]
    return Plan(predictor_name(isvc, name), {**stable, **own}, replicas, name, percent)


def predictor_name(isvc: Json, predictor: str) -> str:
    """Name of a predictor's Deployment and Service."""
    return "-".join(filter(None, (isvc["metadata"]["name"], predictor, "predictor")))


def render_deployment(isvc: Json, plan: Plan) -> Json:
    """The Deployment of one predictor."""
    metadata = _metadata(isvc, plan)
    app = {"app": metadata["labels"]["app"]}
    pod = {name: value for name, value in plan.predictor.items() if name not in SCALING}
    containers = [_container(isvc, container) for container in pod.pop("containers")]
    template = {key: metadata[key] for key in ("name", "namespace", "labels", "annotations")}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": plan.replicas,
            "selector": {"matchLabels": app},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": template, "spec": {**pod, "containers": containers}},
        },
    }


def render_service(isvc: Json, plan: Plan) -> Json:
    """The Service in front of one predictor."""
    metadata = _metadata(isvc, plan)
    target = _port(_main(plan.predictor["containers"]))
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": metadata["labels"]["app"]},
            "ports": [{"port": PORT, "protocol": "TCP", "targetPort": target}],
        },
    }


def render_routes(isvc: Json, stable: Plan, weighted: tuple[Plan, ...], settings: Settings) -> list[Json]:
    """The two HTTPRoutes of a service that is seen from outside; none for one labelled cluster-local.

    Args:
        isvc: The InferenceService.
        stable: Gets what is left.
        weighted: Canaries that get their percent.
        settings: Domain and gateway.

    Returns:
        The route of the service and that of its predictor, with the same backends.
    """
    if isvc["metadata"].get("labels", {}).get("networking.kserve.io/visibility") == "cluster-local":
        return []
    name = isvc["metadata"]["name"]
    return [_route(isvc, route, _backends(isvc, stable, weighted), settings) for route in (name, f"{name}-predictor")]


def _backends(isvc: Json, stable: Plan, weighted: tuple[Plan, ...]) -> list[Json]:
    namespace = isvc["metadata"]["namespace"]

    def backend(plan: Plan, weight: int) -> Json:
        reference = {"group": "", "kind": "Service", "name": plan.name, "namespace": namespace, "port": PORT}
        return {**reference, "weight": weight}

    if not weighted:
        return [backend(stable, 1)]
    left = 100 - sum(canary.percent for canary in weighted)
    return [backend(stable, left), *(backend(canary, canary.percent) for canary in weighted)]


def _route(isvc: Json, name: str, backends: list[Json], settings: Settings) -> Json:
    metadata = isvc["metadata"]
    said = [("KServe-Isvc-Name", metadata["name"]), ("KServe-Isvc-Namespace", metadata["namespace"])]
    headers = [{"name": header, "value": value} for header, value in said]
    timeout = isvc["spec"]["predictor"].get("timeout")
    rule = {
        "matches": [{"path": {"type": "RegularExpression", "value": "^/.*$"}}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": headers}}],
        "backendRefs": backends,
        "timeouts": {"request": f"{timeout}s" if timeout else DEFAULT_TIMEOUT},
    }
    parent = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": settings.gateway,
        "namespace": settings.gateway_namespace,
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "annotations": _annotations(isvc),
            "ownerReferences": [_owner(isvc)],
        },
        "spec": {
            "hostnames": [f"{name}-{metadata['namespace']}.{settings.domain}"],
            "parentRefs": [parent],
            "rules": [rule],
        },
    }


def _metadata(isvc: Json, plan: Plan) -> Json:
    own = plan.predictor
    uri = next((item["value"] for item in _main(own["containers"]).get("env", ()) if item["name"] == "STORAGE_URI"), "")
    annotations = {**_annotations(isvc), **own.get("annotations", {}), **({SOURCE_URI: uri} if uri else {})}
    labels = {
        **isvc["metadata"].get("labels", {}),
        **own.get("labels", {}),
        **COMPONENT_LABELS,
        LABEL: isvc["metadata"]["name"],
        "app": f"isvc.{plan.name}",
    }
    return {
        "name": plan.name,
        "namespace": isvc["metadata"]["namespace"],
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [_owner(isvc)],
    }


def _annotations(isvc: Json) -> Json:
    given = isvc["metadata"].get("annotations", {})
    return {name: value for name, value in given.items() if name not in UNPROPAGATED}


def _owner(isvc: Json) -> Json:
    return {
        "apiVersion": ISVC[0],
        "kind": ISVC[1],
        "name": isvc["metadata"]["name"],
        "uid": isvc["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _main(containers: list[Json]) -> Json:
    return next((item for item in containers if item["name"] == "kserve-container"), containers[0])


def _container(isvc: Json, container: Json) -> Json:
    told = {"name": "INFERENCE_SERVICE_NAME", "value": isvc["metadata"]["name"]}
    result = {**container, "env": [*container.get("env", ()), told]}
    if container["name"] == "kserve-container" and "readinessProbe" not in container:
        # A bare TCP connect: why a predictor must bring an HTTP probe of its own.
        probe = {"tcpSocket": {"port": _port(container)}, "timeoutSeconds": 1, "periodSeconds": 10}
        result["readinessProbe"] = {**probe, "successThreshold": 1, "failureThreshold": 3}
    return result


def _port(container: Json) -> int:
    ports = container.get("ports") or [{}]
    port: int = ports[0].get("containerPort", DEFAULT_CONTAINER_PORT)
    return port
