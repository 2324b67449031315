"""What stands beside Kubernetes on the node: Traefik as gateway, an S3 server, what enforces NetworkPolicies, and KServe or its stand-in."""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Api
from tests.cluster.arguments import CLUSTER_CIDR
from tests.cluster.errors import BedError
from tests.cluster.kserve_standin.admission import install_validation
from tests.cluster.node import kserve
from tests.cluster.node.machine import NODE_IP, run
from tests.cluster.node.places import KUBECONFIG, S3_KEYS
from tests.cluster.processes import Processes, answers, until
from tests.cluster.programs import GATEWAY, NETWORK_POLICIES, S3
from tests.house import ROOT

__all__ = ["GATEWAY_PORT", "S3_PORT", "prepare", "start", "which_kserve"]

GATEWAY_PORT = 80
S3_PORT = 9000
S3_USER = "graft"
READY_S = 60
GATEWAY_NAMESPACE = kserve.NAMESPACE
GATEWAY_NAME = "kserve-ingress-gateway"
"""Where KServe's own documentation puts it."""
POLICY_QUEUE = "100"
"""Of kube-network-policies, unless it is told another."""
GATEWAY_API_VERSION = "gateway.networking.k8s.io/v1"

OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GATEWAY_NAMESPACE}},
    {
        "apiVersion": GATEWAY_API_VERSION,
        "kind": "GatewayClass",
        "metadata": {"name": "traefik"},
        "spec": {"controllerName": "traefik.io/gateway-controller"},
    },
    {
        "apiVersion": GATEWAY_API_VERSION,
        "kind": "Gateway",
        "metadata": {"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE},
        "spec": {
            "gatewayClassName": "traefik",
            "listeners": [
                {
                    "name": "http",
                    "port": GATEWAY_PORT,
                    "protocol": "HTTP",
                    "allowedRoutes": {"namespaces": {"from": "All"}},
                }
            ],
        },
    },
]


def start(processes: Processes, api: Api, folder: Path, node: str) -> None:
    """Start them all, and wait until the gateway answers and the S3 server listens."""
    for item in OBJECTS:
        api.apply(item)
    _start_gateway(processes, api, folder)
    _start_s3(processes, folder)
    _start_network_policies(processes, node)
    _START_KSERVE[which_kserve()](processes, api, folder)
    until(lambda: answers(GATEWAY_PORT), READY_S, "the gateway", processes)
    until(lambda: answers(S3_PORT), READY_S, "the S3 server", processes)


def which_kserve() -> str:
    """Say what plays KServe, as the environment asks.

    Returns:
        `standin`, `built` for KServe itself from its Go module, or `external` where somebody else installs it.

    Raises:
        BedError: It asks for none of these.
    """
    said = os.environ.get("GRAFT_KSERVE") or "standin"
    if said not in _START_KSERVE:
        raise BedError(f"GRAFT_KSERVE={said!r}, expected one of {', '.join(_START_KSERVE)}")
    return said


def prepare() -> None:
    """Fetch and build what `start` will start."""
    for module in (GATEWAY, S3, NETWORK_POLICIES):
        module.build()
    if which_kserve() == "built":
        kserve.prepare()


def _start_standin(processes: Processes, api: Api, folder: Path) -> None:
    install_validation(api)
    command = [sys.executable, "-m", "tests.cluster.kserve_standin", "--kubeconfig", str(KUBECONFIG)]
    # Its temporary files, a webhook's key among them, go when the node's folder goes, even where it had to be killed.
    processes.start("kserve-standin", "env", f"PYTHONPATH={ROOT}", f"TMPDIR={folder}", *command)


def _start_built(processes: Processes, api: Api, folder: Path) -> None:
    own = folder / "kserve"
    own.mkdir()
    kserve.start(processes, api, KUBECONFIG, own)


def _start_nothing(_processes: Processes, _api: Api, _folder: Path) -> None:
    """Whoever said `external` has installed it, or will."""


_START_KSERVE = {"standin": _start_standin, "built": _start_built, "external": _start_nothing}


def _start_gateway(processes: Processes, api: Api, folder: Path) -> None:
    config = folder / "traefik.yaml"
    config.touch(mode=0o600)  # it holds a token
    settings = {
        "entryPoints": {"web": {"address": f":{GATEWAY_PORT}"}},
        "providers": {
            "kubernetesGateway": {
                "endpoint": api.access.server,
                "token": api.access.token,
                "certAuthFilePath": str(api.access.ca),
                "statusAddress": {"ip": NODE_IP},
            }
        },
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
    }
    config.write_text(yaml.safe_dump(settings))
    processes.start("traefik", GATEWAY.build() / "traefik", f"--configfile={config}")


def _start_s3(processes: Processes, folder: Path) -> None:
    data = folder / "s3"
    data.mkdir()
    secret = secrets.token_urlsafe(24)
    S3_KEYS.touch(mode=0o600)
    S3_KEYS.write_text(json.dumps({"AWS_ACCESS_KEY_ID": S3_USER, "AWS_SECRET_ACCESS_KEY": secret}))
    keys = (f"ROOT_ACCESS_KEY={S3_USER}", f"ROOT_SECRET_KEY={secret}")
    # `env`, so that no key stands on its command line for longer than a moment.
    processes.start(
        "s3", "env", *keys, str(S3.build() / "versitygw"), "--port", f"0.0.0.0:{S3_PORT}", "posix", str(data)
    )


def _start_network_policies(processes: Processes, node: str) -> None:
    program = NETWORK_POLICIES.build() / "kube-network-policies"
    processes.start("kube-network-policies", program, "--kubeconfig", str(KUBECONFIG), "--node", node)
    # It asks nftables for the packets, too; not every kernel's has queues, and packets that are asked about twice are no fault.
    new = ("-m", "conntrack", "--ctstate", "NEW", "-s", CLUSTER_CIDR, "-m", "addrtype", "!", "--src-type", "LOCAL")
    run("iptables", "-t", "mangle", "-A", "POSTROUTING", *new, "-j", "NFQUEUE", "--queue-num", POLICY_QUEUE)
