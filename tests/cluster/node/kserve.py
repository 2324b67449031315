"""KServe itself on the node, instead of the stand-in: its controller and webhooks, built from its Go module (`GRAFT_KSERVE=built`).

Definitions, webhooks and ConfigMap are those that the module carries. What is ours: it runs as a process beside the API server, which finds
the webhooks by URL; and of the ConfigMap the mode (Standard) and the ingress (the Gateway API, no Istio).
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.api import Api
from tests.cluster.certificates import Authority
from tests.cluster.crds import KSERVE, KSERVE_REST, install
from tests.cluster.processes import HOST, Processes, until
from tests.cluster.programs import KSERVE as PROGRAM

__all__ = ["NAMESPACE", "prepare", "start"]

NAMESPACE = "kserve"
WEBHOOK_PORT = 9443
HEALTH_PORT = 18081
READY_S = 60
CERTIFICATES = Path("k8s-webhook-server") / "serving-certs"
"""Below TMPDIR, where its webhooks look for them: there is no flag."""
OURS: dict[str, dict[str, object]] = {
    "deploy": {"defaultDeploymentMode": "Standard"},
    "ingress": {"enableGatewayApi": True, "disableIstioVirtualHost": True},
}
"""What is said otherwise than in the ConfigMap that KServe ships."""

Json = dict[str, Any]


def prepare() -> None:
    """Fetch and build: all that needs the outside world."""
    PROGRAM.build()
    KSERVE_REST.crds()


def start(processes: Processes, api: Api, kubeconfig: Path, folder: Path) -> None:
    """Start it, and have the server ask its webhooks.

    Args:
        processes: Where it is started.
        api: Of an administrator; the namespace `kserve` and KServe's other definitions are there.
        kubeconfig: Of an administrator.
        folder: An empty one, for its certificates.
    """
    install(api, KSERVE_REST.crds())
    module = KSERVE.download()
    api.apply(_config_map(module))
    authority = Authority.create(folder)
    authority.issue("tls", "kserve-webhook-server", hosts=(HOST,))
    (folder / CERTIFICATES).mkdir(parents=True)
    for name in ("tls.crt", "tls.key"):
        (folder / name).rename(folder / CERTIFICATES / name)
    environment = (f"TMPDIR={folder}", f"KUBECONFIG={kubeconfig}", f"POD_NAMESPACE={NAMESPACE}")
    flags = ("--metrics-addr=0", f"--webhook-port={WEBHOOK_PORT}", f"--health-probe-addr={HOST}:{HEALTH_PORT}")
    processes.start("kserve", "env", *environment, str(PROGRAM.build() / "kserve"), *flags)
    until(_is_ready, READY_S, "KServe", processes)
    for webhooks in _webhooks(module, (folder / "ca.crt").read_bytes()):
        api.apply(webhooks)


def _is_ready() -> bool:
    try:
        return httpx.get(f"http://{HOST}:{HEALTH_PORT}/readyz", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _config_map(module: Path) -> Json:
    found: Json = yaml.safe_load((module / "config/configmap/inferenceservice.yaml").read_text(encoding="utf-8"))
    found["metadata"]["namespace"] = NAMESPACE
    for key, said in OURS.items():
        found["data"][key] = json.dumps({**json.loads(found["data"][key]), **said})
    return found


def _webhooks(module: Path, authority: bytes) -> Iterator[Json]:
    """Those that the module carries, with an address on this node instead of a Service."""
    for found in yaml.safe_load_all((module / "config/webhook/manifests.yaml").read_text(encoding="utf-8")):
        if not found:
            continue
        found["metadata"].pop("creationTimestamp", None)
        for webhook in found["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            url = f"https://{HOST}:{WEBHOOK_PORT}{path}"
            webhook["clientConfig"] = {"url": url, "caBundle": base64.b64encode(authority).decode()}
        yield found
