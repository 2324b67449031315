"""A world in which replicas contend for a Lease: simulated time, drifting clocks, late and lost messages, frozen and killed processes.

The server is the judge: each write of a replica's work is held against the holder that the Lease names as the write lands.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from graft_operator.cluster.lease import Fence, Record, Seen, Step, Timing, decide_lease, observe_lease

__all__ = ["LeaseWorld"]

LATEST_S = 3.5
"""A message that takes longer is given up by its sender and never lands (the transport's deadline for a write is 4 s)."""


@dataclass
class DriftingClock:
    """A replica's own clock: nobody else's zero, and a rate of its own."""

    world: "LeaseWorld"
    offset_s: float
    rate: float

    def now(self) -> datetime:
        """Nobody asks: the election believes no wall clock."""
        return datetime(2026, 1, 31, tzinfo=UTC)

    def monotonic(self) -> float:
        """Return the replica's own time."""
        return self.offset_s + self.rate * self.world.at


@dataclass
class Replica:
    """One process."""

    name: str
    clock: DriftingClock
    fence: Fence
    seen: Seen | None = None
    frozen_until: float = 0.0
    is_dead: bool = False


@dataclass
class LeaseWorld:
    """One schedule, drawn from a seed; `run` plays it and counts."""

    seed: int
    timing: Timing = field(default_factory=Timing)
    length_s: float = 100.0
    at: float = 0.0
    landed: int = 0
    """Writes of work that landed."""
    split: int = 0
    """Those of a replica that did not hold the Lease as they landed."""
    refused: int = 0
    """Writes that the fence held back."""
    leaders: list[str] = field(default_factory=list[str])
    """Holders, in order."""

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._lease: Record | None = None
        self._names = itertools.count()

    def run(self) -> "LeaseWorld":
        """Play the schedule."""
        for _ in range(self._draw.choice([2, 3])):
            self._start()
        for _ in range(self._draw.randint(2, 8)):
            self._at(self._draw.uniform(0, self.length_s), self._disturb)
        while self._events and self._events[0][0] < self.length_s:
            self.at, _, do = heapq.heappop(self._events)
            do()
        return self

    def _at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), do))

    def _start(self) -> None:
        clock = DriftingClock(self, self._draw.uniform(-1e6, 1e6), self._draw.uniform(0.97, 1.03))
        replica = Replica(f"r{next(self._names)}", clock, Fence(clock, self.timing))
        self._replicas = [*getattr(self, "_replicas", []), replica]
        self._in(replica, self._draw.uniform(0, 3), lambda: self._look(replica))
        self._in(replica, self._draw.uniform(0, 3), lambda: self._work(replica))

    def _in(self, replica: Replica, delay_s: float, do: Callable[[], None]) -> None:
        """Have a process do something later; while it is frozen it does nothing, and catches up as it thaws."""

        def when_awake() -> None:
            if replica.is_dead:
                return
            if self.at < replica.frozen_until:
                self._at(replica.frozen_until + self._draw.random() * 1e-3, when_awake)
            else:
                do()

        self._at(self.at + delay_s, when_awake)

    def _disturb(self) -> None:
        replica = self._draw.choice(self._replicas)
        match self._draw.choice(["freeze", "freeze", "freeze", "kill", "release"]):
            case "freeze":
                replica.frozen_until = self.at + self._draw.choice([3.0, 8.0, 11.0, 14.0, 20.0, 60.0])
            case "kill":
                replica.is_dead = True
                self._start()
            case _:
                self._release(replica)

    def _delay_s(self) -> float:
        return self._draw.choice([0.001, 0.01, 0.5, self._draw.uniform(0, 6)])

    def _send(self, replica: Replica, land: Callable[[], object], answered: Callable[[object], None]) -> None:
        """Have a message land, and its answer come back; either may be lost, and the sender gives up in time."""
        there_s, back_s = self._delay_s(), self._delay_s()
        box: list[object] = []
        if there_s <= LATEST_S and self._draw.random() > 0.03:
            self._at(self.at + there_s, lambda: box.append(land()))
        if there_s + back_s <= LATEST_S and self._draw.random() > 0.03:
            self._in(replica, there_s + back_s, lambda: answered(box[0]) if box else None)

    def _look(self, replica: Replica) -> None:
        self._in(replica, self.timing.period_s * self._draw.uniform(0.9, 1.1), lambda: self._look(replica))

        def read(record: object) -> None:
            assert record is None or isinstance(record, Record)
            now = replica.clock.monotonic()
            replica.seen = observe_lease(replica.seen, record, now)
            step = decide_lease(replica.seen, now, replica.name, self.timing)
            if step is Step.WAIT:
                replica.fence.shut()
            else:
                self._renew(replica, record)

        self._send(replica, lambda: self._lease, read)

    def _renew(self, replica: Replica, before: Record | None) -> None:
        sent_at = replica.clock.monotonic()

        def land() -> Record | None:
            if self._lease != before:
                return None
            if before is None or before.holder != replica.name:
                self.leaders.append(replica.name)
            self._lease = Record(replica.name, str(next(self._order)))
            return self._lease

        def answered(record: object) -> None:
            if isinstance(record, Record):
                replica.seen = Seen(record, sent_at)
                replica.fence.renew(sent_at)

        self._send(replica, land, answered)

    def _release(self, replica: Replica) -> None:
        was_leading, seen = replica.fence.is_open, replica.seen
        replica.fence.shut()

        def land() -> None:
            if seen is not None and self._lease == seen.record:
                self._lease = Record("", str(next(self._order)))

        # What it had sent before must have been answered or given up: the engine ends its passes first (LATEST_S at most).
        if was_leading:
            self._in(replica, LATEST_S, lambda: self._send(replica, land, lambda _: None))

    def _work(self, replica: Replica) -> None:
        self._in(replica, self._draw.uniform(0.05, 1.0), lambda: self._work(replica))
        if not replica.fence.is_open:
            self.refused += 1
            return

        def land() -> None:
            self.landed += 1
            self.split += self._lease is None or self._lease.holder != replica.name

        self._send(replica, land, lambda _: None)
