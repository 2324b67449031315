"""kubectl of the test bed, and the definitions that an installation may meet."""

import subprocess
from pathlib import Path

from tests.cluster.api import Api, Json
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import CrdModule, install
from tests.cluster.programs import kube_program
from tests.cluster.tenants import default_account

__all__ = ["PROMETHEUS", "ensure_namespace", "install_monitoring", "kubectl", "kustomize"]

PROMETHEUS = CrdModule(
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
    "example/prometheus-operator-crd",
    ("PodMonitor", "PrometheusRule", "ServiceMonitor"),
)
"""Of the Prometheus operator: what the chart makes for it."""


def install_monitoring(plane: ControlPlane) -> None:
    """Have the Prometheus operator's definitions served."""
    install(plane.api, PROMETHEUS.crds())


def kubectl(plane: ControlPlane, *arguments: str, given: str | None = None) -> str:
    """Run kubectl as the administrator.

    Args:
        plane: Where.
        *arguments: Of the command line.
        given: Standard input.

    Returns:
        What it says.

    Raises:
        AssertionError: It failed; with what it said.
    """
    command = [str(kube_program("kubectl")), "--kubeconfig", str(plane.kubeconfig), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
    return done.stdout + done.stderr


def kustomize(folder: Path) -> str:
    """Build a kustomization; needs no server."""
    command = [str(kube_program("kubectl")), "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def ensure_namespace(api: Api, name: str, labels: Json | None = None) -> None:
    """Make a namespace of this name, unless it is there."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
    api.apply(default_account(name))
