"""One SQLite file that survives `kill -9`: WAL, synchronous=FULL, everything in short transactions.

It is opened by the one `graft up` that holds the state folder's lock, and used from one thread.
"""

import json
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graft_core.errors import Corrupt, Unavailable

__all__ = ["Database"]

SCHEMA_VERSION = 1
"""`PRAGMA user_version`; a file from a newer Graft is refused rather than guessed at."""

_SCHEMA = (
    """CREATE TABLE objects (
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE,
        revision INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
        type TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, count INTEGER NOT NULL,
        first_at TEXT NOT NULL, last_at TEXT NOT NULL)""",
    "CREATE INDEX events_by_object ON events (uid)",
    "CREATE TABLE records (area TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (area, key)) WITHOUT ROWID",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO counters VALUES ('revision', 0)",
)


class Database:
    """The connection, its schema, and small durable records by area and key."""

    def __init__(self, path: Path) -> None:
        try:
            self._sql = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            self._sql.execute("PRAGMA journal_mode=WAL")
            self._sql.execute("PRAGMA synchronous=FULL")
            self._migrate(path)
        except sqlite3.DatabaseError as error:
            raise Corrupt(
                f"{path} cannot be read as Graft's database: {error}; restore it or remove it to start anew"
            ) from error
        self._depth = 0
        self._after_commit: list[Callable[[], None]] = []

    def close(self) -> None:
        """Close the file; the object is of no use afterwards."""
        self._sql.close()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Run the block as one transaction; an inner block joins the outer one.

        Yields:
            The connection.

        Raises:
            Unavailable: SQLite could not write, e.g. the disk is full.
        """
        if self._depth == 0:
            self._after_commit.clear()
            self._execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield self._sql
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise Unavailable(
                f"the state database cannot be written: {error}; free disk space or repair the folder"
            ) from error
        except BaseException:
            self._roll_back()
            raise
        self._depth -= 1
        if self._depth == 0:
            self._execute("COMMIT")
            pending, self._after_commit = self._after_commit, []
            for call in pending:
                call()

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` run once the transaction under way is on disk; a rolled-back one forgets it."""
        self._after_commit.append(call)

    def next_revision(self) -> int:
        """Count up the store-wide revision; only within a transaction."""
        row = self._sql.execute(
            "UPDATE counters SET value = value + 1 WHERE name = 'revision' RETURNING value"
        ).fetchone()
        return int(row[0])

    def revision(self) -> int:
        """Return the newest revision."""
        return int(self._sql.execute("SELECT value FROM counters WHERE name = 'revision'").fetchone()[0])

    def rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Read rows outside a transaction."""
        return self._sql.execute(sql, values).fetchall()

    def put_record(self, area: str, key: str, body: dict[str, Any]) -> None:
        """Write one record, durable when this returns."""
        with self.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (area, key, json.dumps(body)))

    def drop_record(self, area: str, key: str) -> None:
        """Remove one record; one that is not there is fine."""
        with self.transaction() as sql:
            sql.execute("DELETE FROM records WHERE area = ? AND key = ?", (area, key))

    def records(self, area: str) -> dict[str, dict[str, Any]]:
        """Read an area's records by key."""
        return {
            key: json.loads(body)
            for key, body in self.rows("SELECT key, body FROM records WHERE area = ? ORDER BY key", area)
        }

    def _migrate(self, path: Path) -> None:
        found = int(self._sql.execute("PRAGMA user_version").fetchone()[0])
        if found > SCHEMA_VERSION:
            raise Corrupt(
                f"{path} has schema version {found!r}, this Graft knows up to {SCHEMA_VERSION}; upgrade Graft"
            )
        if found == SCHEMA_VERSION:
            return
        self._sql.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._sql.execute(statement)
        self._sql.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._sql.execute("COMMIT")

    def _execute(self, statement: str) -> None:
        try:
            self._sql.execute(statement)
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise Unavailable(
                f"the state database cannot be written: {error}; free disk space or repair the folder"
            ) from error

    def _roll_back(self) -> None:
        self._depth = 0
        self._after_commit.clear()
        if self._sql.in_transaction:
            self._sql.execute("ROLLBACK")
