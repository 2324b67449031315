"""Pure: the status that KServe writes on an InferenceService in Standard mode, its oddities included.

`observedGeneration` is the Deployment's, `Ready` ignores canaries, `canaryStatuses[].trafficPercent` repeats the spec, and `url` names
an outside host even for a service that has none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.cluster.kserve_standin.objects import Plan, Settings

__all__ = ["available", "condition_of", "is_available", "to_status"]

Json = dict[str, Any]


def available(deployments: Mapping[str, Json]) -> set[str]:
    """Names of the Deployments with an available replica."""
    return {name for name, deployment in deployments.items() if is_available(deployment)}


def is_available(deployment: Json) -> bool:
    """Does KServe take it for ready?"""
    return bool(deployment.get("status", {}).get("availableReplicas", 0))


def condition_of(item: Json, kind: str) -> Json | None:
    """A condition of an object's status."""
    return next((each for each in item.get("status", {}).get("conditions", ()) if each["type"] == kind), None)


def to_status(
    isvc: Json,
    stable: Plan,
    canaries: Sequence[Plan],
    deployments: Mapping[str, Json],
    routes: Sequence[Json],
    settings: Settings,
    now: str,
) -> Json:
    """Compose the status.

    Args:
        isvc: With the status as it was, for the times of unchanged conditions.
        stable: What should run.
        canaries: Beside it.
        deployments: As read back, by name.
        routes: As read back, with what the gateway says of them.
        settings: For host names.
        now: RFC 3339.

    Returns:
        All of `status`.
    """
    namespace = isvc["metadata"]["namespace"]
    deployment = deployments.get(stable.name, {})
    conditions = [_predictor_ready(deployment), _ingress_ready(routes), _info("Stopped", "False")]
    is_ready = all(condition["status"] == "True" for condition in conditions[:2])
    conditions.append({"type": "Ready", "status": "True" if is_ready else "False"})
    status: Json = {
        "address": {"url": f"http://{stable.name}.{namespace}.svc.cluster.local"},
        "components": {"predictor": {"url": f"http://{stable.name}-{namespace}.{settings.domain}"}},
        "deploymentMode": "Standard",
        "modelStatus": _model_status(deployment),
        "observedGeneration": deployment.get("status", {}).get("observedGeneration", 0),
        "url": f"http://{isvc['metadata']['name']}-{namespace}.{settings.domain}",
    }
    if canaries:
        is_all = all(is_available(deployments.get(canary.name, {})) for canary in canaries)
        reason = "AllCanariesReady" if is_all else "CanariesNotReady"
        conditions.append({**_info("CanaryPredictorReady", "True" if is_all else "False"), "reason": reason})
        status["canaryStatuses"] = [_canary_status(canary, deployments) for canary in canaries]
    status["conditions"] = _timed(conditions, isvc, now)
    return status


def _predictor_ready(deployment: Json) -> Json:
    able, progress = (condition_of(deployment, kind) for kind in ("Available", "Progressing"))
    told = progress if able and able["status"] == "True" else able
    if told is None:
        return {"type": "PredictorReady", "status": "Unknown"}
    return {"type": "PredictorReady", **{key: told[key] for key in ("status", "reason", "message")}}


def _ingress_ready(routes: Sequence[Json]) -> Json:
    for route in routes:
        parents = route.get("status", {}).get("parents", ())
        refused = [each for parent in parents for each in parent["conditions"] if each["status"] == "False"]
        if not parents or refused:
            name = route["metadata"]["name"]
            return {
                "type": "IngressReady",
                "status": "False",
                "reason": refused[0]["reason"] if refused else "HTTPRouteParentStatusNotAvailable",
                "message": refused[0]["message"] if refused else f"HTTPRoute {name} has no parent status",
            }
    return {"type": "IngressReady", "status": "True"}


def _info(kind: str, status: str) -> Json:
    return {"type": kind, "status": status, "severity": "Info"}


def _model_status(deployment: Json) -> Json:
    if not is_available(deployment):
        states = {"activeModelState": "", "targetModelState": "Pending"}
        return {"states": states, "transitionStatus": "InProgress"}
    copies = {"failedCopies": 0, "totalCopies": deployment["status"]["availableReplicas"]}
    states = {"activeModelState": "Loaded", "targetModelState": "Loaded"}
    return {"copies": copies, "states": states, "transitionStatus": "UpToDate"}  # codespell:ignore uptodate


def _canary_status(canary: Plan, deployments: Mapping[str, Json]) -> Json:
    is_ready = is_available(deployments.get(canary.name, {}))
    return {
        "name": canary.canary,
        "ready": is_ready,
        "trafficPercent": canary.percent,
        "modelStatus": {"transitionStatus": ""},
    }


def _timed(conditions: Sequence[Json], isvc: Json, now: str) -> list[Json]:
    result: list[Json] = []
    for condition in sorted(conditions, key=lambda each: str(each["type"])):
        before = condition_of(isvc, condition["type"])
        is_same = before is not None and before["status"] == condition["status"]
        at = before["lastTransitionTime"] if before is not None and is_same else now
        result.append({**condition, "lastTransitionTime": at})
    return result
