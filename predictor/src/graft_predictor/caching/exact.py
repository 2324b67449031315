"""The tier on disk: a SQLite file of the predictor's own, so that a restart does not forget.

SQLite blocks, so it lives in one thread. Every fault (a full disk, a damaged file, a slow one) means a miss or an entry that is not kept;
the request goes on.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from graft_core.clock import Clock
from graft_core.telemetry.logs import get_log
from graft_predictor.caching.base import MAX_ENTRY_CHARS, CachedAnswer

__all__ = ["ExactTier"]

BUDGET_S: Final = 0.25
"""Longest that a request waits for the disk."""
SWEEP_EVERY: Final = 500
"""Writes between two removals of what has expired."""
MAX_PENDING: Final = 256
"""Calls that may wait for the thread; more are misses."""

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA user_version = 1;
CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, expires_at REAL NOT NULL, answer BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_expiry ON answers (expires_at);
"""

_T = TypeVar("_T")
_log = get_log(__name__)


class ExactTier:
    """Answers by key, until they expire."""

    def __init__(self, path: Path, *, ttl_s: int, clock: Clock, on_fault: Callable[[], None]) -> None:
        """Keep nothing open yet.

        Args:
            path: The file; its folder exists.
            ttl_s: Seconds an answer is kept; they count from when it was made and are never prolonged.
            clock: For the expiry, which must outlive the process.
            on_fault: Called for each fault; it counts them.
        """
        self._path = path
        self._ttl_s = ttl_s
        self._clock = clock
        self._on_fault = on_fault
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="graft-cache")
        self._db: sqlite3.Connection | None = None
        self._pending = 0
        self._writes = 0

    async def get(self, key: bytes) -> CachedAnswer | None:
        """Return the answer, or None."""
        now = self._clock.now().timestamp()
        return await self._call(lambda: self._select(key, now))

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keep an answer."""
        if len(answer.text) <= MAX_ENTRY_CHARS:
            now = self._clock.now().timestamp()
            await self._call(lambda: self._upsert(key, answer.to_bytes(), now))

    def close(self) -> None:
        """Finish what is written, and close the file."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=True)

    async def _call(self, work: Callable[[], _T]) -> _T | None:
        if self._pending >= MAX_PENDING:
            self._on_fault()
            return None
        self._pending += 1
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
            async with asyncio.timeout(BUDGET_S):
                return await future
        except (sqlite3.Error, OSError, ValueError, RuntimeError, TimeoutError) as err:
            _log.warning("exact_cache_failed", error=type(err).__name__)
            self._on_fault()
            return None
        finally:
            self._pending -= 1

    def _select(self, key: bytes, now: float) -> CachedAnswer | None:
        row = self._open().execute("SELECT answer FROM answers WHERE key = ? AND expires_at > ?", (key, now)).fetchone()
        return CachedAnswer.from_bytes(row[0]) if row is not None else None

    def _upsert(self, key: bytes, data: bytes, now: float) -> None:
        db = self._open()
        with db:
            db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, now + self._ttl_s, data))
            self._writes += 1
            if self._writes % SWEEP_EVERY == 1:
                db.execute("DELETE FROM answers WHERE expires_at <= ?", (now,))

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._db = self._connect()
            except sqlite3.DatabaseError as err:
                if isinstance(err, sqlite3.OperationalError):
                    raise  # locked, full or not writable: nothing is wrong with the file
                # Not a database, or a damaged one: it is only a cache.
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=0.2, check_same_thread=False)
        try:
            db.executescript(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
