"""Ports of this machine."""

import contextlib
import random
import socket

__all__ = ["free_port", "is_free"]

CHOSEN_FROM = range(20_000, 32_000)
"""Below where Linux, macOS and Windows take the ports of outgoing connections from, and above the well-known ones."""

TRIES = 100


def free_port() -> int:
    """Choose a loopback port that nobody listens on, and that no connection is given before it is listened on."""
    for port in random.sample(CHOSEN_FROM, TRIES):
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether a port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((host, port))
            return True
    return False
