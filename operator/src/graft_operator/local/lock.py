"""One `graft up` at a time on a state folder: flock on a file that names the holder."""

import fcntl
import os
from pathlib import Path

from graft_core.errors import Conflict

__all__ = ["StateLock", "holder_of"]


class StateLock:
    """Held from construction until `release` or the end of the process, whatever ends it."""

    def __init__(self, state: Path) -> None:
        """Take the lock.

        Args:
            state: The state folder; made with permissions 0700 where it is not there.

        Raises:
            Conflict: Another `graft up` holds it.
        """
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise Conflict(
                f"another `graft up` (pid {pid}) runs on the state folder {str(state)!r}; use that one,"
                f" end it with `graft down --state {state}`, or choose another --state"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let go."""
        os.close(self._file)


def holder_of(state: Path) -> int | None:
    """Return the pid of the `graft up` that holds the folder, or None where none does."""
    try:
        file = os.open(state / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(file, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdecimal() else None
    finally:
        os.close(file)
    return None
