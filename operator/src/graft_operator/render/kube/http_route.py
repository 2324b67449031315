"""Our own HTTPRoute, for services in two slots: KServe gives those none, and does not split between two services."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_MODELRELEASE, LABEL_NAME
from graft_operator.render.kube.labels import MANAGED_BY, owner_labels, owner_reference

__all__ = ["GatewayDefaults", "host_of", "render_route", "render_rules"]

SERVICE_PORT: Final = 80
"""Port of the Service that KServe makes for a predictor."""


@dataclass(frozen=True, slots=True)
class GatewayDefaults:
    """Where releases in two slots are reached; read from the operator's settings once."""

    name: str = "kserve-ingress-gateway"
    """The Gateway, by default KServe's own."""
    namespace: str = "kserve"
    domain: str = "example.com"
    """A release answers at `<name>-<namespace>.<domain>`, as KServe's services do."""
    scheme: str = "http"
    """What its published URL begins with."""


def host_of(release: ModelRelease, gateway: GatewayDefaults) -> str:
    """Return the host name that a release answers at."""
    return f"{release.metadata.name}-{release.metadata.namespace}.{gateway.domain}"


def render_route(release: ModelRelease, weights: Mapping[str, int], gateway: GatewayDefaults) -> dict[str, Any]:
    """Render the route.

    Args:
        release: Its owner.
        weights: Percent by Service; those without traffic are not named, so that none can be missing once it is gone.
        gateway: Where it is attached.

    Returns:
        The object.
    """
    meta = release.metadata
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": {**MANAGED_BY, **owner_labels(meta.uid), LABEL_NAME: meta.name},
            "ownerReferences": [owner_reference(meta, KIND_MODELRELEASE)],
        },
        "spec": {
            "parentRefs": [
                {
                    "group": "gateway.networking.k8s.io",
                    "kind": "Gateway",
                    "name": gateway.name,
                    "namespace": gateway.namespace,
                }
            ],
            "hostnames": [host_of(release, gateway)],
            "rules": render_rules(release, weights),
        },
    }


def render_rules(release: ModelRelease, weights: Mapping[str, int]) -> list[dict[str, Any]]:
    """Render the one rule of the route."""
    timeout_s = release.spec.predictor.timeout_seconds + 5
    return [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [
                {"group": "", "kind": "Service", "name": service, "port": SERVICE_PORT, "weight": weight}
                for service, weight in sorted(weights.items())
            ],
            # Gateways have a default of their own, often 60 s or less, that would cut long answers.
            "timeouts": {"request": f"{timeout_s}s"},
        }
    ]
