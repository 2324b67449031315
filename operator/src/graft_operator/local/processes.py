"""Supervised processes by folder: started, found again after a crash, signalled as a group, watched without polling.

A folder's lock file says whether anything of its last attempt still lives (see `supervise`); the pid, with its start time, says whom to
signal. So a pid that was given to somebody else is never touched.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from graft_operator.local import supervise
from graft_operator.local.files import read_json

__all__ = ["OsProcesses", "ProcessId", "Processes"]

START_TOLERANCE_S = 2.0
"""psutil derives start times from the boot time, which clock corrections move a little."""

POLL_S = 0.5
"""How often an end is looked for where the system has no pidfd (macOS)."""

RELEASE_TRIES = 200
"""Looks, 50 ms apart, for a killed group to let go of its lock."""

ProcessId = tuple[int, float]
"""Pid of the supervisor, which is its group's id, and its start time."""


class Processes(Protocol):
    """What children, arms and the gateway need of the system; `folder` is the run's own."""

    def start(self, folder: Path, attempt: int, command: Sequence[str], env: Mapping[str, str]) -> ProcessId:
        """Start an attempt and return whom to signal."""
        ...

    def find(self, folder: Path, attempt: int) -> ProcessId | None:
        """Find the living attempt, or None."""
        ...

    def is_alive(self, folder: Path) -> bool:
        """Say whether anything of the last attempt lives."""
        ...

    def exit_code(self, folder: Path, attempt: int) -> int | None:
        """Return how an attempt ended; None: it lives, or was killed together with its supervisor."""
        ...

    def signal(self, folder: Path, who: ProcessId, number: signal.Signals) -> None:
        """Signal the whole group; one that is gone is fine."""
        ...

    def when_ended(self, folder: Path, who: ProcessId, call: Callable[[], None]) -> None:
        """Have `call` run once nothing of the attempt lives; what is left of a killed supervisor's group is killed."""
        ...

    def memory_bytes(self, who: ProcessId) -> int:
        """Return the resident memory of the group's processes."""
        ...


class OsProcesses:
    """The system's own processes."""

    def __init__(self) -> None:
        self._own: dict[Path, subprocess.Popen[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, folder: Path, attempt: int, command: Sequence[str], env: Mapping[str, str]) -> ProcessId:
        """Start an attempt in a session of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        # -I -S: no site, no user's PYTHONPATH: 20 ms and 3 MB less, and nothing of theirs in our process.
        line = [sys.executable, "-I", "-S", supervise.__file__, str(folder), str(attempt), "--", *command]
        process = subprocess.Popen(  # the command is the operator's own
            line,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._own[folder] = process
        return process.pid, _started(process.pid) or 0.0

    def find(self, folder: Path, attempt: int) -> ProcessId | None:
        """Find the living attempt by its lock and pid file."""
        written = read_json(folder / "pid.json")
        if written is None or written.get("attempt") != attempt or not self.is_alive(folder):
            return None
        pid = int(written["pid"])
        return pid, _started(pid) or 0.0

    def is_alive(self, folder: Path) -> bool:
        """Say whether the lock is held, or our own supervisor has not taken it yet."""
        own = self._own.get(folder)
        if own is not None and own.poll() is None:
            return True
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def exit_code(self, folder: Path, attempt: int) -> int | None:
        """Read the exit record of an attempt."""
        written = read_json(folder / "exit.json")
        return int(written["code"]) if written is not None and written.get("attempt") == attempt else None

    def signal(self, folder: Path, who: ProcessId, number: signal.Signals) -> None:
        """Signal the group, unless its id belongs to somebody else by now."""
        pid, started = who
        now = _started(pid)
        if not self.is_alive(folder) or (now is not None and abs(now - started) > START_TOLERANCE_S):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)

    def when_ended(self, folder: Path, who: ProcessId, call: Callable[[], None]) -> None:
        """Watch in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._wait(folder, who, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def memory_bytes(self, who: ProcessId) -> int:
        """Sum the resident memory below the supervisor."""
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(who[0]).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += int(process.memory_info().rss)
        return total

    def close(self) -> None:
        """Stop watching; the processes live on."""
        for task in self._tasks:
            task.cancel()
        for own in self._own.values():
            if own.poll() is None:
                own.returncode = 0  # tells Popen that nobody will wait for it here any more
        self._own.clear()

    async def _wait(self, folder: Path, who: ProcessId, call: Callable[[], None]) -> None:
        await _gone(who)
        own = self._own.get(folder)
        if own is not None and own.pid == who[0]:
            del self._own[folder]
            if own.wait() == supervise.LOCKED:  # it is gone: this reaps it
                call()
                return
        for _ in range(RELEASE_TRIES):
            if not self.is_alive(folder):
                break
            self.signal(folder, who, signal.SIGKILL)
            await asyncio.sleep(0.05)
        call()


def _started(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


async def _gone(who: ProcessId) -> None:
    if sys.platform == "linux":
        try:
            handle = os.pidfd_open(who[0])
        except OSError:
            return
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, ended.set)
        try:
            now = _started(who[0])
            if now is not None and abs(now - who[1]) <= START_TOLERANCE_S:
                await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)
    else:
        while (now := _started(who[0])) is not None and abs(now - who[1]) <= START_TOLERANCE_S:  # noqa: ASYNC110  # no event here
            await asyncio.sleep(POLL_S)
