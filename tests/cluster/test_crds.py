"""The definitions are served by a real API server, which refuses what local validation refuses, in the same words."""

from typing import Any

import pytest

from graft_core.api.validation import validate_object
from graft_operator.local.manifests import read_manifests
from tests.cluster.api import Api, ApiError, Json
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import GATEWAY_API, KSERVE, our_crds
from tests.core.api.objects import a_job, a_release, changed
from tests.core.api.test_bad_objects import IMMUTABLE, JOBS, RELEASES
from tests.house import ROOT

pytestmark = pytest.mark.cluster

EXAMPLES = sorted((ROOT / "examples").glob("*/*.yaml"))

LOCAL_ONLY = {"22", "22b", "22c"}
"""Rules on others' metadata cannot stand in a CRD; on a cluster an admission policy has them."""
NO_OBJECT = {"kind", "version", "meta", "ns", "14d", "date", "key", "key2", "bool", "5"}
"""Documents that are no JSON, or that have no place on a server: there is no request to refuse."""


def rules() -> list[str]:
    """Messages of all CEL rules of our definitions."""

    def walk(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [rule["message"] for rule in node.get("x-kubernetes-validations", ())]
            return own + [message for value in node.values() for message in walk(value)]
        if isinstance(node, list):
            return [message for value in node for message in walk(value)]
        return []

    return walk(our_crds())


RULES = set(rules())
BAD = [
    pytest.param(changed(document(), field, value), id=f"{kind} {number}")
    for kind, document, table in (("job", a_job, JOBS), ("release", a_release, RELEASES))
    for number, field, value, *_ in table
    if number not in LOCAL_ONLY | NO_OBJECT
]


@pytest.mark.parametrize("crd", [*our_crds()], ids=lambda crd: crd["metadata"]["name"])
def test_our_definitions_are_established(control_plane: ControlPlane, crd: Json) -> None:
    stored = control_plane.api.get(crd["apiVersion"], crd["kind"], "", crd["metadata"]["name"])
    conditions = {condition["type"]: condition["status"] for condition in stored["status"]["conditions"]}

    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    # A schema that is not structural, or a rule over the cost limit, would be told here.
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize(
    ("api_version", "kinds"),
    [
        ("serving.kserve.io/v1beta1", {"InferenceService"}),
        ("serving.kserve.io/v1alpha1", {"ServingRuntime", "ClusterStorageContainer"}),
        ("gateway.networking.k8s.io/v1", {"Gateway", "GatewayClass", "HTTPRoute"}),
    ],
)
def test_the_kinds_of_others_are_served(control_plane: ControlPlane, api_version: str, kinds: set[str]) -> None:
    served = {item["kind"] for item in control_plane.api.request("GET", f"/apis/{api_version}")["resources"]}

    assert kinds <= served


def test_definitions_of_others_come_from_their_modules() -> None:
    assert "inferenceservices.serving.kserve.io" in {crd["metadata"]["name"] for crd in KSERVE.crds()}
    assert "httproutes.gateway.networking.k8s.io" in {crd["metadata"]["name"] for crd in GATEWAY_API.crds()}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_example_is_accepted(control_plane: ControlPlane, namespace: str, path: Any) -> None:
    (document,) = read_manifests([str(path)]).documents  # as `graft apply` reads it: relative URIs made absolute

    stored = control_plane.api.create(changed(document.body, "metadata.namespace", namespace))

    assert stored["metadata"]["uid"]


@pytest.mark.parametrize("document", BAD)
def test_what_is_refused_here_is_refused_there(control_plane: ControlPlane, document: Json) -> None:
    document = {**document, "metadata": {**document["metadata"], "namespace": "default"}}
    faults = validate_object(document)

    answer = refusal(control_plane.api, document)

    for fault in faults:
        if fault.message in RULES:
            assert fault.message in answer
            assert fault.path in answer


@pytest.mark.parametrize(("field", "value"), IMMUTABLE, ids=[field for field, _ in IMMUTABLE])
def test_a_field_that_may_not_change_is_refused_in_the_same_words(
    control_plane: ControlPlane, namespace: str, field: str, value: object
) -> None:
    before = changed(a_job(), "metadata.namespace", namespace)
    after = changed(before, field, value)
    control_plane.api.create(before)
    (fault,) = validate_object(after, before)

    with pytest.raises(ApiError) as caught:
        control_plane.api.patch(before, {"spec": after["spec"]})

    assert caught.value.status == 422
    assert fault.message in caught.value.message


@pytest.mark.parametrize("make", [a_job, a_release])
def test_defaults_are_the_same_on_both_sides(control_plane: ControlPlane, namespace: str, make: Any) -> None:
    from graft_core.api.validation import apply_defaults

    document = changed(make(), "metadata.namespace", namespace)

    assert control_plane.api.create(document)["spec"] == apply_defaults(document)["spec"]


def refusal(api: Api, document: Json) -> str:
    """What the server says to the document; fails where it is accepted."""
    with pytest.raises(ApiError) as caught:
        api.create(document, dry_run=True)
    assert 400 <= caught.value.status < 500
    return caught.value.message
