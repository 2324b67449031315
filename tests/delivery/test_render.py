"""The chart rendered by Helm: as it is kept, as the API server takes it, and what an upgrade and an uninstallation leave."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.core.api.objects import a_job, a_release, changed
from tests.delivery.chart import CASES, CHART, NAMESPACE, OVERLAYS, ci_values, documents, of_kind, only
from tests.house import ROOT

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAMESPACES = (NAMESPACE, "ml", "shop")


@pytest.fixture(scope="module")
def plane(control_plane: "ControlPlane") -> "ControlPlane":
    """The session's control plane, with what an installation needs there."""
    from tests.delivery.kubectl import ensure_namespace, install_monitoring

    install_monitoring(control_plane)
    for name in NAMESPACES:
        ensure_namespace(control_plane.api, name, {"pod-security.kubernetes.io/enforce": "restricted"})
    return control_plane


def test_what_is_kept_is_what_helm_renders() -> None:
    from tests.delivery.rendering import outputs

    stale = [
        str(path.relative_to(ROOT))
        for path, text in outputs()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run: make renders"


def test_the_definitions_are_rendered_as_they_are() -> None:
    from tests.delivery.rendering import render

    made = {each["metadata"]["name"]: each for each in of_kind(documents(render()), "CustomResourceDefinition")}
    for path in (ROOT / "manifests" / "crds").glob("*.yaml"):
        (crd,) = documents(path.read_text(encoding="utf-8"))
        rendered = made[crd["metadata"]["name"]]
        assert rendered["spec"] == crd["spec"]
        assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    left = documents(render("--set", "crds.keep=false"))
    assert not any("annotations" in each["metadata"] for each in of_kind(left, "CustomResourceDefinition"))


def test_helm_finds_nothing_to_mend() -> None:
    from tests.cluster.programs import KUBE_VERSION
    from tests.delivery.rendering import helm

    for case in CASES:
        said = helm("lint", str(CHART), "--strict", "--kube-version", KUBE_VERSION, "--values", str(ci_values(case)))
        assert "0 chart(s) failed" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("config.loglevel=INFO", "loglevel"),
        ("replicas=many", "replicas"),
        ("metrics.serviceMonitor.enabled=true,metrics.service.enabled=false", "a ServiceMonitor needs the Service"),
        ("admissionPolicies.models.enabled=true", "there is nothing to hold objects to"),
    ],
)
def test_helm_refuses_values_that_make_no_sense(given: str, said: str) -> None:
    from tests.delivery.rendering import render

    with pytest.raises(AssertionError, match=said):
        render("--set", given)


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_takes_the_chart(plane: "ControlPlane", case: str) -> None:
    from tests.delivery.kubectl import kubectl
    from tests.delivery.rendering import render

    text = render("--values", str(ci_values(case)))
    said = kubectl(plane, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", given=text)
    assert said.count("(server dry run)") == len(documents(text))
    assert "Warning" not in said, said


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_server_takes_the_overlay(plane: "ControlPlane", overlay: str) -> None:
    from tests.delivery.kubectl import kubectl, kustomize

    text = kustomize(ROOT / "kustomize" / "overlays" / overlay)
    said = kubectl(plane, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", given=text)
    assert said.count("(server dry run)") == len(documents(text))
    assert "Warning" not in said, said
    objects = documents(text)
    deployment = only(objects, "Deployment")
    assert deployment["spec"]["replicas"] == (1 if overlay == "dev" else 2)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert len({one["name"] for one in container["env"]}) == len(container["env"])


@pytest.mark.parametrize("folder", ["manifests/samples", "manifests/rbac", "kustomize/workload"])
def test_the_api_server_takes_the_rest(plane: "ControlPlane", folder: str) -> None:
    from tests.delivery.kubectl import kubectl

    is_kustomize = folder.startswith("kustomize")
    where = ["-n", "ml", "-k"] if is_kustomize else ["-f"]
    said = kubectl(plane, "apply", "--server-side", "--dry-run=server", *where, str(ROOT / folder))
    assert "(server dry run)" in said
    assert "Warning" not in said, said


def test_the_operators_pod_is_admitted_where_restricted_is_enforced(plane: "ControlPlane") -> None:
    from tests.delivery.chart import golden

    for case in CASES:
        template = only(golden(case), "Deployment")["spec"]["template"]
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": template["spec"]["serviceAccountName"], "namespace": NAMESPACE},
        }
        plane.api.apply(account)
        meta = {**template["metadata"], "name": f"operator-{case}", "namespace": NAMESPACE}
        plane.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}, dry_run=True)


def test_upgrade_rollback_and_uninstallation_leave_what_serves(own_plane: "StartPlane", tmp_path: Path) -> None:
    from tests.cluster.crds import KSERVE, install
    from tests.delivery.rendering import helm

    plane = own_plane(controllers=("garbage-collector-controller",))
    api = plane.api
    install(api, KSERVE.crds())
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"replicas": 2, "config": {"logLevel": "DEBUG"}}), encoding="utf-8")

    def run(command: str, *arguments: str) -> str:
        return helm(command, "graft", *arguments, "--namespace", NAMESPACE, kubeconfig=plane.kubeconfig)

    def operator() -> dict[str, object]:
        return dict(api.get("apps/v1", "Deployment", NAMESPACE, "graft-operator")["spec"])

    notes = run("install", str(CHART), "--create-namespace")
    assert "It serves all namespaces." in notes
    assert "config.domain is still example.com" in notes
    assert "serves no InferenceServices" not in notes
    job = api.create(changed(a_job(), "metadata.namespace", "default"))
    release = api.create(changed(a_release(), "metadata.namespace", "default"))
    owner = {"apiVersion": "graft.dev/v1alpha1", "kind": "ModelRelease", "controller": True}
    owner |= {"name": release["metadata"]["name"], "uid": release["metadata"]["uid"]}
    service = api.create(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "shop", "namespace": "default", "ownerReferences": [owner]},
            "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "predictor"}]}},
        }
    )
    ours = (job, release, service)

    def all_are_as_they_were() -> bool:
        return all(
            api.get(one["apiVersion"], one["kind"], "default", one["metadata"]["name"])["metadata"]["resourceVersion"]
            == one["metadata"]["resourceVersion"]
            for one in ours
        )

    run("upgrade", str(CHART), "--values", str(values))
    assert operator()["replicas"] == 2
    assert all_are_as_they_were()
    run("rollback", "1")
    assert operator()["replicas"] == 1
    assert all_are_as_they_were()
    run("uninstall")
    assert api.find("apps/v1", "Deployment", NAMESPACE, "graft-operator") is None
    assert api.find("rbac.authorization.k8s.io/v1", "ClusterRole", "", "graft-operator") is None
    assert api.list("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") == []
    assert all_are_as_they_were()

    run("install", str(CHART))  # and it comes back over the definitions that were kept
    assert all_are_as_they_were()
