"""Render the chart with Helm: `make renders` writes the golden renders and all that is made from the chart.

tests/golden/chart            what each file of values is rendered to, without the CRDs
manifests/install.yaml        the chart with its own values, for kubectl
kustomize/components, /workload   objects that an overlay may take beside those
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import yaml

from graft_operator.cli.output import to_yaml
from tests.cluster.programs import HELM, KUBE_VERSION
from tests.delivery.chart import CASES, CHART, GOLDEN, INSTALL, KEY, NAMESPACE, Json, chart_key, ci_values, documents
from tests.house import ROOT

__all__ = ["helm", "outputs", "render"]

RELEASE = "graft"
MADE = "Rendered from charts/graft; `make renders` writes it."
HELM_ONLY = ("helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by")
KUSTOMIZE = ROOT / "kustomize"
EVERYTHING = {
    "replicas": 2,
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "predictorMonitor": {"enabled": True},
        "rules": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "admissionPolicies": {"ownedObjects": {"enabled": True}},
    "networkPolicies": {"enabled": True, "namespaces": ["workload"]},
}
PIECES: dict[str, Callable[[Json], bool]] = {
    "components/ha/resources.yaml": lambda o: o["kind"] == "PodDisruptionBudget",
    "components/monitoring/resources.yaml": lambda o: (
        o["kind"] in {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
    ),
    "components/admission-policies/resources.yaml": lambda o: (
        o["kind"].startswith("ValidatingAdmissionPolicy") and o["metadata"]["name"].endswith("owned-objects")
    ),
    "components/network-policies/resources.yaml": lambda o: (
        o["kind"] == "NetworkPolicy" and o["metadata"]["namespace"] == NAMESPACE
    ),
    "workload/resources.yaml": lambda o: o["kind"] == "NetworkPolicy" and o["metadata"]["namespace"] == "workload",
}


@cache
def helm_program() -> Path:
    """Return Helm, built at first use."""
    return HELM.build() / "helm"


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """Run Helm and return what it says.

    Args:
        *arguments: Of the command line.
        kubeconfig: Of a cluster; none for commands that need none.

    Returns:
        Its standard output.

    Raises:
        AssertionError: It failed; with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="graft-helm-") as home:
        places = {f"HELM_{kind}_HOME": f"{home}/{kind}" for kind in ("CACHE", "CONFIG", "DATA")}
        places["KUBECONFIG"] = str(kubeconfig or f"{home}/none")
        done = subprocess.run(
            [str(helm_program()), *arguments], env={**os.environ, **places}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise AssertionError(f"helm {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def render(*arguments: str) -> str:
    """Render the chart."""
    return helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBE_VERSION, *arguments)


def outputs() -> Iterator[tuple[Path, str]]:
    """Yield every file that is made with Helm, with its text."""
    for case in CASES:
        text = render("--values", str(ci_values(case)), "--set", "crds.enabled=false")
        yield GOLDEN / f"{case}.yaml", text.removeprefix("---\n")
    plain = [_without_helm(each) for each in documents(render())]
    yield INSTALL, _dump([_namespace(), *sorted(plain, key=lambda o: o["kind"] != "CustomResourceDefinition")])
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
        yaml.safe_dump(EVERYTHING, values)
        values.flush()
        everything = [_without_helm(each) for each in documents(render("--values", values.name))]
    for name, is_part in PIECES.items():
        found = [each for each in everything if is_part(each)]
        if name.startswith("workload/"):
            for each in found:
                del each["metadata"]["namespace"]  # each namespace of jobs and releases gets its own
        yield KUSTOMIZE / name, _dump(found)
    yield KEY, chart_key() + "\n"


def _without_helm(body: Json) -> Json:
    """Take what is said for Helm's sake off the labels of an object, and of what it makes."""
    for meta in (body["metadata"], body.get("spec", {}).get("template", {}).get("metadata", {})):
        for part in ("labels", "annotations"):
            kept = {name: value for name, value in (meta.get(part) or {}).items() if name not in HELM_ONLY}
            meta.pop(part, None)
            if kept:
                meta[part] = kept
    return body


def _namespace() -> Json:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _dump(objects: Sequence[Json]) -> str:
    texts = [to_yaml(each) for each in objects]
    return f"# {MADE}\n" + "".join(f"---\n{text}" for text in texts)


def main() -> None:
    """Write all of them."""
    for path, text in outputs():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
