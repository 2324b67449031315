"""The demo's own `graft up`, and the watches that keep the board up to date."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from graft_core.api.v1alpha1.names import API_VERSION
from graft_core.clock import Clock
from graft_core.errors import GraftError, Unavailable
from graft_operator.demo.board import Board
from graft_operator.local.client import Client
from graft_operator.local.fields import Json, as_object, child, children, name_of, number, text
from graft_operator.local.resources import KINDS, Kind

__all__ = ["Server"]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 45.0
TRAININGS = 2
"""At a time; each example asks for one CPU."""
APIS = f"/apis/{API_VERSION}/namespaces/default"


class Server:
    """A `graft up` child and what the demo asks of it."""

    def __init__(self, state: Path, port: int, board: Board, clock: Clock) -> None:
        self._state, self._port, self._board, self._clock = state, port, board, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self.client = Client(state)
        self.gateway = ""

    @property
    def log_path(self) -> Path:
        """Where `graft up` writes its log."""
        return self._state / "up.log"

    def start(self) -> None:
        """Start `graft up` and wait until it answers; Unavailable with the end of its log where it does not."""
        self._state.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "graft_operator.cli",
            "up",
            "--state",
            str(self._state),
            "--port",
            str(self._port),
            "--max-training",
            str(TRAININGS),
        ]
        with self.log_path.open("ab") as log:
            # A process group of its own: Ctrl-C in the terminal reaches the demo alone, which then stops `graft up` in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = self._clock.monotonic() + START_TIMEOUT_S
        while self._clock.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Unavailable(
                    f"graft up ended with exit code {self._process.returncode}; its last words:\n{self._tail()}"
                )
            try:
                self.gateway = text(as_object(self.client.call("GET", "/status")), "gateway", "url")
            except GraftError:
                self._stopping.wait(0.2)
                continue
            for kind in KINDS:
                threading.Thread(target=self._watch, args=(kind,), daemon=True).start()
            return
        raise Unavailable(f"graft up did not answer within {START_TIMEOUT_S:.0f} s; its last words:\n{self._tail()}")

    def stop(self) -> None:
        """End `graft up` as Ctrl-C would, and harder where that takes too long."""
        self._stopping.set()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def apply(self, documents: list[Json]) -> None:
        """Create or change objects."""
        self.client.call("POST", "/apply", body={"namespace": "default", "items": documents})

    def _watch(self, kind: Kind) -> None:
        while not self._stopping.is_set():
            try:
                listed = as_object(self.client.call("GET", f"{APIS}/{kind.plural}"))
                for obj in children(listed, "items"):
                    self._see(f"{kind.singular}/{name_of(obj)}", obj)
                query = {"watch": "true", "resourceVersion": text(listed, "metadata", "resourceVersion")}
                for event in self.client.stream_json(f"{APIS}/{kind.plural}", query=query):
                    obj = as_object(event["object"])
                    self._see(f"{kind.singular}/{name_of(obj)}", None if event["type"] == "DELETED" else obj)
            except GraftError:
                self._stopping.wait(0.5)

    def _see(self, key: str, obj: Json | None) -> None:
        before, now = _moment(self._board.objects.get(key)), _moment(obj)
        self._board.put(key, obj)
        if now and now != before:
            self._board.note(key.partition("/")[2], now)

    def _tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])


def _moment(obj: Json | None) -> str:
    """What is worth a line of the log when it changes: the phase, and the weights while there is a candidate."""
    if obj is None:
        return ""
    phase, candidate, stable = (
        text(obj, "status", "phase"),
        child(obj, "status", "candidate"),
        child(obj, "status", "stable"),
    )
    if not candidate:
        return phase
    arms = f"stable {text(stable, 'revision')} {number(stable, 'weight')} %, candidate {text(candidate, 'revision')} {number(candidate, 'weight')} %"
    return f"{phase}: {arms}"
