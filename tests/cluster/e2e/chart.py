"""Graft on the node, installed by Helm from charts/graft."""

import json
import os
import subprocess
from pathlib import Path

import yaml

from tests.cluster.api import Api
from tests.cluster.e2e.surroundings import Surroundings
from tests.cluster.programs import HELM
from tests.cluster.tenants import RESTRICTED
from tests.house import ROOT

__all__ = ["CUSTOMER", "NAMESPACE", "OPERATOR", "RELEASE", "helm", "install", "values"]

RELEASE = "graft"
NAMESPACE = "graft-system"
OPERATOR = "graft-operator"
"""Its Deployment."""
HELM_S = 300
CUSTOMER = {"may-ask": "predictors"}
"""Labels of the pods, with the team, that may ask predictors."""


def helm(*arguments: str) -> str:
    """Run Helm against the cluster of `KUBECONFIG`.

    Args:
        arguments: Of its command line.

    Returns:
        What it printed.
    """
    # Nothing of the user's own Helm is read or written.
    home = Path(os.environ["KUBECONFIG"]).with_name("helm")
    places = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run(
        [str(HELM.build() / "helm"), *arguments],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=HELM_S,
        check=False,
    )
    assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def values(around: Surroundings, team: str) -> dict[str, object]:
    """What the story needs said on any cluster: where its object store is, and who may ask predictors.

    The gateway and the kubelet are processes of our node, which no policy holds up; from pods, only the operator's and customers may ask.
    """
    env = {"AWS_ENDPOINT_URL": around.store}
    return {
        "config": {"trainerEnv": env, "predictorEnv": env, "unreadyGraceS": 60},
        # On somebody else's cluster the gateway is a pod that nobody here knows.
        "networkPolicies": {
            "enabled": around.is_own,
            "namespaces": [team],
            "predictor": {"from": [{"podSelector": {"matchLabels": CUSTOMER}}]},
        },
    }


def install(api: Api, around: Surroundings, team: str, folder: Path) -> None:
    """Install the chart, or upgrade it, and wait until the operator is ready.

    Args:
        api: Of an administrator.
        around: The cluster.
        team: The namespace whose pods get network policies.
        folder: For the files of values.
    """
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    files: list[str] = []
    for name, told in (("story", values(around, team)), ("cluster", around.values)):
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(json.loads(json.dumps(told))))
        files += ["-f", str(file)]
    chart = str(ROOT / "charts" / "graft")
    helm("upgrade", "--install", RELEASE, chart, "-n", NAMESPACE, *files, "--wait", "--timeout", "4m")
