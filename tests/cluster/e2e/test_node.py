"""The node is real: pods run under restricted Pod Security, Jobs end, Services balance, the gateway splits by weight."""

from collections import Counter
from typing import Any

import httpx
import pytest

from tests.cluster.api import Api, ApiError
from tests.cluster.e2e.pods import a_pod
from tests.cluster.node.services import GATEWAY_NAME, GATEWAY_NAMESPACE, GATEWAY_PORT
from tests.cluster.processes import HOST, until

pytestmark = pytest.mark.cluster

WAIT_S = 60
Json = dict[str, Any]
HOSTNAME = "split.example.com"
REQUESTS = 200


def serve(api: Api, namespace: str, name: str, replicas: int = 1) -> None:
    """A Deployment that answers with its name, and a Service in front of it."""
    labels = {"app": name}
    pod = a_pod("serve", name)
    pod["containers"][0] |= {"ports": [{"containerPort": 8080}]}
    pod["containers"][0] |= {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}
    metadata = {"name": name, "namespace": namespace}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    ports = [{"port": 80, "targetPort": 8080}]
    api.create(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}}
    )

    def is_available() -> bool:
        status = api.get("apps/v1", "Deployment", namespace, name).get("status", {})
        return bool(status.get("availableReplicas", 0) == replicas)

    until(is_available, WAIT_S, f"{name} to be available")


def split(api: Api, namespace: str, **weights: int) -> None:
    backends = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
    api.apply(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "split", "namespace": namespace},
            "spec": {
                "hostnames": [HOSTNAME],
                "parentRefs": [{"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE}],
                "rules": [{"backendRefs": backends}],
            },
        }
    )


def ask(url: str, times: int, host: str = HOSTNAME) -> Counter[str]:
    with httpx.Client(trust_env=False, headers={"Host": host}) as client:
        return Counter(
            answer.text if answer.is_success else str(answer.status_code) for answer in map(client.get, [url] * times)
        )


def test_every_node_is_ready(api: Api) -> None:
    for node in api.list("v1", "Node"):
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"


def test_a_job_runs_to_its_end_under_restricted(api: Api, namespace: str) -> None:
    spec = {"backoffLimit": 0, "template": {"spec": a_pod("exit", "0", restartPolicy="Never")}}
    api.create(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": namespace}, "spec": spec}
    )

    until(
        lambda: api.get("batch/v1", "Job", namespace, "j").get("status", {}).get("succeeded") == 1,
        WAIT_S,
        "the Job to succeed",
    )


def test_an_exit_code_reaches_the_pods_status(api: Api, namespace: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace}}
    api.create({**pod, "spec": a_pod("exit", "3", restartPolicy="Never")})

    until(lambda: api.get("v1", "Pod", namespace, "p")["status"]["phase"] == "Failed", WAIT_S, "the pod to fail")

    (container,) = api.get("v1", "Pod", namespace, "p")["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 3


def test_a_privileged_pod_is_refused(api: Api, namespace: str) -> None:
    spec = a_pod("exit", "0")
    spec["containers"][0]["securityContext"] = {"privileged": True}

    with pytest.raises(ApiError, match="violates PodSecurity"):
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace}, "spec": spec})


def test_the_gateway_splits_by_weight_and_follows_a_change(api: Api, namespace: str) -> None:
    for name in ("old", "new"):
        serve(api, namespace, name)
    gateway = f"http://{HOST}:{GATEWAY_PORT}/"

    split(api, namespace, old=90, new=10)
    until(lambda: ask(gateway, 1).keys() <= {"old", "new"}, WAIT_S, "the route")
    seen = ask(gateway, REQUESTS)
    assert seen["old"] + seen["new"] == REQUESTS
    assert 0.04 < seen["new"] / REQUESTS < 0.20

    split(api, namespace, old=0, new=100)
    until(lambda: ask(gateway, 20) == {"new": 20}, WAIT_S, "all requests at new")
