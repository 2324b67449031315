"""A test double of the network between a client and an API server: it numbers writes, and can do to each what networks do.

    with FaultProxy(plane.access) as proxy:
        proxy.plan = lambda seen: DropAfter() if seen.number == 3 else None
        proxy.before = lambda seen: os.kill(operator, SIGKILL) if seen.number == 4 else None
        run(proxy.access)

It runs in a thread with an event loop of its own, so that synchronous tests can use it. What is behind it is a real server; the
faults are the proxy's. HTTP/1.1 only.
"""

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Self

import aiohttp
from aiohttp import web

from tests.cluster.api import Access
from tests.cluster.certificates import Authority
from tests.cluster.faults import (
    WRITES,
    Action,
    Delay,
    DropAfter,
    DropBefore,
    Duplicate,
    Hold,
    Refuse,
    Seen,
    is_uncounted,
    query_of,
)
from tests.cluster.processes import HOST

__all__ = ["FaultProxy"]

HOP_BY_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "te"}
"""Headers that belong to one connection; the body is passed on decoded."""
START_S = 10
CLOSE_S = 0.05
MAX_BODY_BYTES = 16 * 1024 * 1024


class FaultProxy:
    """A proxy in front of one API server; use it in `with`."""

    def __init__(self, upstream: Access, *, is_counted: Callable[[Seen], bool] | None = None) -> None:
        self.seen: list[Seen] = []
        """All requests so far, in the order they came."""
        self.plan: Callable[[Seen], Action | None] = lambda _seen: None
        """Asked for each request what to do to it; None lets it pass."""
        self.before: Callable[[Seen], None] = lambda _seen: None
        """Called before a counted write is sent on."""
        self.after: Callable[[Seen], None] = lambda _seen: None
        """Called when the server has done a counted write, before the client is told."""
        self.watch_lines: Callable[[bytes], Iterable[bytes]] = lambda line: (line,)
        """Turns each line of a watch into those that are passed on: none, it twice, an older one, rubbish."""
        self._upstream = upstream
        self._is_counted = is_counted or (lambda seen: not is_uncounted(seen))
        self._numbered = 0
        self._folder = tempfile.TemporaryDirectory(prefix="graft-faultproxy-")
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="faultproxy", daemon=True)
        self._flowing = asyncio.Event()
        self._transports: set[asyncio.Transport] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(START_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    @property
    def access(self) -> Access:
        """The same user, through the proxy."""
        return Access(f"https://{HOST}:{self._port}", Path(self._folder.name) / "ca.crt", self._upstream.token)

    @property
    def writes(self) -> list[Seen]:
        """Counted writes so far."""
        return [seen for seen in self.seen if seen.number]

    def freeze_watches(self) -> None:
        """From now on no watch passes a byte, and none ends."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def thaw_watches(self) -> None:
        """Let watches pass again, with what came meanwhile."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Break all open connections now."""
        self._loop.call_soon_threadsafe(self._abort_all)

    @contextmanager
    def outage(self) -> Generator[None, None, None]:
        """Nothing passes, and what is open breaks."""
        planned, self.plan = self.plan, lambda _seen: DropBefore()
        self.cut()
        try:
            yield
        finally:
            self.plan = planned

    async def _start(self) -> None:
        folder = Path(self._folder.name)
        Authority.create(folder).issue("server", "faultproxy", hosts=(HOST, "localhost"))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._flowing.set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._upstream.tls(), limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0, ssl_context=tls)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self._flowing.set()
        self._abort_all()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        # Transports are closed in the loop's next turns.
        await asyncio.sleep(CLOSE_S)

    def _abort_all(self) -> None:
        for transport in list(self._transports):
            if not transport.is_closing():  # twice, and early releases of Python 3.11 raise an AttributeError under TLS
                transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self._transports.add(request.transport)
        try:
            body = await request.read()
            seen = self._note(request, body)
            return await self._act(request, seen, body)
        finally:
            self._transports.discard(request.transport)

    def _note(self, request: web.Request, body: bytes) -> Seen:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
        seen = Seen(0, request.method, request.path, query_of(request.path_qs), headers=headers)
        if request.method in WRITES:
            seen.body = json.loads(body) if body else None
        if seen.is_write and self._is_counted(seen):
            self._numbered += 1
            seen.number = self._numbered
        self.seen.append(seen)
        return seen

    async def _act(self, request: web.Request, seen: Seen, body: bytes) -> web.StreamResponse:
        action = self.plan(seen)
        if seen.number:
            self.before(seen)
        match action:
            case Refuse():
                seen.status = action.status
                headers = {} if action.retry_after_s is None else {"Retry-After": str(action.retry_after_s)}
                return web.json_response(action.body(), status=action.status, headers=headers)
            case DropBefore():
                return _drop(request)
            case Delay():
                await asyncio.sleep(action.seconds)
            case Hold():
                await asyncio.to_thread(action.until.wait)
            case Duplicate():
                async with self._send(request, body) as first:
                    await first.read()
            case DropAfter() | None:
                pass
        return await self._pass_on(request, seen, body, drop=isinstance(action, DropAfter))

    def _send(self, request: web.Request, body: bytes) -> "aiohttp.client._RequestContextManager":
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        url = f"{self._upstream.server}{request.path_qs}"
        return self._session.request(request.method, url, data=body or None, headers=headers)

    async def _pass_on(self, request: web.Request, seen: Seen, body: bytes, *, drop: bool) -> web.StreamResponse:
        async with self._send(request, body) as answer:
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            if seen.is_watch and answer.status == 200:
                seen.status = answer.status
                return await self._stream(request, answer, headers)
            content = await answer.read()
        if seen.number:
            seen.status = answer.status
            self.after(seen)
        if drop:
            seen.status = None
            return _drop(request)
        seen.status = answer.status
        return web.Response(status=answer.status, headers=headers, body=content)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        async for line in _lines(answer):
            await self._flowing.wait()
            for passed in self.watch_lines(line):
                await response.write(passed)
        await self._flowing.wait()
        return response


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines of any length; aiohttp's own reader refuses long ones."""
    kept = b""
    async for chunk in answer.content.iter_any():
        *lines, kept = (kept + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if kept:
        yield kept


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
