"""The chart's admission policies on a real API server: what they refuse, in which words, and what they let through."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import yaml

from tests.core.api.objects import a_job, a_release, changed
from tests.core.api.test_bad_objects import JOBS
from tests.delivery.chart import NAMESPACE, Json, documents

if TYPE_CHECKING:
    from tests.cluster.api import Api
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ALL: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
    {"apiGroups": ["graft.dev"], "resources": ["finetunejobs", "modelreleases"], "verbs": ["*"]},
    {"apiGroups": ["serving.kserve.io"], "resources": ["inferenceservices"], "verbs": ["*"]},
    {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"], "verbs": ["*"]},
]
ADMISSION = "admissionregistration.k8s.io/v1"
POLICY = "ValidatingAdmissionPolicy"
POD: Json = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}
OWNED: dict[str, tuple[Json, Json]] = {
    "ConfigMap": ({"apiVersion": "v1", "data": {"a": "1"}}, {"data": {"a": "2"}}),
    "Job": ({"apiVersion": "batch/v1", "spec": {"template": {"spec": POD}}}, {"spec": {"suspend": True}}),
    "InferenceService": (
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "predictor"}]}},
        },
        {"spec": {"predictor": {"minReplicas": 7}}},
    ),
    "HTTPRoute": (
        {"apiVersion": "gateway.networking.k8s.io/v1", "spec": {"hostnames": ["a.example.com"]}},
        {"spec": {"hostnames": ["b.example.com"]}},
    ),
}
"""What belongs to an object of Graft's, and a change to it."""


@dataclass
class Guarded:
    """A namespace under the policies, and who works in it."""

    admin: "Api"
    operator: "Api"
    tenant: "Api"
    collector: "Api"
    namespace: str

    def owned(self, kind: str, name: str) -> Json:
        """Build an object that belongs to a FineTuneJob."""
        uid = "0b6f1c1e-0000-4000-8000-000000000001"
        owner = {"apiVersion": "graft.dev/v1alpha1", "kind": "FineTuneJob", "name": "tune", "uid": uid}
        meta = {
            "name": name,
            "namespace": self.namespace,
            "labels": {"graft.dev/uid": uid},
            "ownerReferences": [{**owner, "controller": True}],
        }
        return {"kind": kind, "metadata": meta, **OWNED[kind][0]}

    def here(self, body: Json) -> Json:
        """Put an object into the namespace, under a name of its own."""
        named = changed(body, "metadata.name", f"o-{uuid4().hex[:6]}")
        return changed(named, "metadata.namespace", self.namespace)


@pytest.fixture(scope="module")
def guarded(control_plane: "ControlPlane", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    from tests.cluster.api import Api
    from tests.cluster.tenants import make_namespace, make_user
    from tests.delivery.kubectl import ensure_namespace

    api, name = control_plane.api, f"policies-{uuid4().hex[:6]}"
    namespace = make_namespace(api)
    ensure_namespace(api, NAMESPACE)
    policies = rendered(name, namespace, tmp_path_factory.mktemp("values"))
    for body in policies:
        api.apply(body)
    users = {
        "operator": make_user(api, NAMESPACE, f"{name}-operator", ALL, cluster_wide=True),
        "tenant": make_user(api, namespace, "tenant", ALL),
        "collector": make_user(api, "kube-system", f"{name}-collector", ALL, cluster_wide=True),
    }
    clients = {who: Api(access) for who, access in users.items()}
    made = Guarded(api, **clients, namespace=namespace)
    wait_until_enforced(made, [body for body in policies if body["kind"] == POLICY])
    yield made
    for body in policies:
        api.delete(body)
    for client in clients.values():
        client.http.close()


def rendered(name: str, namespace: str, folder: Path) -> list[Json]:
    """Render the policies, bound to one namespace, so that no other test meets them."""
    from tests.delivery.rendering import render

    values = {
        "fullnameOverride": name,
        "watchNamespaces": [namespace],
        "config": {"allowedLicenses": ["apache-2.0", "mit"]},
        "admissionPolicies": {
            "ownedObjects": {"enabled": True},
            "images": {"enabled": True, "allowed": ["registry.example.com/"], "requireDigest": True},
            "models": {"enabled": True, "allowed": ["Qwen/*", "mistralai/Mistral-7B-v0.3"]},
        },
    }
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    made = documents(render("--values", str(path)))
    return [each for each in made if each["kind"].startswith(POLICY)]


def wait_until_enforced(guarded: Guarded, policies: list[Json]) -> None:
    """A policy is compiled and enforced a moment after it is stored, each in its own time."""
    from tests.cluster.api import ApiError
    from tests.cluster.processes import until

    probes = {
        "owned-objects": guarded.owned("ConfigMap", "probe"),
        "reserved-keys": changed(guarded.here(a_job()), "metadata.annotations", {"graft.dev/x": "1"}),
        "images": changed(guarded.here(a_job()), "spec.runtime", {"image": "docker.io/x"}),
        "models": changed(guarded.here(a_job()), "spec.model.id", "other/model"),
    }

    def is_refused(probe: Json) -> bool:
        try:
            guarded.tenant.create(probe, dry_run=True)
        except ApiError as error:
            return POLICY in error.message
        return False

    assert len(policies) == len(probes)
    for name, probe in probes.items():
        until(partial(is_refused, probe), 60, f"the policy {name}")


def test_the_server_finds_no_fault_with_the_policies(own_plane: "StartPlane", tmp_path: Path) -> None:
    from tests.cluster.crds import install, our_crds
    from tests.cluster.processes import until

    plane = own_plane(controllers=("validatingadmissionpolicy-status-controller",))
    install(plane.api, our_crds())
    policies = [one for one in rendered("checked", "default", tmp_path) if one["kind"] == POLICY]
    for body in policies:
        plane.api.apply(body)

    def warnings() -> dict[str, Any]:
        found = {one["metadata"]["name"]: one.get("status", {}) for one in plane.api.list(ADMISSION, POLICY)}
        return {
            name: status.get("typeChecking", {}).get("expressionWarnings", [])
            for name, status in found.items()
            if status
        }

    until(lambda: len(warnings()) == len(policies), 60, "the type check")
    assert not any(warnings().values()), warnings()


@pytest.mark.parametrize("kind", OWNED)
def test_what_belongs_to_graft_is_changed_by_graft_alone(guarded: Guarded, kind: str) -> None:
    from tests.cluster.api import ApiError

    change = OWNED[kind][1]
    told = r"belongs to FineTuneJob tune, and only Graft makes, changes and deletes it: change FineTuneJob tune instead"
    with pytest.raises(ApiError, match=told):
        guarded.tenant.create(guarded.owned(kind, f"mine-{kind.lower()}"))
    made = guarded.operator.create(guarded.owned(kind, f"ours-{kind.lower()}"))
    for refused in (
        change,
        {"metadata": {"ownerReferences": None}},
        {"metadata": {"labels": {"graft.dev/uid": "another"}}},
        {"metadata": {"annotations": {"graft.dev/pinned": "{}"}}},
    ):
        with pytest.raises(ApiError, match=told) as caught:
            guarded.tenant.patch(made, refused)
        assert caught.value.status == 403
    with pytest.raises(ApiError, match=told):
        guarded.tenant.delete(made)
    # Labels and finalizers of others are nobody's concern here, and the collector collects.
    guarded.tenant.patch(made, {"metadata": {"labels": {"team": "shop"}, "finalizers": ["example.com/f"]}})
    guarded.tenant.patch(made, {"metadata": {"finalizers": None}})
    guarded.operator.patch(made, change)
    guarded.collector.delete(made)


@pytest.mark.parametrize("kind", OWNED)
def test_what_belongs_to_nobody_of_grafts_is_free(guarded: Guarded, kind: str) -> None:
    body = changed(guarded.owned(kind, f"free-{kind.lower()}"), "metadata.ownerReferences", [])
    made = guarded.tenant.create(body)
    guarded.tenant.patch(made, OWNED[kind][1])
    guarded.tenant.delete(made)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (
            "docker.io/evil/trainer@sha256:" + "1" * 64,
            "expected an image that begins with one of registry.example.com/",
        ),
        ("registry.example.com/trainer:latest", "has no digest; expected NAME@sha256:"),
        ("registry.example.com.evil.io/trainer@sha256:" + "1" * 64, "is not allowed here"),
    ],
)
def test_images_come_from_where_the_chart_says(guarded: Guarded, image: str, said: str) -> None:
    from tests.cluster.api import ApiError

    for body, path in ((a_job(), "spec.runtime"), (a_release(), "spec.engine")):
        engine = {} if path == "spec.runtime" else {"type": "tgi"}
        with pytest.raises(ApiError) as caught:
            guarded.tenant.create(changed(guarded.here(body), path, {**engine, "image": image}), dry_run=True)
        assert f"{path}.image '{image}'" in caught.value.message
        assert said in caught.value.message
        allowed = {**engine, "image": "registry.example.com/x@sha256:" + "1" * 64}
        guarded.tenant.create(changed(guarded.here(body), path, allowed), dry_run=True)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"id": "other/model"}, "spec.model.id 'other/model' is not allowed here; expected one of Qwen/*, mistralai"),
        ({"id": "mistralai/Mistral-7B-v0.31"}, "is not allowed here"),
        (
            {"license": "cc-by-nc-4.0"},
            "spec.model.license 'cc-by-nc-4.0' is not allowed here; expected one of apache-2.0",
        ),
    ],
)
def test_models_and_licences_are_those_of_the_chart(guarded: Guarded, model: Json, said: str) -> None:
    from tests.cluster.api import ApiError

    body = guarded.here(a_job())
    with pytest.raises(ApiError) as caught:
        guarded.tenant.create(changed(body, "spec.model", {**body["spec"]["model"], **model}), dry_run=True)
    assert said in caught.value.message
    for fine in ({"license": "MIT"}, {"id": "mistralai/Mistral-7B-v0.3"}):
        guarded.tenant.create(changed(body, "spec.model", {**body["spec"]["model"], **fine}), dry_run=True)


def test_an_object_of_yesterdays_rules_can_still_be_finished_and_deleted(
    guarded: Guarded, control_plane: "ControlPlane"
) -> None:
    body = changed(guarded.here(a_job()), "spec.model.id", "other/model")
    # As if it had been there before: the operator is not asked about models either way, but a binding is taken away meanwhile.
    bindings = control_plane.api.list(ADMISSION, f"{POLICY}Binding")
    (binding,) = [one for one in bindings if one["metadata"]["name"].startswith("policies-") and "models" in str(one)]
    from tests.cluster.api import ApiError
    from tests.cluster.processes import until

    control_plane.api.delete(binding)

    def made() -> bool:
        try:
            guarded.tenant.create(body)
        except ApiError:
            return False
        return True

    until(made, 60, "the policy to rest")
    control_plane.api.apply(
        {key: binding[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": named(binding)}
    )
    other = changed(body, "metadata.name", "another")

    def is_refused() -> bool:
        try:
            guarded.tenant.create(other, dry_run=True)
        except ApiError:
            return True
        return False

    until(is_refused, 60, "the policy to hold again")
    guarded.operator.patch(body, {"metadata": {"finalizers": ["graft.dev/finalizer"]}})
    guarded.tenant.patch(body, {"metadata": {"labels": {"team": "shop"}}})
    guarded.tenant.delete(body)
    guarded.operator.patch(body, {"metadata": {"finalizers": None}})
    assert guarded.admin.find("graft.dev/v1alpha1", "FineTuneJob", guarded.namespace, body["metadata"]["name"]) is None


@pytest.mark.parametrize(
    ("field", "value", "said"), [row[1:3] + row[4:5] for row in JOBS if row[0] in {"22", "22b", "22c"}]
)
def test_grafts_own_keys_are_refused_in_the_words_of_validation(
    guarded: Guarded, field: str, value: object, said: str
) -> None:
    from tests.cluster.api import ApiError

    for body in (a_job(), a_release()):
        bad = changed(guarded.here(body), field, value)
        with pytest.raises(ApiError) as caught:
            guarded.tenant.create(bad)
        assert field in caught.value.message
        assert said in caught.value.message
        guarded.operator.create(bad)
        # Keys that are there are not asked about again, and those of others never are.
        guarded.tenant.patch(bad, {"metadata": {"labels": {"notgraft.dev/a": "1"}}})
        with pytest.raises(ApiError, match=r"metadata\.labels\.x\.graft\.dev/a: keys with the prefix graft\.dev/"):
            guarded.tenant.patch(bad, {"metadata": {"labels": {"x.graft.dev/a": "1"}}})


def named(body: Json) -> Json:
    return {"name": body["metadata"]["name"]}
