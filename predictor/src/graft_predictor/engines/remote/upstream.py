"""The HTTP side of a server beside us: one bounded pool, a limit on every wait, and retries as long as nothing was handed on.

    what happens                                   before the first token: at most two more attempts, then
    no connection, 424, 5xx, cut off               EngineFailed
    429, 503 (as status, or as an event)           EngineBusy; at once where Retry-After is too long to wait, and with it
    other statuses                                 EngineFailed, at once
    nothing comes                                  EngineTimeout, at once

After the first token there is no other attempt: the same errors, at once; the engine makes AnswerTruncated of them.

A reader that stops closes the connection, which is what makes a server give an answer up.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar, cast

import aiohttp
import orjson

from graft_core.errors import Corrupt, GraftError, Unavailable
from graft_core.telemetry.tracing import inject_context
from graft_predictor.engines.base import EngineBusy, EngineFailed, EngineTimeout
from graft_predictor.engines.remote.sse import EventParser

__all__ = ["Reading", "Timeouts", "Upstream"]

MAX_ATTEMPTS: Final = 3
MAX_WAIT_S: Final = 2.0
"""Longest pause before another attempt; who is told to wait longer tells the client so."""
DRAIN_S: Final = 0.25
"""Longest that the end of a finished stream is waited for, so that its connection can be used again."""
KEEP_ALIVE_S: Final = 4.0
"""Below that of the servers (uvicorn: 5 s), so that they are never the first to close."""
MAX_JSON_BYTES: Final = 4 * 1024 * 1024
_OVERLOADED: Final = frozenset({429, 503})

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect_s: float = 2.0
    first_token_s: float = 60.0
    inter_token_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Reading(Generic[P]):
    """How the events of a stream are read."""

    read: Callable[[Mapping[str, Any]], P]
    fault: Callable[[Mapping[str, Any]], int | None]
    """The HTTP status an error event stands for."""
    is_end: Callable[[P], bool]


class _AttemptFailed(Exception):
    """One attempt is over; `error` is what the caller gets if it was the last."""

    def __init__(self, error: GraftError, *, retry: bool, retry_after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.is_retryable = retry
        self.retry_after_s = retry_after_s


class Upstream:
    """One server. Belongs to the event loop it was made in."""

    def __init__(self, url: str, name: str, timeouts: Timeouts, max_connections: int) -> None:
        """Connect to nothing yet.

        Args:
            url: Where it listens.
            name: For messages.
            timeouts: Of every wait.
            max_connections: Requests beyond that wait for a connection, and that wait counts as theirs.
        """
        self._url = url
        self._name = name
        self._timeouts = timeouts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy has no business between two ends of one pod
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; streams that are open fail."""
        await self._session.close()

    async def fetch(self, path: str, body: Mapping[str, Any] | None = None, *, timeout_s: float = 5.0) -> object:
        """GET, or POST a body, and return the JSON of the reply (None where there is none).

        Args:
            path: The route.
            body: For a POST.
            timeout_s: Of everything together.

        Returns:
            What the server says.

        Raises:
            Unavailable: No reply, or one that will change: 429 and 5xx.
            Corrupt: Any other status, or no JSON: it is another server than expected.
        """
        where = f"{self._name} at {self._url}"
        method = "GET" if body is None else "POST"
        data = None if body is None else orjson.dumps(body)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.request(
                    method,
                    self._url + path,
                    data=data,
                    headers={"content-type": "application/json"},
                    allow_redirects=False,
                ) as response,
            ):
                raw = await _read_at_most(response.content, MAX_JSON_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError) as err:
            raise Unavailable(f"{where} does not answer {path} yet ({type(err).__name__})") from err
        if response.status == 429 or response.status >= 500:
            raise Unavailable(f"{where} is not ready yet: {path} says HTTP {response.status}")
        if response.status != 200:
            raise Corrupt(
                f"{where} says HTTP {response.status} to {path}; it is not the server that engine.type names,"
                " or not of a version that can be used"
            )
        try:
            return orjson.loads(raw) if raw.strip() else None
        except ValueError as err:
            raise Corrupt(f"{where} does not answer {path} with JSON; is it what engine.type says?") from err

    async def stream(self, path: str, body: Mapping[str, Any], reading: Reading[P]) -> AsyncGenerator[P]:
        """POST a body and yield what its events say, up to the one that ends the answer.

        Args:
            path: The route.
            body: Of every attempt.
            reading: How an event is read.

        Yields:
            At least one, the last one being the end.

        Raises:
            error: EngineBusy, EngineTimeout or EngineFailed, as the table above says.
        """
        for attempt in range(MAX_ATTEMPTS):
            has_begun = False
            try:
                async with aclosing(self._attempt(path, body, reading)) as pieces:
                    async for piece in pieces:
                        has_begun = True
                        yield piece
            except _AttemptFailed as failure:
                pause = None if has_begun else _pause(failure, attempt)
                if pause is None:
                    error = failure.error
                    raise error from failure.__cause__
            else:
                return
            await asyncio.sleep(pause)

    async def _attempt(self, path: str, body: Mapping[str, Any], reading: Reading[P]) -> AsyncGenerator[P]:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeouts.first_token_s
        response = await self._post(path, body, until)
        parser = EventParser()
        slow: EngineTimeout | None = self._begins_late()
        try:
            while data := await self._read(response, until, slow):
                for event in self._events(parser, data):
                    if slow is None:
                        break  # usage, or an error that can no longer hurt
                    piece = self._piece(event, reading)
                    yield piece
                    slow = None if reading.is_end(piece) else self._goes_on_late()
                    # Only tokens count: a server that hangs may go on sending comments.
                    until = loop.time() + (self._timeouts.inter_token_s if slow else DRAIN_S)
        finally:
            response.close()  # does nothing where the end was read: the connection is back in the pool
        if slow is not None:
            raise _AttemptFailed(EngineFailed(f"{self._name} ended the answer before it was complete"), retry=True)

    async def _post(self, path: str, body: Mapping[str, Any], until: float) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout_at(until):
                response = await self._session.post(
                    self._url + path,
                    data=orjson.dumps(body),
                    headers=inject_context({"content-type": "application/json", "accept": "text/event-stream"}),
                    allow_redirects=False,
                )
        except aiohttp.ClientError as err:  # a connection that took too long is one of these, too
            raise _AttemptFailed(
                EngineFailed(f"{self._name} cannot be reached ({type(err).__name__})"), retry=True
            ) from err
        except TimeoutError as err:
            raise _AttemptFailed(self._begins_late(), retry=False) from err
        if response.status == 200 and response.content_type == "text/event-stream":
            return response
        status, told = response.status, _retry_after(response.headers.get("retry-after"))
        response.close()
        if status == 200:
            raise _AttemptFailed(EngineFailed(f"{self._name} answered with something else than a stream"), retry=False)
        raise self._refused(status, told)

    async def _read(self, response: aiohttp.ClientResponse, until: float, slow: EngineTimeout | None) -> bytes:
        """Return the next bytes, or none at the end. `slow` is raised where they take too long; None: the answer is over."""
        try:
            async with asyncio.timeout_at(until):
                return await response.content.readany()
        except (aiohttp.ClientError, TimeoutError) as err:
            if slow is None:
                return b""
            if isinstance(err, TimeoutError):
                raise _AttemptFailed(slow, retry=False) from err
            broken = EngineFailed(f"{self._name} broke the connection off ({type(err).__name__})")
            raise _AttemptFailed(broken, retry=True) from err

    def _events(self, parser: EventParser, data: bytes) -> Iterator[Mapping[str, Any]]:
        """Read one by one, so that what came before a bad event is handed on."""
        try:
            for event in parser.feed(data):
                if event.strip() != b"[DONE]":
                    found: object = orjson.loads(event)
                    yield cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
        except ValueError as err:
            raise _AttemptFailed(EngineFailed(f"{self._name} sent an event that is not JSON"), retry=True) from err

    def _piece(self, event: Mapping[str, Any], reading: Reading[P]) -> P:
        status = reading.fault(event)
        if status is not None:
            raise self._refused(status, None)
        try:
            return reading.read(event)
        except EngineFailed as err:
            raise _AttemptFailed(err, retry=False) from err

    def _refused(self, status: int, retry_after_s: float | None) -> _AttemptFailed:
        """Translate a status; the server's own words stay here, since they may quote the prompt."""
        if status in _OVERLOADED:
            busy = EngineBusy(
                f"{self._name} takes no more requests for now (HTTP {status}); try again later",
                retry_after_s=1.0 if retry_after_s is None else retry_after_s,
            )
            return _AttemptFailed(busy, retry=True, retry_after_s=retry_after_s)
        if status == 424 or status >= 500:
            return _AttemptFailed(EngineFailed(f"{self._name} failed on this request (HTTP {status})"), retry=True)
        return _AttemptFailed(
            EngineFailed(f"{self._name} refused the request (HTTP {status}); its own log has the cause"), retry=False
        )

    def _begins_late(self) -> EngineTimeout:
        limit = self._timeouts.first_token_s
        return EngineTimeout(
            f"{self._name} did not begin to answer within {limit:g} seconds (engine.server.firstTokenSeconds)"
        )

    def _goes_on_late(self) -> EngineTimeout:
        limit = self._timeouts.inter_token_s
        return EngineTimeout(f"{self._name} sent no token for {limit:g} seconds (engine.server.interTokenSeconds)")


def _pause(failure: _AttemptFailed, attempt: int) -> float | None:
    """Return the seconds until the next attempt, or None where there is none."""
    if not failure.is_retryable or attempt + 1 >= MAX_ATTEMPTS:
        return None
    pause = 0.1 * 2**attempt * (0.5 + random.random())
    pause = max(pause, failure.retry_after_s or 0.0)
    return pause if pause <= MAX_WAIT_S else None


def _retry_after(text: str | None) -> float | None:
    """Read Retry-After in seconds; a date, or nonsense, is none."""
    return min(float(text), 3600.0) if text is not None and text.isascii() and text.isdigit() else None


async def _read_at_most(content: aiohttp.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := await content.readany()):
        parts.append(part)
        size += len(part)
    if size > limit:
        raise aiohttp.ClientPayloadError(f"over {limit} bytes")
    return b"".join(parts)
