"""Graft on the node, installed by Helm from charts/graft."""

import json
import os
import subprocess
from pathlib import Path

import yaml

from tests.cluster.api import Api
from tests.cluster.graft_images import GraftImages
from tests.cluster.node.machine import NODE_IP
from tests.cluster.node.services import S3_PORT
from tests.cluster.programs import HELM
from tests.cluster.tenants import RESTRICTED
from tests.house import ROOT

__all__ = ["CUSTOMER", "NAMESPACE", "OPERATOR", "RELEASE", "STORE_URL", "helm", "install", "values"]

RELEASE = "graft"
NAMESPACE = "graft-system"
OPERATOR = "graft-operator"
"""Its Deployment."""
STORE_URL = f"http://{NODE_IP}:{S3_PORT}"
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


def values(images: GraftImages, team: str) -> dict[str, object]:
    """What this cluster needs said: its images, where its object store is, and who may ask predictors.

    The gateway and the kubelet are processes of the node, which no policy holds up; from pods, only the operator's and customers may ask.
    """
    named = {
        image: dict(zip(("repository", "tag"), images.name(image).rsplit(":", 1), strict=True))
        for image in ("operator", "trainer", "predictor")
    }
    env = {"AWS_ENDPOINT_URL": STORE_URL}
    return {
        "image": named,
        "config": {"trainerEnv": env, "predictorEnv": env, "unreadyGraceS": 60},
        # On somebody else's cluster the gateway is a pod that nobody here knows.
        "networkPolicies": {
            "enabled": os.environ.get("GRAFT_TEST_NODE") == "own",
            "namespaces": [team],
            "predictor": {"from": [{"podSelector": {"matchLabels": CUSTOMER}}]},
        },
    }


def install(api: Api, images: GraftImages, team: str, folder: Path) -> None:
    """Install the chart, or upgrade it, and wait until the operator is ready.

    Args:
        api: Of an administrator.
        images: That containerd has.
        team: The namespace whose pods get network policies.
        folder: For the file of values.
    """
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(values(images, team)))))
    chart = str(ROOT / "charts" / "graft")
    helm("upgrade", "--install", RELEASE, chart, "-n", NAMESPACE, "-f", str(file), "--wait", "--timeout", "4m")
