"""Clearing what a node leaves on the machine: processes, containers, mounts, namespaces.

Only what this cluster made is touched: processes by record or by containerd's own state folder, mounts below our folders, pods'
network namespaces by the cache of our CNI network.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.cluster.arguments import CNI_NETWORK
from tests.cluster.node.machine import NETNS, run
from tests.cluster.node.places import FOLDER, RUN, STORE
from tests.cluster.processes import STOP_S, end_recorded

__all__ = ["clear"]

CNI_CACHE = Path("/var/lib/cni")
NETNS_FOLDER = Path("/run/netns")


def clear() -> None:
    """Leave nothing of a cluster, whether it runs, ended or crashed."""
    end_recorded(FOLDER.glob("*.pid.json"))
    _kill(_containers())
    _kill(_in_namespace())
    for mount in _mounts():
        run("umount", "--lazy", mount, check=False)
    for namespace in _pod_namespaces():
        run("ip", "netns", "del", namespace, check=False)
    if (NETNS_FOLDER / NETNS).exists():
        run("ip", "netns", "del", NETNS)
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


def _containers() -> Iterator[int]:
    """First processes of containers, which outlive the shims that started them."""
    for file in RUN.glob("io.containerd.runtime.v2.task/*/*/init.pid"):
        yield int(file.read_text() or 0)


def _in_namespace() -> Iterator[int]:
    """All that runs in the cluster's namespace: shims, and what was started there by hand."""
    if (NETNS_FOLDER / NETNS).exists():
        own = {os.getpid(), os.getppid()}
        yield from (pid for pid in map(int, run("ip", "netns", "pids", NETNS, check=False).split()) if pid not in own)


def _kill(pids: Iterator[int]) -> None:
    processes: list[psutil.Process] = []
    for pid in pids:
        try:
            processes.append(psutil.Process(pid))
            os.kill(pid, signal.SIGKILL)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    psutil.wait_procs(processes, timeout=STOP_S)


def _mounts() -> list[str]:
    """Volumes and container roots, the deepest first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    ours = [place for place in places if place.startswith((f"{FOLDER}/", f"{RUN}/", f"{STORE}/"))]
    return sorted(ours, reverse=True)


def _pod_namespaces() -> Iterator[str]:
    """Network namespaces that our CNI network gave to pods."""
    for folder in ("cache/results", "results"):
        for file in (CNI_CACHE / folder).glob(f"{CNI_NETWORK}-*"):
            result = json.loads(file.read_text() or "{}")
            name = Path(result.get("netns", "")).name
            if name and (NETNS_FOLDER / name).exists():
                yield name
            file.unlink(missing_ok=True)
    shutil.rmtree(CNI_CACHE / "networks" / CNI_NETWORK, ignore_errors=True)
