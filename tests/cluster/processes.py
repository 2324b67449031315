"""Programs of the bed as child processes: started, recorded by pid, stopped, and found again after a crash.

Each run has a folder; `owner.json` in it says whose it is, `<name>.pid.json` what it started. A pid is believed only with the
start time that was recorded beside it, so that a number used again is never killed. Whoever starts a run first clears what
runs left behind whose owner is gone (a `kill -9` of the test process).
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Event
from time import monotonic

import httpx
import psutil

from tests.cluster.errors import BedError

__all__ = [
    "HOST",
    "STOP_S",
    "Processes",
    "all_alive",
    "answers",
    "clear_orphans",
    "end_recorded",
    "is_ready",
    "kill",
    "new_run_folder",
    "until",
]

HOST = "127.0.0.1"
"""Where the bed listens, unless it has a network of its own."""

STOP_S = 5
"""Seconds between asking and killing; nothing in the bed has data worth waiting for."""
LOOK_S = 0.02
"""Seconds between two looks at something that is awaited."""
SHOWN_LINES = 20
"""Of a log, when its program ended."""
GO = {"GOGC": "300", "GOMEMLIMIT": "900MiB"}
"""Less garbage collection for the bed's Go programs, unless the environment says otherwise: an API server spends a third less processor time
on its start and on our CRDs, and takes 910 MiB instead of 755."""


class Processes:
    """The processes of one run."""

    def __init__(self, folder: Path, *, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        """Where logs and pids are written."""
        self.prefix = tuple(prefix)
        """What every command is started through, such as `nsenter`."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, program: Path | str, *arguments: str) -> None:
        """Start a program in a session of its own, so that Ctrl-C in a terminal doesn't reach it.

        Args:
            name: Of the log and the record.
            program: What to run.
            arguments: On its command line.
        """
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.prefix, str(program), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**GO, **os.environ},
            )
        self._running[name] = process
        _record(self.folder / f"{name}.pid.json", process.pid)

    def pid(self, name: str) -> int:
        """The pid of a started program."""
        return self._running[name].pid

    def check(self) -> None:
        """See that all are alive.

        Raises:
            BedError: One has ended; its log's end is in the message.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise BedError(f"{name} ended with {process.returncode}; its last lines:\n{self.log_tail(name)}")

    def log_tail(self, name: str) -> str:
        """The last lines that a program wrote."""
        lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-SHOWN_LINES:])

    def kill(self, name: str) -> None:
        """`kill -9` one, as a fault; it can be started again under the same name."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one; SIGSTOP and SIGCONT freeze it and let it go on."""
        self._running[name].send_signal(number)

    def stop(self) -> None:
        """End all, the last started first; those that don't hear are killed."""
        for process in reversed(list(self._running.values())):
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        deadline = monotonic() + STOP_S
        for name, process in reversed(list(self._running.items())):
            try:
                process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            (self.folder / f"{name}.pid.json").unlink(missing_ok=True)
        self._running.clear()


def until(done: Callable[[], bool], timeout_s: float, what: str, watched: Processes | None = None) -> None:
    """Wait for something.

    Args:
        done: Asked again and again; True ends the wait.
        timeout_s: How long at most.
        what: What is awaited; stands in the error.
        watched: Processes that must be alive meanwhile.

    Raises:
        BedError: It did not come, or a watched process ended.
    """
    deadline = monotonic() + timeout_s
    pause = Event()
    while not done():
        if watched is not None:
            watched.check()
        if monotonic() > deadline:
            raise BedError(f"waited {timeout_s:g} s in vain for {what}")
        pause.wait(LOOK_S)


def is_ready(server: httpx.Client) -> bool:
    """Does an API server say that it is ready?"""
    try:
        # A server that has begun to listen may answer a handshake only seconds later.
        return server.get("/readyz", timeout=httpx.Timeout(5, connect=0.5)).is_success
    except httpx.TransportError:
        return False


def answers(port: int) -> bool:
    """Does something speak HTTP at a port of this machine, whatever it says?"""
    try:
        return httpx.get(f"http://{HOST}:{port}/", timeout=2, trust_env=False).status_code > 0
    except httpx.TransportError:
        return False


def new_run_folder(kind: str) -> Path:
    """Make a folder for a run of this process, after clearing those of dead owners."""
    clear_orphans(kind)
    folder = Path(tempfile.mkdtemp(prefix=f"graft-{kind}-{os.getuid()}-"))
    _record(folder / "owner.json", os.getpid())
    return folder


def clear_orphans(kind: str) -> None:
    """End the processes of runs whose owner is gone, and remove their folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"graft-{kind}-{os.getuid()}-*"):
        owner = folder / "owner.json"
        if owner.is_file() and _recorded(owner) is None:
            end_recorded(folder.glob("*.pid.json"))
            shutil.rmtree(folder, ignore_errors=True)


def end_recorded(records: Iterable[Path]) -> None:
    """End the processes that records name, if they still are the ones that were recorded."""
    processes = [process for record in records if (process := _recorded(record)) is not None]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=STOP_S)


def all_alive(records: Iterable[Path]) -> bool:
    """Are all processes that records name alive, and is there one at all?"""
    found = [_recorded(record) is not None for record in records]
    return bool(found) and all(found)


def kill(pids: Iterable[int]) -> None:
    """`kill -9` processes that are known to be ours, and wait until they are gone."""
    processes: list[psutil.Process] = []
    for pid in pids:
        try:
            processes.append(psutil.Process(pid))
            os.kill(pid, signal.SIGKILL)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    psutil.wait_procs(processes, timeout=STOP_S)


def _record(path: Path, pid: int) -> None:
    path.write_text(json.dumps({"pid": pid, "started": psutil.Process(pid).create_time()}))


def _recorded(path: Path) -> psutil.Process | None:
    """Return the recorded process, or None if it is gone."""
    try:
        record = json.loads(path.read_text())
        process = psutil.Process(record["pid"])
        return process if abs(process.create_time() - record["started"]) < 1 else None
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
