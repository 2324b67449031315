"""Which object gets its pass next: no I/O, no tasks, a clock and a die that are handed in.

    mark ──► ready (in order, each key once) ──► take ──► running ──► done ──► due at a time (heap) ──► ready
                 ▲            │ out of tokens: due                       │
                 └────────────┴──── marked while it ran ◄────────────────┘

One pass at a time for a key. Ready keys wait in one line, and a key that is marked again while it waits keeps its place; one that is marked
while it runs goes to the line's end. So each key gets its turn, however often another is marked; and a key that is marked all
the time runs out of tokens and is put off, so that it doesn't take the server from the others.
"""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from graft_core.clock import Clock
from graft_operator.reconcile.pacing import LONGEST_RETRY_S, back_off_s

__all__ = ["Moot", "Pace", "WorkQueue"]

KeyT = TypeVar("KeyT", bound=Hashable)
Moot = Callable[[], bool]
"""Says whether a mark has lost its reason."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds of a queue."""

    max_running: int = 24
    """Passes under way at a time."""
    burst: float = 20.0
    """Passes that one key may have in a row, without a pause."""
    per_s: float = 1.0
    """Passes a second that one key may have for long."""


@dataclass(slots=True)
class _Entry:
    """What is known of a key; one without anything to remember is dropped."""

    due: float | None = None
    failures: int = 0
    not_before: float = 0.0
    tokens: float = 0.0
    counted_at: float = 0.0


class WorkQueue(Generic[KeyT]):
    """Keys that want a pass."""

    def __init__(self, clock: Clock, pace: Pace, draw: Callable[[], float]) -> None:
        """Begin empty.

        Args:
            clock: Only its monotonic side is asked.
            pace: Bounds.
            draw: A random number from 0 up to 1, for spreading.
        """
        self._clock = clock
        self._pace = pace
        self._draw = draw
        self._entries: dict[KeyT, _Entry] = {}
        self._ready: OrderedDict[KeyT, None] = OrderedDict()
        self._running: dict[KeyT, list[Moot]] = {}
        """The marks that came meanwhile."""
        self._heap: list[tuple[float, int, KeyT]] = []
        self._order = itertools.count()

    @property
    def depth(self) -> int:
        """Keys that wait for a free place."""
        return len(self._ready)

    @property
    def running(self) -> int:
        """Passes under way."""
        return len(self._running)

    def mark(self, key: KeyT, after_s: float = 0.0, is_moot: Moot | None = None) -> None:
        """Have a pass over a key: now, or at the latest after so many seconds.

        Args:
            key: What.
            after_s: When.
            is_moot: Asked when the pass that is under way has ended: it may have done what the mark is about.
        """
        if key in self._ready:
            return
        entry = self._entry(key)
        at = max(self._clock.monotonic() + after_s, entry.not_before)
        if at > self._clock.monotonic():
            self._put_off(key, entry, at)
        elif key in self._running:
            self._running[key].append(is_moot or _is_never_moot)
        else:
            entry.due = None
            self._ready[key] = None

    def take(self) -> KeyT | None:
        """Return the next key, which counts as running from now on; None: nothing to do, or enough is under way."""
        self._wake()
        while self._ready and len(self._running) < self._pace.max_running:
            key, _ = self._ready.popitem(last=False)
            entry = self._entry(key)
            short_s = self._spend(entry)
            if short_s <= 0:
                self._running[key] = []
                return key
            self._put_off(key, entry, self._clock.monotonic() + short_s)
        return None

    def done(self, key: KeyT, again_s: float | None) -> None:
        """Note that a pass went through; the next is due after so many seconds (None: when it is marked)."""
        was_marked = not all(is_moot() for is_moot in self._running.pop(key))
        entry = self._entries.get(key)
        if entry is None:
            return  # forgotten meanwhile
        entry.failures, entry.not_before = 0, 0.0
        if was_marked:
            self._ready[key] = None
        elif again_s is not None:
            self._put_off(key, entry, self._clock.monotonic() + max(0.0, again_s))

    def failed(self, key: KeyT, first_s: float, at_least_s: float = 0.0, longest_s: float = LONGEST_RETRY_S) -> float:
        """Note that a pass failed.

        Args:
            key: Whose pass it was.
            first_s: First back-off of such a failure.
            at_least_s: What the other side asked for; until then no mark brings the next pass.
            longest_s: Longest back-off of such a failure.

        Returns:
            Seconds until the next pass; 0 for a key that was forgotten meanwhile, which gets none.
        """
        del self._running[key]
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        wait_s = max(at_least_s * (1 + self._draw() / 10), back_off_s(entry.failures, first_s, self._draw(), longest_s))
        entry.failures += 1
        now = self._clock.monotonic()
        entry.not_before = now + at_least_s
        entry.due = None  # whatever was planned: this is known better now
        self._put_off(key, entry, now + wait_s)
        return wait_s

    def forget(self, key: KeyT) -> None:
        """Drop a key whose object is gone; a pass under way ends by itself."""
        self._ready.pop(key, None)
        self._entries.pop(key, None)

    def due_s(self) -> float | None:
        """Return seconds until `take` may have something (0: now); None: not before something is marked or done."""
        self._wake()
        if self._ready and len(self._running) < self._pace.max_running:
            return 0.0
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - self._clock.monotonic()) if self._heap else None

    def _entry(self, key: KeyT) -> _Entry:
        found = self._entries.get(key)
        if found is None:
            found = _Entry(tokens=self._pace.burst, counted_at=self._clock.monotonic())
            self._entries[key] = found
        return found

    def _put_off(self, key: KeyT, entry: _Entry, at: float) -> None:
        if entry.due is None or at < entry.due:
            entry.due = at
            heapq.heappush(self._heap, (at, next(self._order), key))

    def _wake(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)
            if self._is_current(item):
                key = item[2]
                self._entries[key].due = None
                if key in self._running:
                    self._running[key].append(_is_never_moot)
                else:
                    self._ready[key] = None

    def _is_current(self, item: tuple[float, int, KeyT]) -> bool:
        entry = self._entries.get(item[2])
        return entry is not None and entry.due == item[0]

    def _spend(self, entry: _Entry) -> float:
        """Take a token; return seconds until there is one, where there is none."""
        now = self._clock.monotonic()
        entry.tokens = min(self._pace.burst, entry.tokens + (now - entry.counted_at) * self._pace.per_s)
        entry.counted_at = now
        if entry.tokens < 1.0:
            return (1.0 - entry.tokens) / self._pace.per_s
        entry.tokens -= 1.0
        return 0.0


def _is_never_moot() -> bool:
    return False
