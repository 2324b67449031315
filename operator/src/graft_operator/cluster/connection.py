"""HTTP/1.1 to one server: a request goes out in one piece, an answer comes by its length or in chunks, a connection is used again.

The operator's requests are small and many, and an API server's HTTP is plain: no redirects, cookies or encodings, which are what aiohttp's
client spends three quarters of its time on (docs/adr/0020).
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from graft_core.clock import Clock

__all__ = ["BrokenConnection", "Connection", "Head", "Pool"]

IDLE_S: Final = 30.0
"""A connection that was idle for longer is not used again; servers close them after minutes."""
BUFFER: Final = 2**18
"""Bytes that are read ahead; also the longest head of an answer."""
MAX_CHUNK: Final = 2**28
HANDSHAKE_S: Final = 10.0


class BrokenConnection(ConnectionError):
    """The server closed the connection, or said what is no HTTP."""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer."""

    status: int
    headers: Mapping[str, str]
    """By name, as in `Content-Length`."""


class Connection:
    """One connection, with one request under way at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._left: int | None = 0
        """Bytes of the answer that are left; -1: chunks, None: all until the connection ends."""
        self._is_last = False
        self.is_fresh = True
        """Whether nothing was sent on it yet."""
        self.is_reusable = True
        """Whether another request may follow."""
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as far as is known."""
        return not self._writer.is_closing() and not self._reader.at_eof()

    def close(self) -> None:
        """Close it now, whatever is under way: a transport waits for the loop's next turn, and a server is done with a write by then."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None:  # TLS forgets it once the server has closed
            with contextlib.suppress(OSError, TypeError):  # the latter from uvloop, which has no such method
                raw.shutdown(socket.SHUT_RDWR)
        self._writer.transport.abort()

    async def ask(self, data: bytes, check: Callable[[], None] | None) -> Head:
        """Send a request and read the beginning of its answer.

        Args:
            data: The whole request.
            check: Called right before the first byte goes out, in the same turn of the loop, and once more right after; raises where it
                must not. A process may have been frozen between the two: a server drops a request whose connection breaks.

        Returns:
            The beginning of the answer; its body is to be read before the next request.

        Raises:
            BrokenConnection: There is no answer, or it is no HTTP.
        """
        self.is_reusable = False
        if check is not None:
            check()
        self.is_fresh = False
        self._writer.write(data)
        if check is not None:
            with contextlib.ExitStack() as refused:
                refused.callback(self.close)
                check()
                refused.pop_all()
        try:
            head = _parse(await self._reader.readuntil(b"\r\n\r\n"))
            while head.status < 200:
                head = _parse(await self._reader.readuntil(b"\r\n\r\n"))
            self._left = _length(head)
        except (EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise BrokenConnection(type(error).__name__) from error
        self._is_last = head.headers.get("Connection", "").lower() == "close"
        return head

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the answer's body as it comes.

        Yields:
            Pieces of it, as the server cut them.

        Raises:
            BrokenConnection: It ended too soon, or is no HTTP.
        """
        try:
            if self._left is None:
                while piece := await self._reader.read(BUFFER):
                    yield piece
                return
            if self._left >= 0:
                if self._left:
                    yield await self._reader.readexactly(self._left)
            else:
                while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    if not 0 < size <= MAX_CHUNK:
                        raise BrokenConnection(f"a chunk of {size} bytes")
                    yield (await self._reader.readexactly(size + 2))[:-2]
                while (await self._reader.readuntil(b"\r\n")) != b"\r\n":
                    pass  # trailers
        except (EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise BrokenConnection(type(error).__name__) from error
        self.is_reusable = not self._is_last

    async def body(self) -> bytes:
        """Return the answer's whole body."""
        if self._left is not None and self._left > 0:  # nearly all of them: without a generator
            try:
                found = await self._reader.readexactly(self._left)
            except EOFError as error:
                raise BrokenConnection(type(error).__name__) from error
            self.is_reusable = not self._is_last
            return found
        return b"".join([piece async for piece in self.chunks()])


class Pool:
    """Connections to one server."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, name: str, clock: Clock) -> None:
        """Prepare; nothing is opened yet.

        Args:
            host: Where to connect.
            port: Its port.
            tls: None for plain HTTP.
            name: What the server's certificate must say.
            clock: Tells how long a connection was idle.
        """
        self._host, self._port, self._tls, self._name, self._clock = host, port, tls, name, clock
        self._idle: list[Connection] = []
        self._is_closed = False

    async def close(self) -> None:
        """Close what is idle, and all else when it has its answer."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    async def exchange(
        self, data: bytes, check: Callable[[], None] | None, *, may_repeat: bool
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and return status, headers and body of its answer.

        Args:
            data: The whole request.
            check: See `Connection.ask`.
            may_repeat: Whether it may be sent again where a connection that was idle turns out to be closed.

        Returns:
            Status, headers by name, body.

        Raises:
            ConnectionError: There is no answer, as the connection broke; where there was none at all, any OSError.
        """
        connection = await self._take()
        was_used = not connection.is_fresh
        try:
            try:
                head = await connection.ask(data, check)
            except ConnectionError:
                if not (was_used and may_repeat):
                    raise
                connection.close()
                connection = await self._open()
                head = await connection.ask(data, check)
            return head.status, head.headers, await connection.body()
        finally:
            self._give(connection)

    @contextlib.asynccontextmanager
    async def opened(self, data: bytes) -> AsyncGenerator[tuple[Head, Connection]]:
        """Send a read on a connection of its own and hand both over; closed at the end of the block.

        Args:
            data: The whole request.

        Yields:
            The beginning of the answer, and the connection with its body.

        Raises:
            OSError: There is no answer.
        """
        connection = await self._open()
        try:
            yield await connection.ask(data, None), connection
        finally:
            connection.close()

    async def _take(self) -> Connection:
        """Return the connection that was used last, or a new one."""
        oldest = self._clock.monotonic() - IDLE_S
        while self._idle:
            found = self._idle.pop()
            if found.is_open and found.idle_since >= oldest:
                return found
            found.close()
        return await self._open()

    def _give(self, connection: Connection) -> None:
        if self._is_closed or not connection.is_reusable or not connection.is_open:
            connection.close()
            return
        connection.idle_since = self._clock.monotonic()
        self._idle.append(connection)

    async def _open(self) -> Connection:
        is_plain = self._tls is None
        # Only what uvloop takes too, which `kopf run` brings along: no happy_eyeballs_delay.
        reader, writer = await asyncio.open_connection(
            self._host,
            self._port,
            limit=BUFFER,
            ssl=self._tls,
            server_hostname=None if is_plain else self._name,
            ssl_handshake_timeout=None if is_plain else HANDSHAKE_S,
        )
        return Connection(reader, writer)


def _parse(raw: bytes) -> Head:
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if version != "HTTP/1.1":
        raise ValueError(f"an answer in {version[:16]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.title()] = value.strip()
    return Head(int(rest[:3]), headers)


def _length(head: Head) -> int | None:
    if head.status in {204, 304}:
        return 0
    if "Transfer-Encoding" in head.headers:
        return -1
    found = head.headers.get("Content-Length")
    return None if found is None else int(found)
