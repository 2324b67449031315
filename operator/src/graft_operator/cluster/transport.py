"""Requests to the API server: deadlines, a bound on what is under way, retried reads, fresh credentials, and the fence.

Plain HTTP and JSON: objects go through as they are. The generated client of the `kubernetes` package would build and take apart a
typed model for each of them (docs/adr/0014).
"""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from graft_core.clock import Clock
from graft_core.errors import GraftError, InvalidInput, NotReady
from graft_operator.cluster.connection import Pool
from graft_operator.cluster.credentials import Credentials, CredentialSource, make_tls
from graft_operator.cluster.faults import Call, to_error, unreachable
from graft_operator.cluster.lease import Fence
from graft_operator.ports import Json

__all__ = ["WRITES", "Answered", "Limits", "Request", "Transport"]

WRITES: Final = frozenset({"create", "apply", "patch", "delete"})

Answered = Callable[[Call, str, float], None]
"""Told of each answer: call, outcome (`ok` or the error's reason), seconds."""

FIRST_RETRY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is asked of the API server."""

    max_in_flight: int = 48
    """Requests under way at a time; more wait."""
    read_s: float = 10.0
    """Deadline of a read, its retries included."""
    list_s: float = 30.0
    """Deadline of a page of a list."""
    write_s: float = 4.0
    """Deadline of a write; shorter than what a Lease leaves between fence and take-over."""
    read_tries: int = 3
    """Tries of a read; a write is tried once, and the pass is run again."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    call: Call
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Json | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


class Transport:
    """Sends requests as one user to one API server."""

    def __init__(
        self,
        source: CredentialSource,
        clock: Clock,
        *,
        fence: Fence | None = None,
        limits: Limits | None = None,
        answered: Answered | None = None,
    ) -> None:
        """Prepare; nothing is opened before the first request.

        Args:
            source: Where credentials come from.
            clock: For measuring.
            fence: What writes must pass as they are sent; None only for the election itself, and for a person's own commands.
            limits: Deadlines and bounds.
            answered: Told of each answer.
        """
        self._source = source
        self._clock = clock
        self._limits = limits or Limits()
        self._answered = answered or _tell_nobody
        self._slots = asyncio.Semaphore(self._limits.max_in_flight)
        self._fence = fence
        self._pool: Pool | None = None
        self._login: _Login | None = None
        self._reading = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.close()
        self._pool = self._login = None

    async def send(self, request: Request) -> Json:
        """Send a request and return what it is answered with.

        Args:
            request: What is sent.

        Returns:
            The answer's JSON.

        Raises:
            GraftError: See `graft_operator.ports.Cluster`.
        """
        is_write = request.call.verb in WRITES
        started = self._clock.monotonic()
        outcome = "Cancelled"
        try:
            if is_write and self._fence is not None:
                self._fence.check()  # here too, so that a replica that does not lead waits for no slot
            async with self._slots:
                found = await (self._once(request, self._limits.write_s) if is_write else self._read(request))
            outcome = "ok"
            return found
        except GraftError as error:
            outcome = error.reason
            raise
        finally:
            self._answered(request.call, outcome, self._clock.monotonic() - started)

    async def stream(self, request: Request, silence_s: float) -> AsyncGenerator[bytes]:
        """Send a read and yield its answer as it comes, until the server ends it; it takes no slot, and is no call that is counted.

        Args:
            request: What is sent.
            silence_s: Longest time without a byte.

        Yields:
            Whatever came, as long as it is.

        Raises:
            GraftError: It was refused, or the connection broke; see `graft_operator.ports.Cluster`.
        """
        login = await self._login_with(None)
        for _ in range(2):
            try:
                async with login.pool.opened(login.encode(request)) as (head, connection):
                    if head.status == 401:
                        login = await self._login_with(login)
                        continue
                    if head.status != 200:
                        raise to_error(request.call, head.status, head.headers, await connection.body())
                    async with aclosing(connection.chunks()) as chunks:
                        while chunk := await _next(chunks, silence_s):
                            yield chunk
                    return
            except (OSError, TimeoutError) as error:
                raise self._broken(request.call, error) from error
        raise to_error(request.call, 401, {}, b"")

    async def _read(self, request: Request) -> Json:
        deadline_s = self._limits.list_s if request.call.verb == "list" else self._limits.read_s
        ends = self._clock.monotonic() + deadline_s
        for tried in range(1, self._limits.read_tries + 1):
            try:
                return await self._once(request, ends - self._clock.monotonic())
            except NotReady as error:
                wait_s = max(error.retry_after_s, FIRST_RETRY_S * 2**tried) * random.uniform(0.75, 1.25)
                if tried == self._limits.read_tries or self._clock.monotonic() + wait_s >= ends:
                    raise
            await asyncio.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    async def _once(self, request: Request, deadline_s: float) -> Json:
        login = await self._login_with(None)  # it has a deadline of its own: a credential plugin may take its time
        status, headers, body = await self._exchange(login, request, deadline_s)
        if status == 401:
            login = await self._login_with(login)
            status, headers, body = await self._exchange(login, request, deadline_s)
        if not 200 <= status < 300:
            raise to_error(request.call, status, headers, body)
        try:
            found: Json = json.loads(body)
        except ValueError as error:
            raise unreachable(request.call, error) from error
        return found

    async def _exchange(
        self, login: "_Login", request: Request, deadline_s: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        is_read = request.method == "GET"
        check = None if is_read or self._fence is None else self._fence.check
        try:
            async with asyncio.timeout(deadline_s):
                return await login.pool.exchange(login.encode(request), check, may_repeat=is_read)
        except (OSError, TimeoutError) as error:
            raise self._broken(request.call, error) from error

    def _broken(self, call: Call, error: BaseException) -> NotReady:
        if isinstance(error, ssl.SSLCertVerificationError):
            self._login = None  # the CA may have been rotated: read it again for the next request
        return unreachable(call, error)

    async def _login_with(self, refused: "_Login | None") -> "_Login":
        """Return connections with credentials; those that were refused are read again, once for all who wait."""
        if self._login is not None and self._login is not refused:
            return self._login
        async with self._reading:
            if self._login is None or self._login is refused:
                found = await self._source.read()
                if refused is not None and not _needs_pool(refused.credentials, found):
                    self._login = _Login(refused.pool, found)  # only the token is another
                else:
                    if self._pool is not None:
                        await self._pool.close()
                    self._pool = self._open(found)
                    self._login = _Login(self._pool, found)
            return self._login

    def _open(self, credentials: Credentials) -> Pool:
        server, tls = urlsplit(credentials.server), make_tls(credentials)
        host = server.hostname or ""
        port = server.port or (80 if tls is None else 443)
        return Pool(host, port, tls, credentials.server_name or host, self._clock)


class _Login:
    """Connections, and what every request on them says."""

    def __init__(self, pool: Pool, credentials: Credentials) -> None:
        self.pool = pool
        self.credentials = credentials
        server = urlsplit(credentials.server)
        self._prefix = server.path.rstrip("/")
        lines = [
            f"Host: {server.netloc.rpartition('@')[2]}",
            "User-Agent: graft-operator",
            # The API server compresses long answers when it may; on a cluster's own network that costs more than it saves.
            "Accept-Encoding: identity",
        ]
        if credentials.authorization:
            lines.append(f"Authorization: {credentials.authorization}")
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise InvalidInput("the token, or the server's URL, holds characters that no header may hold", path="token")
        self._headers = "\r\n".join(lines)

    def encode(self, request: Request) -> bytes:
        """Write a request out."""
        target = self._prefix + quote(request.path)
        if request.query:
            target += "?" + urlencode(request.query)
        head = f"{request.method} {target} HTTP/1.1\r\n{self._headers}\r\nAccept: {request.accept}\r\n"
        if request.body is None:
            return f"{head}\r\n".encode()
        body = json.dumps(request.body, separators=(",", ":")).encode()
        return f"{head}Content-Type: {request.content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def _next(chunks: AsyncGenerator[bytes], silence_s: float) -> bytes:
    async with asyncio.timeout(silence_s):
        return await anext(chunks, b"")


def _needs_pool(before: Credentials, now: Credentials) -> bool:
    def material(found: Credentials) -> tuple[object, ...]:
        return found.server, found.ca, found.certificate, found.key, found.is_insecure

    return material(before) != material(now)


def _tell_nobody(call: Call, outcome: str, seconds: float) -> None:
    """Stand in for an observer."""
