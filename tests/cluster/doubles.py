"""Doubles for what a control plane without nodes lacks: Deployment controller and kubelet, Job's pods, and the gateway.

    with playing_node(plane.access) as node:            # Deployments become available, routes accepted
        node.is_healthy = lambda deployment: "-r2-" not in deployment["metadata"]["name"]

They write statuses and run nothing: where a test rests on them, say so. The node level has the real ones.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx

from graft_core.clock import Clock, SystemClock, to_rfc3339
from tests.cluster.api import Access, Api, ApiError
from tests.cluster.changes import Kind, watching

__all__ = ["NodeDouble", "end_pod", "keep_looking", "make_job_pod", "playing_node", "start_pod"]

Json = dict[str, Any]

LOOK_S = 0.05
DEPLOYMENT = ("apps/v1", "Deployment")
ROUTE = ("gateway.networking.k8s.io/v1", "HTTPRoute")
POD_IP = "127.0.0.1"
PASSING = {404, 409, 429, 500, 503, 504}
"""Statuses that the next look may not meet again: the object went or was changed between look and write, or the server is busy."""


def keep_looking(look: Callable[[], None], stop: Event, pause_s: float, access: Access, *kinds: Kind) -> None:
    """Look after each change to these kinds until told to stop; what passes of itself is left to the next look."""
    with watching(access, *kinds) as changes:
        while changes.wait(stop, pause_s):
            try:
                look()
            except httpx.TransportError:
                continue  # the server is down: that may be what the test is about
            except ApiError as error:
                if error.status not in PASSING:
                    raise


class NodeDouble:
    """Writes the statuses of Deployments and HTTPRoutes in all namespaces."""

    def __init__(self, api: Api, clock: Clock | None = None) -> None:
        self.is_healthy: Callable[[Json], bool] = lambda _deployment: True
        """Does a Deployment get its replicas? Asked at each look."""
        self.is_accepted: Callable[[Json], bool] = lambda _route: True
        """Does the gateway take a route?"""
        self._api = api
        self._clock = clock or SystemClock()

    def run(self, stop: Event) -> None:
        """Look until told to stop."""
        keep_looking(self.look, stop, LOOK_S, self._api.access, DEPLOYMENT, ROUTE)

    def look(self) -> None:
        """One pass over all."""
        for deployment in self._api.list(*DEPLOYMENT):
            self._write(deployment, self._deployment_status(deployment))
        for route in self._api.list(*ROUTE):
            self._write(route, self._route_status(route))

    def _write(self, item: Json, status: Json) -> None:
        if _untimed(item.get("status", {})) == _untimed(status):
            return
        change = {"metadata": {"resourceVersion": item["metadata"]["resourceVersion"]}, "status": status}
        self._api.patch(item, change, subresource="status")

    def _deployment_status(self, deployment: Json) -> Json:
        replicas = deployment["spec"]["replicas"]
        ready = replicas if self.is_healthy(deployment) else 0
        is_ready = ready >= replicas
        name = deployment["metadata"]["name"]
        now = to_rfc3339(self._clock.now())
        able = {
            "type": "Available",
            "status": "True" if is_ready else "False",
            "reason": "MinimumReplicasAvailable" if is_ready else "MinimumReplicasUnavailable",
            "message": f"Deployment {'has' if is_ready else 'does not have'} minimum availability.",
        }
        progress = {
            "type": "Progressing",
            "status": "True",
            "reason": "NewReplicaSetAvailable" if is_ready else "ReplicaSetUpdated",
            "message": f'ReplicaSet "{name}-double" {"has successfully progressed" if is_ready else "is progressing"}.',
        }
        times = {"lastTransitionTime": now, "lastUpdateTime": now}
        return {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": ready or None,
            "availableReplicas": ready or None,
            "unavailableReplicas": replicas - ready or None,
            "conditions": [{**able, **times}, {**progress, **times}],
        }

    def _route_status(self, route: Json) -> Json:
        status = "True" if self.is_accepted(route) else "False"
        now = to_rfc3339(self._clock.now())
        generation = route["metadata"]["generation"]

        def condition(kind: str) -> Json:
            told = {"type": kind, "status": status, "reason": kind if status == "True" else "NotAllowedByListeners"}
            return {**told, "message": "", "observedGeneration": generation, "lastTransitionTime": now}

        conditions = [condition("Accepted"), condition("ResolvedRefs")]
        name = "graft.dev/gateway-double"
        references = route["spec"].get("parentRefs", ())
        return {
            "parents": [
                {"controllerName": name, "parentRef": reference, "conditions": conditions} for reference in references
            ]
        }


@contextmanager
def playing_node(access: Access) -> Generator[NodeDouble, None, None]:
    """Run the double in a thread."""
    stop = Event()
    with Api(access) as api:
        double = NodeDouble(api)
        thread = Thread(target=double.run, args=[stop], name="node-double", daemon=True)
        thread.start()
        try:
            yield double
        finally:
            stop.set()
            thread.join()


def make_job_pod(api: Api, job: Json) -> Json:
    """Make the pod that the Job controller would make.

    Args:
        api: Of an administrator.
        job: As read from the server.

    Returns:
        The pod, Pending.
    """
    metadata = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    template = job["spec"]["template"]
    labels = {**template.get("metadata", {}).get("labels", {}), "batch.kubernetes.io/job-name": metadata["name"]}
    labels |= {"batch.kubernetes.io/controller-uid": metadata["uid"]}
    return api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{metadata['name']}-{uuid4().hex[:5]}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": template["spec"],
        }
    )


def start_pod(api: Api, pod: Json, *, ip: str = POD_IP) -> Json:
    """Have a pod run and be ready, as the kubelet would say."""
    now = to_rfc3339(SystemClock().now())
    containers = [
        _container(item, {"running": {"startedAt": now}}, is_ready=True) for item in pod["spec"]["containers"]
    ]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
    addresses = {"podIP": ip, "podIPs": [{"ip": ip}]}
    status = {"phase": "Running", **addresses, "conditions": [ready], "containerStatuses": containers, "startTime": now}
    return api.patch(pod, {"status": status}, subresource="status")


def end_pod(api: Api, pod: Json, exit_code: int, message: str = "", reason: str = "") -> Json:
    """Have a pod's containers end.

    Args:
        api: Of an administrator.
        pod: As read from the server.
        exit_code: Of every container.
        message: What they wrote as termination message.
        reason: Such as `OOMKilled`; Completed or Error if empty.

    Returns:
        The pod.
    """
    now = to_rfc3339(SystemClock().now())
    why = reason or ("Error" if exit_code else "Completed")
    ended = {"exitCode": exit_code, "reason": why, "message": message, "startedAt": now, "finishedAt": now}
    containers = [_container(item, {"terminated": ended}, is_ready=False) for item in pod["spec"]["containers"]]
    status = {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": containers}
    return api.patch(pod, {"status": status}, subresource="status")


def _container(container: Json, state: Json, *, is_ready: bool) -> Json:
    image = container["image"]
    told = {"name": container["name"], "image": image, "imageID": image, "restartCount": 0}
    return {**told, "ready": is_ready, "started": is_ready, "state": state, "lastState": {}}


def _untimed(value: Any) -> Any:
    match value:
        case dict():
            skipped = {"lastTransitionTime", "lastUpdateTime"}
            return {key: _untimed(item) for key, item in value.items() if key not in skipped and item is not None}
        case list():
            return [_untimed(item) for item in value]
        case _:
            return value
