"""What is rendered for a FineTuneJob is admitted by a real API server, in a namespace that enforces Pod Security `restricted`."""

import copy

import pytest

from graft_operator.render.kube.config_map import render_request_config_map
from tests.builders import a_finetunejob
from tests.cluster.api import ApiError, Json
from tests.cluster.controlplane import ControlPlane
from tests.cluster.tenants import make_namespace
from tests.operator.render.kube.test_children import (
    EVERY_DEFAULT,
    EVERY_OPTION,
    STORED,
    a_job,
    a_request,
    every_kind,
    pod_of,
)

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def restricted(control_plane: ControlPlane) -> str:
    """A namespace that admits restricted pods only, with what the pods of `every_kind` name."""
    api = control_plane.api
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    namespace = make_namespace(api, labels=levels)
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trainer", "namespace": namespace}})
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "batch"},
        "value": 1,
    }
    try:
        api.create(priority)
    except ApiError as error:
        if error.status != 409:  # made by a test before
            raise
    return namespace


def placed(body: Json, namespace: str) -> Json:
    """Put an object into the test's namespace; its owner is not there, and that is not what is tested."""
    body = copy.deepcopy(body)
    body["metadata"]["namespace"] = namespace
    body["metadata"].pop("ownerReferences", None)
    return body


RENDERED = [*every_kind()]


@pytest.mark.parametrize("rendered", RENDERED, ids=lambda one: one["metadata"]["name"])
def test_every_pod_is_admitted(control_plane: ControlPlane, restricted: str, rendered: Json) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod_of(rendered)}
    control_plane.api.create(placed(pod, restricted), dry_run=True)


@pytest.mark.parametrize("rendered", [one for one in RENDERED if one["kind"] == "Job"], ids=lambda one: one["kind"])
def test_every_job_and_its_request_are_accepted(control_plane: ControlPlane, restricted: str, rendered: Json) -> None:
    control_plane.api.create(placed(rendered, restricted), dry_run=True)
    request = render_request_config_map(a_finetunejob(STORED), a_request(STORED))
    control_plane.api.create(placed(request, restricted), dry_run=True)


def test_a_pod_that_is_less_strict_is_not_admitted(control_plane: ControlPlane, restricted: str) -> None:
    spec = copy.deepcopy(pod_of(a_job(EVERY_OPTION, defaults=EVERY_DEFAULT)))
    del spec["containers"][0]["securityContext"]["capabilities"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    with pytest.raises(ApiError, match="unrestricted capabilities"):
        control_plane.api.create(placed(pod, restricted), dry_run=True)


def test_the_parts_of_a_job_that_must_not_change_cannot(control_plane: ControlPlane, restricted: str) -> None:
    request = placed(render_request_config_map(a_finetunejob(STORED), a_request(STORED)), restricted)
    control_plane.api.create(request)
    changed = {**request, "data": {"request.json": "{}"}}
    with pytest.raises(ApiError, match="immutable"):
        control_plane.api.apply(changed)
    noted = {key: value for key, value in request.items() if key in {"apiVersion", "kind"}}
    meta = {
        "name": request["metadata"]["name"],
        "namespace": restricted,
        "annotations": {"graft.dev/stopped-train": "End"},
    }
    control_plane.api.apply({**noted, "metadata": meta})
