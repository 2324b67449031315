"""A double of KServe and of what it needs: Deployments, a gateway, Knative. On `FakeKube`, one step a tick; a stand-in, not KServe.

What it does is what a real KServe was seen to do (kserve/kserve at 0.20 and after it): names of children, weights in the HTTPRoute only
for canaries that are ready, children that are no longer wanted deleted before the route is written. `version` picks the behaviour:

    weights     canaries get their percent in the HTTPRoute
    unsplit     canaries are run and get nothing (0.20)
    before      the CRD has no spec.canary: it is dropped on writing (0.19)
    knative     Revisions and traffic, with KServe's bookkeeping of what was rolled out

A gateway takes a route over one tick after it was written. `in_force` is what it serves; a backend that is deleted while it is served is a
`loss`.
"""

import json
from dataclasses import dataclass, field
from typing import Literal

from graft_core.api.v1alpha1.names import LABEL_REVISION
from graft_operator.ports import (
    DEPLOYMENTS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    KNATIVE_REVISIONS,
    PODS,
    SERVICES,
    Json,
)
from tests.fakes.kube import FakeKube

__all__ = ["FakeKServe"]

Version = Literal["weights", "unsplit", "before", "knative"]
LABEL = "serving.kserve.io/inferenceservice"
GATEWAY = {
    "group": "gateway.networking.k8s.io",
    "kind": "Gateway",
    "name": "kserve-ingress-gateway",
    "namespace": "kserve",
}


@dataclass
class FakeKServe:
    """KServe, Deployment controller, kubelet, gateway and Knative in one."""

    kube: FakeKube
    version: Version = "weights"
    now: str = "2026-03-01T12:00:00Z"
    dead: set[str] = field(default_factory=set[str])
    """Revisions whose pods never become ready."""
    is_gateway_deaf: bool = False
    """The gateway acknowledges nothing."""
    in_force: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Percent by Service, by host name."""
    losses: list[str] = field(default_factory=list[str])

    def tick(self) -> None:
        """Let everybody do one thing."""
        self._take_routes_over()
        for service in self.kube.peek_all(INFERENCE_SERVICES):
            if "deletionTimestamp" in service["metadata"]:
                continue
            if service["metadata"]["annotations"].get("serving.kserve.io/deploymentMode") == "Knative":
                self._reconcile_knative(service)
            else:
                self._reconcile(service)
        for deployment in self.kube.peek_all(DEPLOYMENTS):
            self._run(deployment)

    def prune(self) -> None:
        """Drop what the CRD of an older KServe does not know, as its API server does when it is written."""
        if self.version != "before":
            return
        for service in self.kube.peek_all(INFERENCE_SERVICES):
            if "canary" in service["spec"]:
                meta = service["metadata"]
                self.kube.edit(INFERENCE_SERVICES, meta["namespace"], meta["name"], {"spec": {"canary": None}})

    # ------------------------------------------------------------ Standard

    def _reconcile(self, service: Json) -> None:
        meta, spec = service["metadata"], service["spec"]
        name, predictor = meta["name"], spec["predictor"]
        own = f"-{predictor['name']}" if predictor.get("name") else ""
        wanted = {f"{name}{own}-predictor": predictor}
        canaries = {f"{name}-{one['predictor']['name']}-predictor": one for one in spec.get("canary", [])}
        wanted |= {backend: one["predictor"] for backend, one in canaries.items()}
        for deployment in self.kube.peek_all(DEPLOYMENTS, meta["namespace"], {LABEL: name}):
            if deployment["metadata"]["name"] not in wanted:
                self._delete_backend(deployment)
        for backend, one in wanted.items():
            self._deploy(service, backend, one)
        main = next(iter(wanted))
        if meta["labels"].get("networking.kserve.io/visibility") == "cluster-local" or not self._is_ready(meta, main):
            return
        shares = {
            backend: one["trafficPercent"]
            for backend, one in canaries.items()
            if self.version == "weights" and self._is_ready(meta, backend)
        }
        refs = [(main, 100 - sum(shares.values())), *shares.items()] if shares else [(main, 1)]
        for route in (name, f"{name}-predictor"):
            self._route(service, route, refs)
        self._status(service, {"url": f"http://{name}-{meta['namespace']}.example.com"})

    def _deploy(self, service: Json, backend: str, predictor: Json) -> None:
        meta = service["metadata"]
        labels = {
            **meta.get("labels", {}),
            **predictor.get("labels", {}),
            LABEL: meta["name"],
            "component": "predictor",
        }
        template = {
            "metadata": {"labels": labels, "annotations": predictor.get("annotations", {})},
            "spec": {k: v for k, v in predictor.items() if k in {"containers", "initContainers", "volumes"}},
        }
        body = {
            "metadata": {
                "name": backend,
                "namespace": meta["namespace"],
                "labels": {LABEL: meta["name"], "component": "predictor"},
                "ownerReferences": [_owner(service)],
            },
            "spec": {"replicas": predictor.get("minReplicas", 1), "template": template},
        }
        if self.kube.peek(DEPLOYMENTS, meta["namespace"], backend) is None:
            self.kube.add(DEPLOYMENTS, body)
            self.kube.add(SERVICES, {"metadata": body["metadata"], "spec": {"ports": [{"port": 80}]}})
        else:
            self.kube.edit(DEPLOYMENTS, meta["namespace"], backend, {"spec": body["spec"]})

    def _delete_backend(self, deployment: Json) -> None:
        meta = deployment["metadata"]
        for host, weights in self.in_force.items():
            if weights.get(meta["name"]):
                self.losses.append(f"{meta['name']} was deleted with {weights[meta['name']]} % of {host}")
        self.kube.remove(DEPLOYMENTS, meta["namespace"], meta["name"])
        self.kube.remove(SERVICES, meta["namespace"], meta["name"])

    def _route(self, service: Json, name: str, refs: list[tuple[str, int]]) -> None:
        namespace = service["metadata"]["namespace"]
        backends = [
            {"group": "", "kind": "Service", "name": backend, "namespace": namespace, "port": 80, "weight": weight}
            for backend, weight in refs
        ]
        spec = {
            "hostnames": [f"{name}-{namespace}.example.com"],
            "parentRefs": [GATEWAY],
            "rules": [{"backendRefs": backends}],
        }
        if self.kube.peek(HTTP_ROUTES, namespace, name) is None:
            meta = {"name": name, "namespace": namespace, "ownerReferences": [_owner(service)]}
            self.kube.add(HTTP_ROUTES, {"metadata": meta, "spec": spec})
        else:
            self.kube.edit(HTTP_ROUTES, namespace, name, {"spec": spec})

    def _is_ready(self, meta: Json, backend: str) -> bool:
        found = self.kube.peek(DEPLOYMENTS, meta["namespace"], backend)
        return found is not None and found.get("status", {}).get("availableReplicas", 0) > 0

    def _status(self, service: Json, status: Json) -> None:
        meta = service["metadata"]
        self.kube.set_status(
            INFERENCE_SERVICES, meta["namespace"], meta["name"], {**service.get("status", {}), **status}
        )

    # ------------------------------------------------------------ Deployments, pods, gateway

    def _run(self, deployment: Json) -> None:
        meta, spec = deployment["metadata"], deployment["spec"]
        template = spec["template"]["metadata"]
        revision = template.get("annotations", {}).get(LABEL_REVISION, "")
        count = 0 if revision in self.dead else spec["replicas"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
        self._start_pod(f"{meta['name']}-0", meta["namespace"], template["labels"], owner, is_ready=count > 0)
        available = [{"type": "Available", "status": "True" if count else "False", "lastTransitionTime": self.now}]
        old = deployment.get("status", {}).get("conditions", [])
        if old and old[0]["status"] == available[0]["status"]:
            available = old
        status = {
            "observedGeneration": meta["generation"],
            "replicas": spec["replicas"],
            "updatedReplicas": spec["replicas"],
            "availableReplicas": count,
            "conditions": available,
        }
        self.kube.set_status(DEPLOYMENTS, meta["namespace"], meta["name"], status)

    def _start_pod(self, name: str, namespace: str, labels: Json, owner: Json, *, is_ready: bool) -> None:
        if self.kube.peek(PODS, namespace, name) is None:
            head = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]}
            self.kube.add(PODS, {"metadata": head, "spec": {}})
        waiting = {"name": "kserve-container", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        status = {
            "podIP": "10.0.0.1",
            "startTime": self.now,
            "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}],
            "containerStatuses": [] if is_ready else [waiting],
        }
        old = self.kube.peek(PODS, namespace, name) or {}
        status["startTime"] = old.get("status", {}).get("startTime", self.now)
        self.kube.set_status(PODS, namespace, name, status)

    def _take_routes_over(self) -> None:
        routes = self.kube.peek_all(HTTP_ROUTES)
        if self.is_gateway_deaf:
            return
        self.in_force = {
            host: {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}
            for route in routes
            for host in route["spec"]["hostnames"]
        }
        for route in routes:
            meta = route["metadata"]
            there = all(
                self.kube.peek(SERVICES, meta["namespace"], ref["name"]) is not None
                for ref in route["spec"]["rules"][0]["backendRefs"]
            )
            conditions = [
                {"type": "Accepted", "status": "True", "observedGeneration": meta["generation"]},
                {"type": "ResolvedRefs", "status": str(there), "observedGeneration": meta["generation"]},
            ]
            status = {"parents": [{"parentRef": GATEWAY, "conditions": conditions}]}
            self.kube.set_status(HTTP_ROUTES, meta["namespace"], meta["name"], status)

    # ------------------------------------------------------------ Knative

    def _reconcile_knative(self, service: Json) -> None:
        meta = service["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        predictor = service["spec"]["predictor"]
        percent = predictor.get("canaryTrafficPercent")
        template = {key: value for key, value in predictor.items() if key != "canaryTrafficPercent"}
        content = json.dumps(template, sort_keys=True)
        state = dict(service.get("status", {}).get("components", {}).get("predictor", {}))
        revisions = self.kube.peek_all(KNATIVE_REVISIONS, namespace, {LABEL: name})
        latest = next((r for r in revisions if r["metadata"]["name"] == state.get("latestCreatedRevision")), None)
        if latest is None or latest["spec"]["content"] != content:
            latest = self._revise(service, template, content, len(revisions) + 1)
        for revision in self.kube.peek_all(KNATIVE_REVISIONS, namespace, {LABEL: name}):
            ready = revision["metadata"]["annotations"][LABEL_REVISION] not in self.dead
            conditions = [{"type": "Ready", "status": str(ready), "reason": "" if ready else "ContainerMissing"}]
            self.kube.set_status(KNATIVE_REVISIONS, namespace, revision["metadata"]["name"], {"conditions": conditions})
        state["latestCreatedRevision"] = latest["metadata"]["name"]
        if latest["metadata"]["annotations"][LABEL_REVISION] not in self.dead:
            state["latestReadyRevision"] = latest["metadata"]["name"]
        self._split_knative(state, percent)
        for target in state.get("traffic", []):
            if self.kube.peek(KNATIVE_REVISIONS, namespace, target["revisionName"]) is None:
                self.losses.append(f"{target['revisionName']} is routed and gone")
        self._status(service, {"components": {"predictor": state}, "url": f"http://{name}.{namespace}.example.com"})

    def _revise(self, service: Json, template: Json, content: str, number: int) -> Json:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        head = {
            "name": f"{name}-predictor-{number:05d}",
            "namespace": namespace,
            "labels": {LABEL: name},
            "annotations": template["annotations"],
            "ownerReferences": [_owner(service)],
        }
        made = self.kube.add(KNATIVE_REVISIONS, {"metadata": head, "spec": {"content": content}})
        owner = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Revision",
            "name": head["name"],
            "uid": made["metadata"]["uid"],
        }
        is_dead = template["annotations"][LABEL_REVISION] in self.dead
        self._start_pod(f"{head['name']}-0", namespace, template["labels"], owner, is_ready=not is_dead)
        return made

    def _split_knative(self, state: Json, percent: int | None) -> None:
        """After ksvc_reconciler.go: what is rolled out is what was last seen ready with all traffic."""
        latest, rolled = state.get("latestReadyRevision"), state.get("latestRolledoutRevision", "")
        if latest is None:
            return
        if percent is None or percent >= 100 or not rolled:
            traffic = [{"revisionName": latest, "latestRevision": True, "percent": 100}]
        else:
            is_new = latest != rolled
            if not is_new and latest == state["latestCreatedRevision"]:
                # A percent without a new template reads as a rollback.
                rolled = state.get("previousRolledoutRevision", rolled)
            traffic = [
                {"revisionName": latest, "latestRevision": True, "percent": percent},
                {"revisionName": rolled, "tag": "prev", "percent": 100 - percent},
            ]
        if traffic[0]["percent"] == 100 and state.get("latestRolledoutRevision") != latest:
            state["previousRolledoutRevision"] = state.get("latestRolledoutRevision", "")
            state["latestRolledoutRevision"] = latest
        state["traffic"] = traffic


def _owner(service: Json) -> Json:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": service["metadata"]["name"],
        "uid": service["metadata"]["uid"],
        "controller": True,
    }
