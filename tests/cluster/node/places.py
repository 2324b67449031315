"""Where a node keeps its things on this machine."""

from pathlib import Path

from tests.cluster.gobuild import cache_folder

__all__ = ["FOLDER", "KUBECONFIG", "RUN", "SOCKET", "STORE"]

FOLDER = cache_folder() / "cluster"
"""State of one run: keys, logs, records, the kubelet's volumes. Gone with the run."""
KUBECONFIG = FOLDER / "admin.kubeconfig"
"""For whoever is in the namespace: the server is at its loopback."""
STORE = cache_folder() / "containerd"
"""Images and layers; they stay, so that the next run need not import them again."""
RUN = Path("/run/graft-containerd")
"""Sockets need short paths."""
SOCKET = RUN / "containerd.sock"
