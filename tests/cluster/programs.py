"""Which programs the bed is made of, and where they come from.

Ready binaries win: `KUBEBUILDER_ASSETS` for etcd and kube-apiserver, as envtest has it. The rest is built.
"""

import os
from pathlib import Path

from tests.cluster.errors import BedError
from tests.cluster.gobuild import GoModule, Swap

__all__ = [
    "GATEWAY",
    "HELM",
    "KSERVE",
    "KUBE",
    "KUBE_VERSION",
    "NETWORK_POLICIES",
    "S3",
    "SMALL_IMAGES",
    "kube_program",
]

KUBE_VERSION = "1.34.4"
"""Of Kubernetes; the line KServe 0.20 is built on."""

_STAMP = "k8s.io/component-base/version"

KUBE = GoModule(
    name="kube",
    programs={"kube": "."},
    minutes=5,
    # Without gitVersion a server says v0.0.0-master, which clients cannot parse.
    ldflags=(
        f"-s -w -X {_STAMP}.gitVersion=v{KUBE_VERSION} -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor=34"
        f" -X {_STAMP}.gitTreeState=clean -X {_STAMP}.gitCommit={'0' * 40}"
    ),
    links=(
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
        "kubelet",
        "kube-proxy",
    ),
)
"""Kubernetes and etcd in one program."""

GATEWAY = GoModule(
    name="gateway",
    programs={"traefik": "github.com/traefik/traefik/v3/cmd/traefik"},
    minutes=2,
    swaps=(
        Swap("github.com/go-acme/lego/v4", "providers/dns", "lego/dns.go"),
        Swap("github.com/traefik/traefik/v3", "pkg/provider/ecs", "ecs/ecs.go"),
    ),
)
"""Traefik: an implementation of the Gateway API."""

S3 = GoModule(name="s3", programs={"versitygw": "github.com/versity/versitygw/cmd/versitygw"}, minutes=1)
"""An S3 server on a folder; honours conditional PUT."""

SMALL_IMAGES = GoModule(name="smallimages", programs={"pause": "./pause", "answer": "./answer"}, minutes=1)
"""What the harness's own images hold: the process that keeps a pod's namespaces, and one that answers or ends."""

KSERVE = GoModule(name="kserve", programs={"kserve": "github.com/kserve/kserve/cmd/manager"}, minutes=6)
"""KServe's own controller and webhooks, for `GRAFT_KSERVE=built`."""

NETWORK_POLICIES = GoModule(name="netpol", programs={"kube-network-policies": "."}, minutes=3)
"""SIG Network's implementation of NetworkPolicies, for the node."""

HELM = GoModule(name="helm", programs={"helm": "helm.sh/helm/v3/cmd/helm"}, minutes=2)
"""Helm, of the version whose Kubernetes libraries are ours."""


def kube_program(name: str) -> Path:
    """Return the path of etcd, kube-apiserver or another program of Kubernetes.

    Args:
        name: As it is called on a command line.

    Returns:
        From `KUBEBUILDER_ASSETS` where that folder has it, else from the build.

    Raises:
        BedError: `KUBEBUILDER_ASSETS` is set and lacks a program of the control plane.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        ready = Path(assets) / name
        if ready.is_file():
            return ready
        if name in {"etcd", "kube-apiserver"}:
            raise BedError(f"KUBEBUILDER_ASSETS={assets!r} holds no {name}; put it there, or unset the variable")
    return KUBE.build() / name
