"""Changes of several kinds as one stream, with a deadline: a thread reads each kind's watch, the caller's thread waits."""

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from graft_core.clock import Clock, SystemClock
from graft_core.errors import GraftError
from graft_operator.cli.session import Change, Listing, Session
from graft_operator.local.resources import Kind

__all__ = ["WATCHERS", "TimedOut", "follow"]

WATCHERS = "graft-watch-"
"""How the names of the threads begin that read watches."""


class TimedOut(GraftError):
    """The time is over."""

    reason = "Timeout"


class _Item(NamedTuple):
    kind: Kind
    found: Change | GraftError


def follow(
    session: Session,
    starts: Mapping[Kind, Listing],
    *,
    all_namespaces: bool = False,
    names: Mapping[Kind, str] | None = None,
    timeout_s: float | None = None,
    clock: Clock | None = None,
) -> Iterator[tuple[Kind, Change]]:
    """Yield changes as they come.

    Args:
        session: Where to watch.
        starts: For each kind, the listing to watch on from.
        all_namespaces: Watch every namespace, as the listings did.
        names: For each kind, the one object to watch; empty: all.
        timeout_s: Seconds in all; None: for ever.
        clock: Measures the deadline.

    Yields:
        Kind and change.

    Raises:
        TimedOut: The time is over.
        GraftError: The server ended or refused.
    """
    items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
    stop = threading.Event()

    def pump(kind: Kind, since: Listing) -> None:
        try:
            name = (names or {}).get(kind, "")
            for change in session.watch(kind, since, stop, all_namespaces=all_namespaces, name=name):
                items.put(_Item(kind, change))
        except GraftError as error:
            items.put(_Item(kind, error))

    for kind, since in starts.items():
        # A daemon: the caller may leave while the server is silent.
        threading.Thread(target=pump, args=(kind, since), name=f"{WATCHERS}{kind.plural}", daemon=True).start()
    ticking = clock or SystemClock()
    deadline = None if timeout_s is None else ticking.monotonic() + timeout_s
    try:
        while True:
            try:
                item = items.get(timeout=None if deadline is None else max(0.0, deadline - ticking.monotonic()))
            except queue.Empty:
                raise TimedOut("timed out") from None
            if isinstance(item.found, GraftError):
                raise item.found
            yield item.kind, item.found
    finally:
        stop.set()
