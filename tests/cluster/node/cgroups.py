"""The control groups that all pods are below: made before the kubelet starts, and a sure way to find what runs in pods."""

from collections.abc import Iterator
from pathlib import Path

from tests.cluster.processes import kill

__all__ = ["CGROUP", "find", "make", "remove"]

CGROUP = "graft-test-node"
"""Below the root of each hierarchy, of version 1 or 2."""
ATTEMPTS = 25
"""A kubelet that was just killed may have left a pod half made."""


def make() -> None:
    """Make the group; the kubelet asks for it in each hierarchy it uses."""
    for root in _hierarchies():
        (root / CGROUP).mkdir(exist_ok=True)


def remove() -> None:
    """Kill what runs in pods, and remove the groups."""
    for _ in range(ATTEMPTS):
        tops = find()
        pids = {pid for top in tops for pid in _pids(top)}
        kill(pids)
        for top in tops:
            _remove_tree(top)
        if not find():
            return


def find() -> list[Path]:
    """The group where it is there, in each hierarchy."""
    return [root / CGROUP for root in _hierarchies() if (root / CGROUP).is_dir()]


def _hierarchies() -> list[Path]:
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(place) for place, kind in mounts if kind in {"cgroup", "cgroup2"}]


def _pids(top: Path) -> Iterator[int]:
    for file in top.rglob("cgroup.procs"):
        try:
            yield from map(int, file.read_text().split())
        except OSError:  # a group went meanwhile, or is threaded
            continue


def _remove_tree(top: Path) -> None:
    for folder in sorted((path for path in [top, *top.rglob("*")] if path.is_dir()), reverse=True):
        try:
            folder.rmdir()
        except OSError:  # still busy: the next attempt will find it
            continue
