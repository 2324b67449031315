"""What the machine must have before a node can run on it, and where things are on it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from tests.cluster.errors import BedError, NothingToRun

__all__ = [
    "NETNS",
    "NODE_IP",
    "absent",
    "cni_plugins",
    "enter",
    "enter_to_start",
    "hide",
    "install",
    "make_network",
    "run",
    "see_to_tools",
]

NETNS = "graft"
"""Name of the network namespace: everything of the cluster is in it, and nothing in it reaches further."""
NODE_IP = "10.200.0.1"
LINK = "knode0"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
"""Debian's place, and everybody else's."""
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "sysctl": "procps",
}
"""Debian package by command."""
CNI_PACKAGE = "containernetworking-plugins"
INSTALL_S = 600


def see_to_tools() -> None:
    """Install what is missing where apt-get can, and say what is missing elsewhere.

    Raises:
        NothingToRun: Not Linux, not root, or tools are missing and this is no Debian.
        BedError: apt-get failed.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NothingToRun("a node needs Linux and root (namespaces, cgroups, overlayfs); run it as root, or in a VM")
    missing = absent(PACKAGES)
    if cni_plugins() is None:
        missing.append(CNI_PACKAGE)
    install(missing)


def absent(packages: Mapping[str, str]) -> list[str]:
    """Packages, given by command, whose command is not on PATH."""
    return sorted({package for command, package in packages.items() if shutil.which(command) is None})


def install(packages: Collection[str]) -> None:
    """Install Debian packages.

    Args:
        packages: Their names; none is nothing to do.

    Raises:
        NothingToRun: This is no Debian.
        BedError: apt-get failed.
    """
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise NothingToRun(f"a node needs {', '.join(packages)} (Debian's names); install them")
    sys.stderr.write(f"cluster: installing {', '.join(packages)} with apt-get\n")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-q", env=env, timeout_s=INSTALL_S)
    run("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages, env=env, timeout_s=INSTALL_S)


def cni_plugins() -> Path | None:
    """Where the CNI plugins are, if they are installed."""
    return next((folder for folder in CNI_FOLDERS if (folder / "bridge").is_file()), None)


def enter() -> list[str]:
    """What to put before a command that is to run in the namespace.

    Not `ip netns exec`: that mounts /sys anew, and the kubelet finds no cgroups there.
    """
    return ["nsenter", f"--net=/run/netns/{NETNS}"]


def enter_to_start() -> list[str]:
    """What to put before the command that starts the node: the namespace, and one of its own for mounts.

    The mounts go when the last process of the node goes.
    """
    return [*enter(), "unshare", "--mount"]


def hide(places: Collection[str], behind: Path) -> None:
    """Show the processes of this mount namespace folders of their own at some places.

    Args:
        places: Absolute paths.
        behind: Where what is written there really goes.
    """
    for place in places:
        own = behind / place.strip("/").replace("/", "-")
        own.mkdir(parents=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(own), place)


def make_network() -> None:
    """Make the namespace, with loopback and the node's address."""
    run("ip", "netns", "add", NETNS)
    for command in (
        ["ip", "link", "set", "lo", "up"],
        # A bridge without ports: the link type `dummy` is not in every kernel.
        ["ip", "link", "add", LINK, "type", "bridge"],
        ["ip", "addr", "add", f"{NODE_IP}/24", "dev", LINK],
        ["ip", "link", "set", LINK, "up"],
        ["sysctl", "-qw", "net.ipv4.ip_forward=1"],
    ):
        run(*enter(), *command)


def run(*command: str, env: dict[str, str] | None = None, timeout_s: int = 60, check: bool = True) -> str:
    """Run a command to its end.

    Args:
        command: With its arguments.
        env: Added to the environment.
        timeout_s: After which it is killed.
        check: Raise when it fails.

    Returns:
        What it wrote to stdout.

    Raises:
        BedError: It failed; the message has its stderr.
    """
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if check and done.returncode:
        raise BedError(f"{' '.join(command)} failed with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
