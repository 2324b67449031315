"""Where a node keeps its things on this machine."""

from pathlib import Path

from tests.cluster.gobuild import cache_folder

__all__ = ["FOLDER", "HIDDEN", "KUBECONFIG", "LOCK", "LOGS", "READY", "RUN", "S3_KEYS", "SOCKET", "STORE"]

FOLDER = cache_folder() / "cluster"
"""State of one run: keys, logs, records, the kubelet's volumes. Gone with the run."""
KUBECONFIG = FOLDER / "admin.kubeconfig"
"""For whoever is in the namespace: the server is at its loopback."""
READY = FOLDER / "ready"
"""There when all of it was started."""
S3_KEYS = FOLDER / "s3-keys.json"
"""What the S3 server lets in, as variables by name."""
LOCK = cache_folder() / "cluster.lock"
"""Held by whoever starts or stops it."""
LOGS = cache_folder() / "cluster-logs"
"""What the last one said that failed; a run's own folder goes with it."""
STORE = cache_folder() / "containerd"
"""Images and layers; they stay, so that the next run need not import them again."""
RUN = Path("/run/graft-containerd")
"""Sockets need short paths."""
SOCKET = RUN / "containerd.sock"
HIDDEN = ("/opt/containerd", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
"""Places that containerd, runc, the kubelet and CNI write to whatever they are told; the node sees folders of its own there."""
