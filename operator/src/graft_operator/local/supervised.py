"""Records of supervised processes: kept in the database before anything is done, found by key, signalled as a group, ended together.

What a record means, and what follows from its end, is the owner's: `children` for trainers, `arms` for predictors.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from graft_core.clock import Clock
from graft_operator.local.database import Database
from graft_operator.local.process_record import ProcessRecord
from graft_operator.local.processes import Processes

__all__ = ["Supervised"]

KILLED_WITHIN_S = 2.0
"""How long the ends of killed processes are waited for."""


RecordT = TypeVar("RecordT", bound=ProcessRecord)


class Supervised(Generic[RecordT]):
    """All records of one area of the database, and the processes behind them."""

    def __init__(
        self,
        area: str,
        model: type[RecordT],
        folder_of: Callable[[RecordT], Path],
        database: Database,
        processes: Processes,
        clock: Clock,
        changed: Callable[[str], None],
    ) -> None:
        """Read what is kept; nothing is started.

        Args:
            area: Of the database.
            model: What a record is read as.
            folder_of: Run folder of a record.
            database: Where records are kept.
            processes: The system.
            clock: Time.
            changed: Called with the uid of a record that was written or dropped.
        """
        self._area = area
        self._folder_of = folder_of
        self._db = database
        self._processes = processes
        self._clock = clock
        self._changed = changed
        self._records: dict[str, RecordT] = {
            key: model.model_validate(body) for key, body in database.records(area).items()
        }
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def get(self, key: str) -> RecordT | None:
        """Return the record, or None."""
        return self._records.get(key)

    def all(self) -> tuple[RecordT, ...]:
        """Return every record."""
        return tuple(self._records.values())

    def put(self, record: RecordT) -> None:
        """Write a record down."""
        self._db.put_record(self._area, record.key, record.model_dump(mode="json"))
        self._records[record.key] = record
        self._changed(record.uid)

    def drop(self, record: RecordT) -> None:
        """Forget a record; one that is gone is fine."""
        self._db.drop_record(self._area, record.key)
        self._records.pop(record.key, None)
        self._changed(record.uid)

    def is_alive(self, record: RecordT) -> bool:
        """Say whether anything of the last attempt lives."""
        return self._processes.is_alive(self._folder_of(record))

    def signal(self, record: RecordT, number: signal.Signals) -> None:
        """Signal the whole group."""
        self._processes.signal(self._folder_of(record), (record.pid, record.started), number)

    def stop(self, record: RecordT, grace_s: float) -> None:
        """Write the record down, have its group end, and kill what is left after the grace."""
        self.put(record)
        self.signal(record, signal.SIGTERM)
        self.later(record.key, grace_s, lambda: self.signal(record, signal.SIGKILL))

    def later(self, key: str, wait_s: float, call: Callable[[], None]) -> None:
        """Call once, in a while, instead of what was to be called for this key."""
        self.cancel(key)
        self._timers[key] = asyncio.get_running_loop().call_later(wait_s, call)

    def cancel(self, key: str) -> None:
        """Call nothing for this key."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        """Call nothing any more."""
        for timer in self._timers.values():
            timer.cancel()

    async def end_all(self, living: list[RecordT], grace_s: float, *, now: bool) -> None:
        """End processes together; the records stay as they are.

        Args:
            living: Whose.
            grace_s: What they get between SIGTERM and SIGKILL.
            now: Kill at once.
        """
        for record in living:
            self.signal(record, signal.SIGKILL if now else signal.SIGTERM)
        deadline = self._clock.monotonic() + (KILLED_WITHIN_S if now else grace_s)
        # Several processes, once, at the very end: looking is simpler than waiting for events here.
        while self._clock.monotonic() < deadline and any(self.is_alive(r) for r in living):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for record in living:
            if self.is_alive(record):
                self.signal(record, signal.SIGKILL)
