"""Events: what a person would want told about an object, written beside the passes; equal ones are counted, and none ever fails a pass."""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from graft_core.clock import Clock, to_rfc3339
from graft_core.errors import Conflict, GraftError, InvalidInput
from graft_core.telemetry.logs import get_log
from graft_operator.ports import EVENTS, Cluster, Json
from graft_operator.reconcile.decision import Event

__all__ = ["COMPONENT", "EventRecorder"]

_LOG = get_log(__name__)

COMPONENT: Final = "graft-operator"
MAX_WAITING: Final = 1000
"""Events that wait to be written; with more than that the newest are dropped and counted."""
MAX_KNOWN: Final = 5000
"""Events that are remembered for counting."""
MAX_MESSAGE_CHARS: Final = 1024
"""The API's own bound."""


@dataclass(slots=True)
class _Waiting:
    name: str
    involved: Json
    """A reference, not the object: a thousand may wait."""
    event: Event
    at: str


class EventRecorder:
    """Writes core/v1 Events, one after the other."""

    def __init__(self, cluster: Cluster, clock: Clock, instance: str) -> None:
        self._cluster = cluster
        self._clock = clock
        self._instance = instance
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._counts: OrderedDict[str, int] = OrderedDict()
        self.dropped = 0
        """Events that were not written: too many waited, or the server refused them."""

    def emit(self, involved: Json, event: Event) -> None:
        """Have one event written, soon.

        Args:
            involved: The object it is about.
            event: What to tell.
        """
        meta = involved["metadata"]
        same = hashlib.sha256("\0".join((meta["uid"], event.type, event.reason, event.message)).encode()).hexdigest()
        reference: Json = {
            "apiVersion": involved["apiVersion"],
            "kind": involved["kind"],
            "namespace": str(meta["namespace"]),
            "name": meta["name"],
            "uid": meta["uid"],
        }
        waiting = _Waiting(f"{meta['name']}.{same[:16]}", reference, event, to_rfc3339(self._clock.now()))
        try:
            self._waiting.put_nowait(waiting)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            waiting = await self._waiting.get()
            try:
                await self._write(waiting)
            except GraftError as error:
                self.dropped += 1
                _LOG.info("event_not_written", event_reason=waiting.event.reason, reason=error.reason)
            finally:
                self._waiting.task_done()

    async def flush(self, grace_s: float) -> None:
        """Wait until all are written, for a while."""
        try:
            async with asyncio.timeout(grace_s):
                await self._waiting.join()
        except TimeoutError:
            self.dropped += self._waiting.qsize()

    async def _write(self, waiting: _Waiting) -> None:
        namespace: str = waiting.involved["namespace"]
        count = self._counts.get(waiting.name, 0)
        if count and not await self._count(namespace, waiting, count):
            count = 0  # the server keeps events for an hour, as a rule
        if count == 0:
            try:
                await self._cluster.create(EVENTS, self._render(waiting, namespace))
            except Conflict:  # told by the process before this one
                found = await self._cluster.get(EVENTS, namespace, waiting.name)
                count = int((found or {}).get("count") or 0)
                await self._count(namespace, waiting, count)
        self._counts[waiting.name] = count + 1
        self._counts.move_to_end(waiting.name)
        while len(self._counts) > MAX_KNOWN:
            self._counts.popitem(last=False)

    async def _count(self, namespace: str, waiting: _Waiting, count: int) -> bool:
        """Count one up; False where the event is not there any more."""
        patch = {"count": count + 1, "lastTimestamp": _seconds(waiting.at)}
        try:
            await self._cluster.patch(EVENTS, namespace, waiting.name, patch)
        except InvalidInput as error:
            if error.reason != "NotFound":
                raise
            return False
        return True

    def _render(self, waiting: _Waiting, namespace: str) -> Json:
        event = waiting.event
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": waiting.name, "namespace": namespace},
            "involvedObject": waiting.involved,
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:MAX_MESSAGE_CHARS],
            "count": 1,
            "firstTimestamp": _seconds(waiting.at),
            "lastTimestamp": _seconds(waiting.at),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }


def _seconds(at: str) -> str:
    """Cut to whole seconds: these fields are metav1.Time, which knows no fractions."""
    return at[:19] + "Z"
