"""Pure: command lines and configuration files of a control plane and a node."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "CLUSTER_CIDR",
    "CNI_NETWORK",
    "Server",
    "apiserver",
    "cni",
    "containerd",
    "controller_manager",
    "etcd",
    "kube_proxy",
    "kubelet",
]

SERVICE_CIDR = "10.96.0.0/16"
CLUSTER_CIDR = "10.244.0.0/24"
CNI_NETWORK = "graft-test-pods"
"""Names the files that CNI plugins keep outside our folders."""
ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Server:
    """Where an API server listens, and what it is to do beside serving."""

    etcd_port: int
    port: int
    bind: str = "127.0.0.1"
    node: str = ""
    """The node's address, where there is a node."""
    audit_log: Path | None = None

    @property
    def etcd(self) -> str:
        """As clients of etcd name it."""
        return f"http://127.0.0.1:{self.etcd_port}"


def etcd(server: Server, peer_port: int) -> list[str]:
    """For etcd, on loopback, with its data in the working directory."""
    return [
        *("--data-dir", "etcd", "--log-level", "error"),
        *("--listen-client-urls", server.etcd, "--advertise-client-urls", server.etcd),
        *("--listen-peer-urls", f"http://127.0.0.1:{peer_port}"),
        # A test's data need not outlive the machine.
        "--unsafe-no-fsync",
    ]


def apiserver(server: Server) -> list[str]:
    """For kube-apiserver, with keys and tokens in the working directory."""
    audit = ["--audit-policy-file", "audit.yaml", "--audit-log-path", str(server.audit_log)] if server.audit_log else []
    # Without a node there is nothing that looks for the server at a Service.
    place = _on_node(server) if server.node else ["--endpoint-reconciler-type", "none"]
    return [
        *("--etcd-servers", server.etcd, "--bind-address", server.bind, "--secure-port", str(server.port)),
        *("--tls-cert-file", "server.crt", "--tls-private-key-file", "server.key", "--client-ca-file", "ca.crt"),
        *("--service-account-key-file", "sa.key", "--service-account-signing-key-file", "sa.key"),
        *("--service-account-issuer", ISSUER),
        *("--token-auth-file", "tokens.csv", "--authorization-mode", "Node,RBAC"),
        *("--enable-admission-plugins", "NodeRestriction", "--service-cluster-ip-range", SERVICE_CIDR),
        *("--allow-privileged", "--profiling=false"),
        *place,
        *audit,
    ]


def _on_node(server: Server) -> list[str]:
    return [
        *("--advertise-address", server.node, "--kubelet-certificate-authority", "ca.crt"),
        *("--kubelet-client-certificate", "kubelet-client.crt", "--kubelet-client-key", "kubelet-client.key"),
        *("--kubelet-preferred-address-types", "InternalIP"),
    ]


def controller_manager(kubeconfig: Path, controllers: str) -> list[str]:
    """For kube-controller-manager: one replica, with the given controllers."""
    return [
        *("--kubeconfig", str(kubeconfig), "--controllers", controllers),
        *("--service-account-private-key-file", "sa.key", "--root-ca-file", "ca.crt"),
        *("--leader-elect=false", "--secure-port", "0"),
    ]


def kubelet(folder: Path, socket: Path, cgroup: str) -> dict[str, Any]:
    """The kubelet's configuration: all pods below one control group."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "podLogsDir": str(folder / "pod-logs"),
        "failSwapOn": False,
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{socket}",
        "clusterDomain": "cluster.local",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(folder / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(folder / "server.crt"),
        "tlsPrivateKeyFile": str(folder / "server.key"),
        # A developer's disk is often nearly full; images here are few and wanted.
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "2%", "imagefs.available": "2%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
    }


def kube_proxy(kubeconfig: Path, node: str) -> dict[str, Any]:
    """kube-proxy's configuration; it leaves the machine's conntrack limits alone."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": CLUSTER_CIDR,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": node,
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def containerd(store: Path, state: Path, networks: Path, pause: str, cni_bin: Path) -> str:
    """Return the configuration of containerd.

    Args:
        store: Where images and layers are kept.
        state: For sockets; a short path.
        networks: Where the configuration of the pods' network is.
        pause: Name of the pause image.
        cni_bin: Where the CNI plugins are.

    Returns:
        TOML of version 2, which containerd 1.6 to 2.x read.
    """
    return f"""\
version = 2
root = "{store}"
state = "{state}"
[grpc]
  address = "{state / "containerd.sock"}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Where -998 may not be written to oom_score_adj, every sandbox would fail.
  restrict_oom_score_adj = true
  # Beside our sockets, not in the folder that `ip netns` and others use.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{networks}"
"""


def cni(folder: Path) -> dict[str, Any]:
    """The pods' network: a bridge in the node's namespace, its addresses written down in `folder`."""
    ipam = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": [[{"subnet": CLUSTER_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": CNI_NETWORK, "plugins": [bridge, ports]}
