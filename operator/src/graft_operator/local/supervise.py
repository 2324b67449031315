"""Parent of one child: keeps its exit code where a dead `graft up` can't lose it. Standard library only, run by path.

    python -I -S supervise.py FOLDER ATTEMPT -- COMMAND...

1. Takes the lock file of the folder, or leaves with LOCKED: two attempts never run at a time, whatever was killed when.
2. Writes `pid.json` (its own pid, which is the process group of all that follows, and the attempt), removes the last attempt's end.
3. Runs the command with output appended to `log`. The command inherits the lock, so the folder stays locked until the last process
   of the group is gone, also where this one was killed.
4. Writes `exit.json` (attempt, code) by atomic rename. Signals for the group are left to the command: it saves, this one waits.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys

__all__ = ["LOCKED", "main"]

LOCKED = 73
"""Exit code where another attempt holds the folder (EX_CANTCREAT of sysexits.h)."""

UNSTARTED = 127
"""Recorded where the command could not be started at all, as a shell does."""


def main(argv: list[str]) -> int:
    """Supervise one command; returns this process's own exit code."""
    folder, attempt, dashes, *command = argv
    if dashes != "--" or not command:
        raise SystemExit("usage: supervise.py FOLDER ATTEMPT -- COMMAND...")
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # noqa: PTH118  # pathlib costs 10 ms
    if not _take(lock):
        return LOCKED
    for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(kind, _leave_it)
    for name in ("exit.json", "report.json"):
        _forget(os.path.join(folder, name))  # noqa: PTH118  # no pathlib, as above
    _write(folder, "pid.json", {"pid": os.getpid(), "attempt": int(attempt)})
    code = _run(folder, command, lock)
    _write(folder, "exit.json", {"attempt": int(attempt), "code": code})
    return 0


def _take(lock: int) -> bool:
    # Whoever only asks whether the folder is locked holds the lock for a moment: try for half a second.
    for _ in range(50):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            select.select((), (), (), 0.01)
        else:
            return True
    return False


def _run(folder: str, command: list[str], lock: int) -> int:
    with open(os.path.join(folder, "log"), "ab", buffering=0) as log:  # noqa: PTH118, PTH123  # no pathlib, as above
        try:
            # A handler of Python's own does not survive exec: the command meets SIGTERM with its own defaults.
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,))
        except OSError as error:
            log.write(f"{command[0]} cannot be started: {error}\n".encode())
            return UNSTARTED
        return child.wait()


def _leave_it(number: int, frame: object) -> None:
    del number, frame


def _forget(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108  # no pathlib, as above
    except FileNotFoundError:
        return


def _write(folder: str, name: str, body: dict[str, int]) -> None:
    target = os.path.join(folder, name)  # noqa: PTH118  # no pathlib, as above
    with open(f"{target}.tmp", "w", encoding="ascii") as file:  # noqa: PTH123  # no pathlib, as above
        json.dump(body, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{target}.tmp", target)  # noqa: PTH105  # no pathlib, as above


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
