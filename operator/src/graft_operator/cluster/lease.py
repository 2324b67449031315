"""One writer at a time: a Lease says which replica leads, and a fence keeps a replica that lost it from writing.

No clock of another machine is believed. A replica watches the Lease *change* and counts the time since on its own monotonic clock: only a
record that stood still for the whole lease duration may be taken over. The leader's fence counts from the moment at which the last
renewal that succeeded was *sent*, so it shuts before anybody else can have seen the record stand still for long enough:

    leader   sent ├──── renew deadline 10 s ────┤ fence shut
    server        · landed
    others          · seen ├──────── duration 15 s ────────┤ taken over

What was sent just before the fence shut has `duration - deadline` = 5 s to land; the transport's own deadline for a write is shorter.
A process that was frozen wakes up with its fence shut, because the fence is looked at as the request is sent (`cluster.transport`).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from graft_core.clock import Clock, to_rfc3339
from graft_core.errors import Conflict, GraftError, NotReady
from graft_core.telemetry.logs import get_log
from graft_operator.ports import LEASES, Cluster, Json
from graft_operator.reconcile.kube.parts import number, text

__all__ = ["Election", "Fence", "NotLeading", "Record", "Seen", "Step", "Timing", "decide_lease", "observe_lease"]

_LOG = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the election; those of Kubernetes' own components by default."""

    duration_s: float = 15.0
    """A record that stood still for so long may be taken over."""
    deadline_s: float = 10.0
    """After the last renewal that succeeded, the leader may write for so long."""
    period_s: float = 2.0
    """Time between looks at the Lease."""

    @property
    def write_s(self) -> float:
        """Deadline of a write, 4 s by default: what is sent as the fence shuts has landed or failed before another may lead."""
        return 0.8 * (self.duration_s - self.deadline_s)


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease as it was read."""

    holder: str
    """Identity of the leader; empty where it was given back."""
    version: str
    """resourceVersion: it moves with each renewal."""
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A record and when this replica first saw it as it is, on its own monotonic clock; None: there is no Lease."""

    record: Record | None
    at: float


class Step(StrEnum):
    """What a replica does about a Lease."""

    CREATE = "Create"
    RENEW = "Renew"
    TAKE_OVER = "TakeOver"
    WAIT = "Wait"


def observe_lease(before: Seen | None, record: Record | None, now: float) -> Seen:
    """Return what is seen now: a record that has not moved keeps the moment at which it was first seen so."""
    if before is not None and before.record == record:
        return before
    return Seen(record, now)


def decide_lease(seen: Seen, now: float, me: str, timing: Timing) -> Step:
    """Say what to do; every step but WAIT is a write that the server refuses where the Lease has moved on."""
    if seen.record is None:
        return Step.CREATE
    if seen.record.holder == me:
        return Step.RENEW
    if not seen.record.holder or now - seen.at > timing.duration_s:
        return Step.TAKE_OVER
    return Step.WAIT


class NotLeading(NotReady):
    """A write was held back, because this replica does not lead."""

    reason = "NotLeading"


class Fence:
    """Whether this replica may write, on its own monotonic clock."""

    def __init__(self, clock: Clock, timing: Timing) -> None:
        self._clock = clock
        self._deadline_s = timing.deadline_s
        self._renewed_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last renewal is young enough."""
        return self._renewed_at is not None and self._clock.monotonic() <= self._renewed_at + self._deadline_s

    def renew(self, sent_at: float) -> None:
        """Note a renewal that succeeded, by the time at which it was sent."""
        self._renewed_at = sent_at

    def shut(self) -> None:
        """Let nothing through until the next renewal."""
        self._renewed_at = None

    def check(self) -> None:
        """Refuse to write.

        Raises:
            NotLeading: This replica does not lead.
        """
        if not self.is_open:
            raise NotLeading("this replica does not lead, so nothing was written", retry_after_s=self._deadline_s)


class Election:
    """Takes, renews and gives back one Lease; the fence follows it."""

    def __init__(
        self,
        cluster: Cluster,
        fence: Fence,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: Timing,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._fence = fence
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing
        self._wait = wait
        self._seen: Seen | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this replica may write now."""
        return self._fence.is_open

    async def run(self, changed: Callable[[bool], None]) -> None:
        """Look at the Lease until cancelled.

        Args:
            changed: Told when this replica begins to lead (True) and when it has lost the lead (False).
        """
        was_leading = False
        while True:
            wait_s = self._timing.period_s
            try:
                await self.look()
            except Conflict:
                _LOG.debug("lease_moved_on", lease=self._name)  # another replica was faster, or our own late answer
            except GraftError as error:
                _LOG.warning("lease_out_of_reach", lease=self._name, reason=error.reason)
                wait_s /= 4  # a leader has until its deadline to get through
            if was_leading != self.is_leading:
                was_leading = self.is_leading
                _LOG.info("leadership_changed", lease=self._name, identity=self._identity, leads=was_leading)
                changed(was_leading)
            await self._wait(wait_s * (0.9 + random.random() / 5))

    async def look(self) -> Step:
        """Read the Lease once and do what it asks for."""
        body = await self._cluster.get(LEASES, self._namespace, self._name)
        self._seen = observe_lease(self._seen, None if body is None else _to_record(body), self._clock.monotonic())
        step = decide_lease(self._seen, self._clock.monotonic(), self._identity, self._timing)
        if step is not Step.WAIT:
            sent_at = self._clock.monotonic()
            self._seen = observe_lease(self._seen, await self._write(step, self._seen.record), sent_at)
            self._fence.renew(sent_at)
        elif self._fence.is_open:
            self._fence.shut()  # somebody else leads: whatever our own clock says
        return step

    async def release(self) -> None:
        """Shut the fence and give the Lease back, so that another replica leads at once."""
        was_leading, seen = self.is_leading, self._seen
        self._fence.shut()
        if not was_leading or seen is None or seen.record is None:
            return
        try:
            patch = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
            await self._cluster.patch(LEASES, self._namespace, self._name, patch, resource_version=seen.record.version)
        except GraftError as error:
            _LOG.info("lease_not_released", lease=self._name, reason=error.reason)

    async def _write(self, step: Step, record: Record | None) -> Record:
        at = to_rfc3339(self._clock.now())
        spec: Json = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._timing.duration_s)),
            "renewTime": at,
        }
        if step is not Step.RENEW:
            spec |= {"acquireTime": at, "leaseTransitions": 0 if record is None else record.transitions + 1}
        if record is None:
            meta = {"name": self._name, "namespace": self._namespace}
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": meta, "spec": spec}
            return _to_record(await self._cluster.create(LEASES, body))
        patched = await self._cluster.patch(
            LEASES, self._namespace, self._name, {"spec": spec}, resource_version=record.version
        )
        return _to_record(patched)


def _to_record(body: Json) -> Record:
    return Record(
        holder=text(body, "spec", "holderIdentity"),
        version=str(body["metadata"]["resourceVersion"]),
        transitions=number(body, "spec", "leaseTransitions"),
    )
