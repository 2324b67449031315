"""Runs passes as the queue says, as tasks; held while this replica does not lead."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Generic

from graft_core.clock import Clock
from graft_core.telemetry.logs import get_log
from graft_operator.engine.queue import KeyT, Moot, WorkQueue
from graft_operator.reconcile.pacing import retry_after

__all__ = ["Dispatcher"]

_LOG = get_log(__name__)

TICK_S: Final = 5.0
"""The loop turns at least so often, whatever happens: its last turn says that it lives."""


class Dispatcher(Generic[KeyT]):
    """One queue and the passes under way."""

    def __init__(
        self, queue: WorkQueue[KeyT], run_pass: Callable[[KeyT], Awaitable[float | None]], clock: Clock
    ) -> None:
        """Begin held.

        Args:
            queue: What is to be done.
            run_pass: Runs one pass; returns after how many seconds the next is due.
            clock: For telling when the loop last turned.
        """
        self._queue = queue
        self._run_pass = run_pass
        self._clock = clock
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self.turned_at = clock.monotonic()
        """When the loop last turned, on the monotonic clock."""

    def mark(self, key: KeyT, after_s: float = 0.0, is_moot: Moot | None = None) -> None:
        """Have a pass over a key; arguments as for `WorkQueue.mark`."""
        self._queue.mark(key, after_s, is_moot)
        self._changed.set()

    def forget(self, key: KeyT) -> None:
        """Drop a key whose object is gone."""
        self._queue.forget(key)

    def hold(self, *, is_held: bool) -> None:
        """Begin no pass any more, or go on; what is marked meanwhile is kept."""
        self._is_open = not is_held
        self._changed.set()

    async def run(self) -> None:
        """Begin passes until cancelled."""
        while True:
            self.turned_at = self._clock.monotonic()
            self._changed.clear()
            while self._is_open and (key := self._queue.take()) is not None:
                task = asyncio.create_task(self._one(key), name=f"pass {key}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            due_s = self._queue.due_s() if self._is_open else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S if due_s is None else min(due_s, TICK_S)):
                    await self._changed.wait()

    async def drain(self, grace_s: float) -> None:
        """Begin no pass any more, and wait for those under way; after `grace_s` they are cancelled."""
        self.hold(is_held=True)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _one(self, key: KeyT) -> None:
        try:
            again_s = await self._run_pass(key)
        except asyncio.CancelledError:
            self._queue.failed(key, 1.0)
            raise
        except Exception as error:  # noqa: BLE001  # the edge of a pass: a fault in one object must not stop the others
            retry = retry_after(error)
            wait_s = self._queue.failed(key, retry.first_s, retry.at_least_s, retry.longest_s)
            if retry.is_expected:
                _LOG.info(retry.event, object=str(key), reason=str(error), again_s=round(wait_s, 3))
            else:
                _LOG.failure(retry.event, error, object=str(key), again_s=round(wait_s, 3))
        else:
            self._queue.done(key, again_s)
        finally:
            self._changed.set()
