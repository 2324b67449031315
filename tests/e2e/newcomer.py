"""A folder and a terminal in it, as somebody has them who follows the quickstart; real trainer, predictor and Envoy."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from graft_core.errors import GraftError
from graft_operator.local.client import Client
from graft_operator.local.sockets import free_port
from tests.e2e.local_up import until

__all__ = ["Newcomer"]


class Newcomer:
    """Types commands in his folder, and has a second terminal where `graft up` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": commands, "GRAFT_PORT": str(self.port), "COLUMNS": "200"}
        self.client = Client(folder / ".graft")
        self.up: subprocess.Popen[bytes] | None = None

    def type(self, script: str, *, is_fine: bool = True, timeout_s: float = 900) -> str:
        """Run lines of shell to their end; returns what they said, stderr included."""
        command = ["bash", "-euc", self.on_my_port(script)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == is_fine, f"{script}\nexit code {done.returncode}\n{said}\n{self.log()}"
        return said

    def write(self, name: str, body: str) -> None:
        """Save a file of the page, or of his own."""
        (self.folder / name).write_text(self.on_my_port(body), encoding="utf-8")

    def on_my_port(self, body: str) -> str:
        """Take the port that is free here for the one that pages name."""
        return body.replace(":8080", f":{self.port}")

    def start_up(self) -> None:
        """Start `graft up` in the other terminal, and wait until it answers."""
        with (self.folder / "up.log").open("ab") as log:
            self.up = subprocess.Popen(
                ["graft", "up"], cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, 180, self.log)

    def press_ctrl_c(self) -> int:
        """Press Ctrl-C there, and wait for its end."""
        assert self.up is not None
        os.killpg(self.up.pid, signal.SIGINT)
        return self.up.wait(120)

    def log(self) -> str:
        """Say what the other terminal shows."""
        file = self.folder / "up.log"
        return file.read_text()[-4000:] if file.exists() else ""

    def end(self) -> None:
        """Leave nothing running."""
        self.type("graft down --now >/dev/null 2>&1 || true")
        if self.up is not None and self.up.poll() is None:
            self.up.kill()
            self.up.wait()

    def _answers(self) -> bool:
        assert self.up is not None
        assert self.up.poll() is None, self.log()
        try:
            return bool(self.client.call("GET", "/status")["pid"] == self.up.pid)
        except GraftError:
            return False
