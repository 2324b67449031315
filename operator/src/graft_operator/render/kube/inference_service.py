"""InferenceServices: one predictor of a recipe, canaries beside it, and the probe that asks KServe whether it splits traffic.

KServe copies every label and annotation of the metadata to the pods, so there stands only what never changes. What differs between revisions
stands at the predictor. An update is told as a merge patch against the object as it was read: what KServe's webhook filled in stays, and a
promoted canary's predictor is taken over as it lies there, so that its pods are not restarted.
"""

import copy
from typing import Any, Final, Literal, cast

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_MODELRELEASE, LABEL_NAME
from graft_operator.render.kube.labels import MANAGED_BY, owner_labels, owner_reference
from graft_operator.render.kube.predictor_pod import FETCHER, MAIN, PORT, USER
from graft_operator.render.kube.record import Recipe

__all__ = [
    "merge_diff",
    "render_canary",
    "render_probe",
    "render_promoted",
    "render_service",
    "render_template",
    "render_without_canary",
]

_Json = dict[str, Any]
Mode = Literal["Standard", "Knative"]

VISIBILITY: Final = "networking.kserve.io/visibility"
"""Label `cluster-local`: KServe gives the service no external route."""


def render_service(
    release: ModelRelease, name: str, recipe: Recipe, *, mode: Mode, predictor: str | None, is_local: bool
) -> _Json:
    """Render an InferenceService that runs one revision.

    Args:
        release: Its owner.
        name: Its name: the release's, or a slot's.
        recipe: What it runs.
        mode: KServe's deployment mode.
        predictor: Name of its predictor, which KServe's names for children contain; None: KServe's own.
        is_local: Whether it gets no route of its own.

    Returns:
        The object.
    """
    annotations: dict[str, str] = {"serving.kserve.io/deploymentMode": mode}
    if mode == "Standard":
        annotations["serving.kserve.io/autoscalerClass"] = "hpa" if is_scaled(recipe) else "none"
    spec: _Json = {**recipe.predictor, **_counts(recipe)}
    if predictor is not None:
        spec["name"] = predictor
    return {
        **_head(release, name, annotations, is_local=is_local),
        "spec": {"predictor": spec},
    }


def is_scaled(recipe: Recipe) -> bool:
    """Say whether an autoscaler decides on the count."""
    return recipe.max_replicas > recipe.min_replicas


def render_canary(service: _Json, recipe: Recipe, stable: Recipe, name: str) -> _Json:
    """Put a canary at weight 0 beside the predictor.

    KServe lowers the predictor's count by the canary's as soon as that is ready, whatever its weight, but not below one: so it is raised by
    as much beforehand. It also takes no canary with more replicas than the predictor.

    Args:
        service: As it was read.
        recipe: The canary's.
        stable: The predictor's.
        name: The canary predictor's name.

    Returns:
        A merge patch.
    """
    canary = {**recipe.predictor, "name": name, "minReplicas": recipe.min_replicas}
    wanted = copy.deepcopy(service["spec"])
    wanted["canary"] = [{"trafficPercent": 0, "predictor": canary}]
    least = stable.min_replicas
    is_single = least == 1 and recipe.min_replicas == 1
    wanted["predictor"]["minReplicas"] = least if is_single else least + recipe.min_replicas
    if stable.max_replicas > stable.min_replicas:
        wanted["predictor"]["maxReplicas"] = stable.max_replicas + recipe.min_replicas
    return {"spec": merge_diff(service["spec"], wanted)}


def render_without_canary(service: _Json, stable: Recipe) -> _Json:
    """Take the canaries away, and give the predictor back its own count; a merge patch."""
    wanted = copy.deepcopy(service["spec"])
    wanted.pop("canary", None)
    wanted["predictor"] |= _counts(stable)
    return {"spec": merge_diff(service["spec"], wanted)}


def render_promoted(service: _Json, name: str, recipe: Recipe) -> _Json:
    """Make a canary the predictor as it lies there, name and all.

    Args:
        service: As it was read.
        name: The canary predictor's name.
        recipe: Its recipe, for the count.

    Returns:
        A merge patch.
    """
    wanted = copy.deepcopy(service["spec"])
    canary = next(one["predictor"] for one in wanted.pop("canary") if one["predictor"]["name"] == name)
    wanted["predictor"] = {**canary, **_counts(recipe)}
    return {"spec": merge_diff(service["spec"], wanted)}


def render_template(service: _Json, recipe: Recipe, percent: int | None) -> _Json:
    """Knative: replace the template and set its percent in one write; a merge patch."""
    wanted = copy.deepcopy(service["spec"])
    wanted["predictor"] = {**recipe.predictor, **_counts(recipe)}
    if percent is not None:
        wanted["predictor"]["canaryTrafficPercent"] = percent
    return {"spec": merge_diff(service["spec"], wanted)}


def render_probe(release: ModelRelease, name: str, *, image: str, canary: str, percent: int) -> _Json:
    """Render the probe: two tiny predictors with half of the traffic each, which answer 503 to everybody.

    Args:
        release: Its owner.
        name: Its name.
        image: An image with Python, the predictor's: its node will want it anyway.
        canary: Name of the canary predictor.
        percent: Its share.

    Returns:
        The object.
    """
    annotations = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "none"}
    return {
        **_head(release, name, annotations, is_local=False),
        "spec": {
            "predictor": _probe_predictor(image, "stable"),
            "canary": [{"trafficPercent": percent, "predictor": {**_probe_predictor(image, canary), "name": canary}}],
        },
    }


def merge_diff(old: _Json, new: _Json) -> _Json:
    """Return the merge patch (RFC 7396) that turns one object into another; lists are replaced whole."""
    patch: _Json = {name: None for name in old if name not in new}
    for name, value in new.items():
        was = old.get(name)
        if isinstance(was, dict) and isinstance(value, dict):
            inner = merge_diff(cast("_Json", was), cast("_Json", value))
            if inner:
                patch[name] = inner
        elif was != value:
            patch[name] = value
    return patch


def _head(release: ModelRelease, name: str, annotations: dict[str, str], *, is_local: bool) -> _Json:
    meta = release.metadata
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": {
                **MANAGED_BY,
                **owner_labels(meta.uid),
                LABEL_NAME: meta.name,
                **({VISIBILITY: "cluster-local"} if is_local else {}),
            },
            "annotations": annotations,
            "ownerReferences": [owner_reference(meta, KIND_MODELRELEASE)],
        },
    }


def _counts(recipe: Recipe) -> _Json:
    least: _Json = {"minReplicas": recipe.min_replicas}
    return {**least, "maxReplicas": recipe.max_replicas} if is_scaled(recipe) else least


_ANSWER_503: Final = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 503); self.end_headers()
    def log_message(self, *a): pass
import signal, sys
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
HTTPServer(("", {port}), H).serve_forever()
"""


def _probe_predictor(image: str, name: str) -> _Json:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    small = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}
    own = {"image": image, "imagePullPolicy": "IfNotPresent", "resources": small, "securityContext": security}
    return {
        "minReplicas": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        # Of the name that keeps KServe from downloading what STORAGE_URI says.
        "initContainers": [{**own, "name": FETCHER, "command": ["python", "-c", "pass"]}],
        "containers": [
            {
                **own,
                "name": MAIN,
                "command": ["python", "-c", _ANSWER_503.format(port=PORT)],
                "env": [{"name": "STORAGE_URI", "value": f"s3://graft-probe/{name}/"}],
                "ports": [{"containerPort": PORT, "protocol": "TCP"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 2},
            }
        ],
    }
