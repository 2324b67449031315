"""Clearing what a node leaves on the machine: processes, namespaces, control groups, folders.

Only what this cluster made is touched: processes by namespace and record, pods by their control group. All mounts (volumes, container
roots, the pods' network namespaces) are in a mount namespace that ends with its last process.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from tests.cluster.errors import BedError
from tests.cluster.node import cgroups
from tests.cluster.node.machine import NETNS, run
from tests.cluster.node.places import FOLDER, HIDDEN, RUN, STORE
from tests.cluster.processes import end_recorded, kill

__all__ = ["clear"]

NETNS_FOLDER = Path("/run/netns")
ATTEMPTS = 10
"""What is killed may just have started something."""


def clear() -> None:
    """Leave nothing of a cluster, whether it runs, ended or crashed.

    Raises:
        BedError: Something is left all the same; the message names it.
    """
    # The namespace first: whoever starts a cluster is in it, and would go on.
    for _ in range(ATTEMPTS):
        if not (inside := _in_namespace()):
            break
        kill(inside)
    end_recorded(FOLDER.glob("*.pid.json"))
    cgroups.remove()
    if (NETNS_FOLDER / NETNS).exists():
        run("ip", "netns", "del", NETNS)
    for folder in (RUN, FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
    for place in map(Path, HIDDEN):
        with suppress(OSError):  # it is not empty: somebody else's
            place.rmdir()
    if left := _left():
        raise BedError(f"this is left of the cluster: {', '.join(left)}; what holds it?")


def _left() -> list[str]:
    """What should have gone; a mount here would be one that left its namespace."""
    places = [NETNS_FOLDER / NETNS, RUN, FOLDER, *cgroups.find()]
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [str(place) for place in places if place.exists()] + [
        place for place in mounts if place.startswith((f"{FOLDER}/", f"{RUN}/", f"{STORE}/"))
    ]


def _in_namespace() -> set[int]:
    """All that runs in the cluster's namespace: shims, and what was started there by hand."""
    if not (NETNS_FOLDER / NETNS).exists():
        return set()
    return set(map(int, run("ip", "netns", "pids", NETNS, check=False).split())) - {os.getpid(), os.getppid()}
