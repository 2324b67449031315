"""A `graft up` as a person runs it: the command line, the real trainer, the real predictor, the real Envoy. For tests that kill all of them."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from graft_core.errors import GraftError
from tests.e2e.local_up import LocalUp

__all__ = ["RealUp", "pause", "processes_of"]


class RealUp(LocalUp):
    """Nothing here is a double."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for part in ("TRAINER", "PREDICTOR"):
            del self.env[f"GRAFT_{part}_PYTHON"]

    def launch(self) -> None:
        """Start without waiting until it serves."""
        command = [sys.executable, "-m", "graft_operator.cli", "up", "--state", str(self.state), "--port", "0"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)

    def start(self) -> None:
        """Start, and wait until it serves."""
        self.launch()
        self.serves()

    def serves(self, timeout_s: float = 180) -> None:
        """Wait until the process that was launched last answers."""
        deadline = time.monotonic() + timeout_s
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            try:
                if self.status()["pid"] == self.process.pid:
                    return
            except GraftError:
                pause(0.1)

    def supervisor(self, folder: str) -> psutil.Process | None:
        """Find the living supervisor of a run folder: `check`, `train`, `arm-*` or `gateway`."""
        pattern = "gateway/pid.json" if folder == "gateway" else f"runs/*/{folder}/pid.json"
        for file in self.state.glob(pattern):
            try:
                process = psutil.Process(int(json.loads(file.read_bytes())["pid"]))
                if process.status() != psutil.STATUS_ZOMBIE and str(file.parent) in process.cmdline():
                    return process
            except (psutil.Error, OSError, ValueError):
                continue
        return None

    def child(self, folder: str) -> psutil.Process | None:
        """Find the living process that a supervisor of a run folder watches over."""
        try:
            supervisor = self.supervisor(folder)
            return next(iter(supervisor.children()), None) if supervisor is not None else None
        except psutil.Error:
            return None

    def classify(self, release: str, text: str) -> str | None:
        """Ask the release through the gateway for a label; None where it is not answered with 200."""
        url = f"{self.status()['gateway']['url']}/default/{release}/v1/classify"
        request = urllib.request.Request(
            url, json.dumps({"input": text}).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError:
            return None
        return str(found["label"])


def processes_of(state: Path) -> dict[int, str]:
    """Find every process that has to do with a state folder, by command line, working folder or environment; this one aside."""
    found: dict[int, str] = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            words = process.cmdline()
            if process.status() != psutil.STATUS_ZOMBIE and any(
                str(state) in word for word in [*words, process.cwd(), *process.environ().values()]
            ):
                found[process.pid] = " ".join(words)[:200]
        except psutil.Error:
            continue
    return found


def pause(seconds: float) -> None:
    """Let real time pass between two looks, or until a chosen moment."""
    threading.Event().wait(seconds)
