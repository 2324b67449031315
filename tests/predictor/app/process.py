"""The predictor as a process of its own."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from graft_operator.local.sockets import free_port
from tests.predictor.models import Artifact

__all__ = ["READY_S", "Process"]

READY_S = 400.0
"""Seconds until a process must be ready, on a machine that does other things too."""


class Process:
    """`graft-predictor` as a child."""

    def __init__(self, artifact: Artifact, root: Path, **config: Any) -> None:
        self.port = free_port()
        self.root = root
        self.url = f"http://127.0.0.1:{self.port}"
        raw = {
            "release": {"namespace": "ml", "name": "shop", "uid": "u-1"},
            "revision": "0123456789",
            "adapter": {"uri": artifact.uri, "digest": artifact.manifest.digest},
            "engine": {"threads": 1},
            **config,
        }
        (root / "config.json").write_text(json.dumps(raw))
        self.log = (root / "log.txt").open("wb")
        command = [sys.executable, "-m", "graft_predictor", "--config", str(root / "config.json")]
        command += ["--port", str(self.port), "--cache-dir", str(root / "cache"), "--drain-seconds", "0.2"]
        self.child = subprocess.Popen(command, stderr=self.log, stdout=self.log)

    def wait_ready(self) -> None:
        """Wait until it is ready; fails the test where it never will be."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.child.poll() is None, (self.root / "log.txt").read_text()[-2000:]
            with contextlib.suppress(httpx.TransportError):
                response = httpx.get(f"{self.url}/v2/health/ready", timeout=10)
                if response.status_code == 200:
                    return
                assert response.json()["phase"] != "Failed", response.text
            time.sleep(0.2)  # noqa: TID251  # polls another process
        pytest.fail("not ready: " + (self.root / "log.txt").read_text()[-2000:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait(10)
        finally:
            self.log.close()
