"""The stand-in for KServe's pod webhook gives a predictor's pod its model, as the real one was seen to."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import ApiError, Json
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kserve_standin.objects import LABEL, SOURCE_URI
from tests.cluster.kserve_standin.podwebhook import MODELS, serving_pods
from tests.cluster.processes import until

pytestmark = pytest.mark.cluster

FETCH = {"name": "storage-initializer", "image": "localhost/fetch:1", "args": ["ignored"]}


def a_pod(namespace: str, uri: str, **metadata: Any) -> Json:
    env = [{"name": "STORAGE_URI", "value": uri}, {"name": "A", "value": "b"}]
    context = {"allowPrivilegeEscalation": False}
    container = {"name": "kserve-container", "image": "localhost/p:1", "env": env, "securityContext": context}
    labels, annotations = {LABEL: "demo"}, {SOURCE_URI: uri}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace, "labels": labels, "annotations": annotations, **metadata},
        "spec": {"automountServiceAccountToken": False, "containers": [container]},
    }


@pytest.fixture(scope="module")
def webhook(control_plane: ControlPlane) -> Iterator[None]:
    api = control_plane.api
    api.apply(
        {
            "apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "ClusterStorageContainer",
            "metadata": {"name": "graft-test"},
            "spec": {"container": FETCH, "supportedUriFormats": [{"prefix": "s3://"}]},
        }
    )
    with serving_pods(api):

        def is_called() -> bool:
            made = api.create(a_pod("default", "pvc://models/x"), dry_run=True)
            return "volumes" in made["spec"]

        until(is_called, 30, "the webhook to be called")
        yield


@pytest.mark.usefixtures("webhook")
def test_a_claim_is_mounted(control_plane: ControlPlane, namespace: str) -> None:
    spec = control_plane.api.create(a_pod(namespace, "pvc://models/x"))["spec"]

    (container,) = spec["containers"]
    mount = {"mountPath": MODELS, "name": "kserve-pvc-source", "readOnly": True, "subPath": "x"}
    assert container["volumeMounts"] == [mount]
    assert container["env"] == [{"name": "STORAGE_URI", "value": MODELS}, {"name": "A", "value": "b"}]
    assert spec["volumes"] == [{"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": "models"}}]
    assert "initContainers" not in spec


@pytest.mark.usefixtures("webhook")
def test_another_uri_is_fetched_by_the_container_that_supports_it(control_plane: ControlPlane, namespace: str) -> None:
    spec = control_plane.api.create(a_pod(namespace, "s3://bucket/adapter"))["spec"]

    (fetch,) = spec["initContainers"]
    assert fetch["image"] == FETCH["image"]
    assert fetch["args"] == ["s3://bucket/adapter", MODELS]
    assert fetch["securityContext"] == spec["containers"][0]["securityContext"]
    assert fetch["volumeMounts"] == [{"name": "kserve-provision-location", "mountPath": MODELS}]
    assert spec["volumes"] == [{"name": "kserve-provision-location", "emptyDir": {}}]


@pytest.mark.usefixtures("webhook")
def test_what_nothing_supports_is_refused(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ApiError, match="no ClusterStorageContainer supports the storage URI 'gs://bucket/x'"):
        control_plane.api.create(a_pod(namespace, "gs://bucket/x"))


@pytest.mark.usefixtures("webhook")
def test_other_pods_are_left_alone(control_plane: ControlPlane, namespace: str) -> None:
    pod = a_pod(namespace, "gs://bucket/x", labels={})

    assert "volumes" not in control_plane.api.create(pod)["spec"]
