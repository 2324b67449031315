"""Events: what a person would want told about an object, bounded, equal ones counted."""

from typing import Any, Literal

from graft_core.clock import Clock, to_rfc3339
from graft_operator.local.database import Database

__all__ = ["EventLog"]

MAX_PER_OBJECT = 64
"""Events kept of one object, the newest."""

MAX_IN_ALL = 5000
"""Events kept of all objects, those deleted included."""


class EventLog:
    """Durable events by object."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def record(self, involved: dict[str, Any], kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Record one event; the same again only counts.

        Args:
            involved: The object it is about.
            kind: Normal or Warning.
            reason: CamelCase.
            message: For people; cut at 1,024 characters.
        """
        at, meta = to_rfc3339(self._clock.now()), involved["metadata"]
        with self._db.transaction() as sql:
            same = sql.execute(
                "UPDATE events SET count = count + 1, last_at = ? WHERE uid = ? AND reason = ? AND message = ?",
                (at, meta["uid"], reason, message[:1024]),
            )
            if same.rowcount:
                return
            sql.execute(
                "INSERT INTO events (kind, namespace, name, uid, type, reason, message, count, first_at, last_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
                (involved["kind"], meta["namespace"], meta["name"], meta["uid"], kind, reason, message[:1024], at, at),
            )
            sql.execute(
                "DELETE FROM events WHERE uid = ? AND id NOT IN (SELECT id FROM events WHERE uid = ? ORDER BY id DESC LIMIT ?)",
                (meta["uid"], meta["uid"], MAX_PER_OBJECT),
            )
            sql.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (MAX_IN_ALL,))

    def find_all(self, namespace: str, kind: str | None = None, name: str | None = None) -> list[dict[str, Any]]:
        """Read events of a namespace, of one kind or object where given, oldest first, as core/v1 Events."""
        rows = self._db.rows(
            "SELECT id, kind, namespace, name, uid, type, reason, message, count, first_at, last_at FROM events"
            " WHERE namespace = ? AND ? IN ('', kind) AND ? IN ('', name) ORDER BY last_at, id",
            namespace,
            kind or "",
            name or "",
        )
        return [_to_event(row) for row in rows]


def _to_event(row: tuple[Any, ...]) -> dict[str, Any]:
    number, kind, namespace, name, uid, level, reason, message, count, first_at, last_at = row
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{number:x}", "namespace": namespace, "creationTimestamp": first_at},
        "involvedObject": {"kind": kind, "namespace": namespace, "name": name, "uid": uid},
        "type": level,
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": first_at,
        "lastTimestamp": last_at,
    }
