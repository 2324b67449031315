"""A watch of one resource: first all there is, then whatever changes, for ever.

For what there may be tens of thousands of. kopf keeps a queue, a task and a memory for each object that it tells of (docs/adr/0019);
this keeps nothing, and holds one object at a time where the server streams its first list, as Kubernetes does from 1.34 on; others are
asked for pages. Deletions that no watch was there to tell of are found by the timed look (`engine/resync.py`).
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Literal, Protocol, cast

from graft_core.errors import GraftError, InvalidInput, NotReady, Unavailable
from graft_core.telemetry.logs import get_log
from graft_operator.cluster.faults import Call, Expired
from graft_operator.cluster.transport import Request
from graft_operator.ports import Json, Resource
from graft_operator.reconcile.kube.parts import parts, text

__all__ = ["Change", "Source", "Taker", "Watch"]

_LOG = get_log(__name__)

Change = Literal["ADDED", "MODIFIED", "DELETED"] | None
"""What happened to an object; None: it is there, as a list says."""
Taker = Callable[[Change, Json], None]
"""Told of every object."""

SERVER_ENDS_S: Final = 280
"""The server ends a watch after so long, and it is opened anew where it stood."""
SILENCE_S: Final = 70.0
"""The server sends a bookmark once a minute; a watch that is silent for longer is dead."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0
"""A server that comes back finds its objects looked at within half a minute."""
FIRST_ANEW_S: Final = 0.1
"""First wait before a new list where a version was too old: no failure, unless it goes on."""
UNSERVED_WAIT_S: Final = 2.0
"""Until a resource that is not served is asked for again."""
MAX_LINE: Final = 16 * 2**20
"""No server stores an object that long."""
LISTED: Final = "k8s.io/initial-events-end"
"""On the bookmark that ends a streamed list."""


class Source(Protocol):
    """Where a watch asks: `cluster.transport.Transport`."""

    def stream(self, request: Request, silence_s: float) -> AsyncGenerator[bytes]:
        """Send a read and yield its answer as it comes."""
        ...

    async def send(self, request: Request) -> Json:
        """Send a request and return what it is answered with."""
        ...


class Watch:
    """One resource in one namespace, or in all."""

    def __init__(
        self,
        source: Source,
        resource: Resource,
        namespace: str,
        take: Taker,
        *,
        labels: str = "",
        page: int = 500,
        broke: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            source: Where requests go; not the passes' own, for a watch that is open keeps a connection.
            resource: What to watch.
            namespace: Where; `""` is the whole cluster.
            take: Told of every object, in order.
            labels: Selector; `""` is all.
            page: Objects in a page, where the server streams no list.
            broke: Told when the watch has to be opened anew.
        """
        self._source = source
        self._resource = resource
        self._namespace = namespace
        self._take = take
        self._query = {"labelSelector": labels} if labels else {}
        self._page = page
        self._broke = broke
        self._version = ""
        """Where the watch stands; empty: nothing was listed, or has to be anew."""
        self._is_streamed = True
        """Whether the server streams lists, as far as is known."""
        self._wait_s, self._anew_s = FIRST_WAIT_S, FIRST_ANEW_S

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                await self._follow()
                wait_s = 0.1
            except (GraftError, AttributeError, LookupError, TypeError, ValueError) as error:  # refused, or no event
                wait_s = self._failed(error)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))

    def _failed(self, error: Exception) -> float:
        """Note why the watch ended; return after how long it is opened anew."""
        if isinstance(error, InvalidInput) and error.reason == "NotFound":
            self._version = ""
            return UNSERVED_WAIT_S
        if isinstance(error, Expired) or not isinstance(error, NotReady):
            self._version = ""  # a broken connection goes on where it stood; all else is listed anew
        if isinstance(error, InvalidInput) and self._is_streamed:
            self._is_streamed = False
            return 0.0
        if isinstance(error, Expired):
            wait_s, self._anew_s = self._anew_s, min(LONGEST_WAIT_S, 2 * self._anew_s)
            return wait_s
        self._broke()
        reason = error.reason if isinstance(error, GraftError) else type(error).__name__
        _LOG.warning("watch_broke", kind=self._resource.kind, reason=reason)
        wait_s, self._wait_s = self._wait_s, min(LONGEST_WAIT_S, 2 * self._wait_s)
        return max(wait_s, error.retry_after_s if isinstance(error, NotReady) else 0.0)

    async def _follow(self) -> None:
        """Open the watch and tell of all that comes, until the server ends it."""
        if not self._version and not self._is_streamed:
            self._version = await self._list()
        query = {**self._query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(SERVER_ENDS_S)}
        if self._version:
            query["resourceVersion"] = self._version
        else:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        left = b""
        async with aclosing(self._source.stream(self._ask("watch", query), SILENCE_S)) as stream:
            async for chunk in stream:
                *lines, left = (left + chunk).split(b"\n")
                for line in lines:
                    self._read(line)
                if len(left) > MAX_LINE:
                    raise ValueError(f"a line of more than {MAX_LINE} bytes")
                await asyncio.sleep(0)  # a list is long, and others have their turn

    def _read(self, line: bytes) -> None:
        if not line.strip():
            return
        event = cast("dict[str, Any]", json.loads(line))
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            message = f"{self._call('watch')}: {body.get('code')} {str(body.get('message'))[:200]}"
            raise Expired(message) if body.get("code") == 410 else Unavailable(message)
        if kind == "BOOKMARK":
            if self._version or text(body, "metadata", "annotations", LISTED) == "true":
                self._version = str(body["metadata"]["resourceVersion"])
            return
        if not self._version:  # still the list, whose objects come in no order of versions
            self._take(None if kind == "ADDED" else kind, body)
            return
        self._take(kind, body)
        self._version = str(body["metadata"]["resourceVersion"])
        self._wait_s, self._anew_s = FIRST_WAIT_S, FIRST_ANEW_S

    async def _list(self) -> str:
        """Tell of all there is, page by page; return the list's version."""
        kind = {"apiVersion": self._resource.api_version, "kind": self._resource.kind}  # items do not say
        query = {**self._query, "limit": str(self._page)}
        while True:
            page = await self._source.send(self._ask("list", query))
            for number, item in enumerate(parts(page, "items")):
                self._take(None, {**item, **kind})
                if number % 50 == 0:
                    await asyncio.sleep(0)
            follows = text(page, "metadata", "continue")
            if not follows:
                return text(page, "metadata", "resourceVersion")
            query |= {"continue": follows}
            del page

    def _ask(self, verb: str, query: Mapping[str, str]) -> Request:
        return Request(self._call(verb), "GET", self._resource.path(self._namespace), query)

    def _call(self, verb: str) -> Call:
        return Call(verb, self._resource, self._namespace)
