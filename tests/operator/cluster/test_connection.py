"""HTTP/1.1 as servers really say it: lengths, chunks, ends, and connections that are used again or were closed meanwhile."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from graft_operator.cluster.connection import IDLE_S, BrokenConnection, Pool
from tests.cluster.certificates import Authority
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.loopback

GET = b"GET / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


class RawServer:
    """Answers each request with the bytes it is told; `None` closes the connection without a word."""

    def __init__(self) -> None:
        self.script: list[bytes | None] = []
        self.seen: list[bytes] = []
        self.answered = asyncio.Event()
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                self.seen.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.script.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                self.answered.set()
                if b"Content-Length" not in answer and b"chunked" not in answer:
                    break
        except (EOFError, ConnectionError):
            pass
        writer.close()

    def hang_up(self) -> None:
        """Close all connections."""
        for writer in self.writers:
            writer.close()


@asynccontextmanager
async def pool(certificates: Path | None = None) -> AsyncGenerator[tuple[RawServer, Pool, FakeClock]]:
    """A server and connections to it; under TLS where there is a folder for its certificates."""
    raw, clock = RawServer(), FakeClock()
    ours, theirs = (None, None) if certificates is None else tls(certificates)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=theirs)
    found = Pool("127.0.0.1", server.sockets[0].getsockname()[1], ours, "127.0.0.1", clock)
    try:
        yield raw, found, clock
    finally:
        await found.close()
        server.close()
        raw.hang_up()
        await asyncio.sleep(0.01)


def tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's side and the server's."""
    Authority.create(folder).issue("server", "a-server", hosts=("127.0.0.1",))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "server.crt", folder / "server.key")
    return ssl.create_default_context(cafile=str(folder / "ca.crt")), server


async def ask(found: Pool, *, is_read: bool = True) -> tuple[int, bytes]:
    status, _, body = await found.exchange(GET, None, may_repeat=is_read)
    return status, body


@pytest.mark.parametrize(
    ("answer", "body", "is_kept"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
        (OK + b"content-length: 0\r\nContent-Length: 0\r\n\r\n", b"", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: 1\r\n\r\n", b"abc", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a", True),
        (OK + b"Content-Length: 1\r\nConnection: close\r\n\r\na", b"a", False),
        (OK + b"\r\nall until the end", b"all until the end", False),
    ],
    ids=["length", "nothing", "chunks", "continue", "the last", "until the end"],
)
async def test_an_answer_is_read_whole_and_its_connection_used_again_where_it_may_be(
    answer: bytes, body: bytes, *, is_kept: bool
) -> None:
    async with pool() as (raw, found, _):
        raw.script = [answer, answer]
        assert await ask(found) == (200, body)
        assert await ask(found) == (200, body)
        assert raw.connections == (1 if is_kept else 2)


async def test_headers_have_one_spelling() -> None:
    async with pool() as (raw, found, _):
        raw.script = [b"HTTP/1.1 429 Too Many\r\nretry-after:  7 \r\nContent-Length: 0\r\n\r\n"]
        status, headers, _ = await found.exchange(GET, None, may_repeat=True)
        assert (status, headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 many\r\n\r\n",
        OK + b"Content-Length: some\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    ],
    ids=["nothing", "1.0", "another protocol", "no status", "no length", "no chunk", "huge chunk", "negative chunk"],
)
async def test_what_is_no_answer_breaks_the_connection(answer: bytes | None) -> None:
    async with pool() as (raw, found, _):
        raw.script = [answer, OK + b"Content-Length: 1\r\n\r\na"]
        with pytest.raises(BrokenConnection):
            await ask(found, is_read=False)
        assert await ask(found) == (200, b"a")
        assert raw.connections == 2


async def test_an_answer_that_breaks_off_is_none() -> None:
    async with pool() as (raw, found, _):
        raw.script = [OK + b"Content-Length: 9\r\n\r\nabc"]
        asking = asyncio.create_task(ask(found))
        await raw.answered.wait()
        raw.hang_up()
        with pytest.raises(BrokenConnection):
            await asking


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_read_is_sent_again_where_the_idle_connection_was_closed_and_a_write_is_not(*, is_read: bool) -> None:
    async with pool() as (raw, found, _):
        raw.script = [OK + b"Content-Length: 0\r\n\r\n", None, OK + b"Content-Length: 0\r\n\r\n"]
        await ask(found)
        if is_read:
            assert await ask(found, is_read=True) == (200, b"")
        else:
            with pytest.raises(BrokenConnection):
                await ask(found, is_read=False)
        assert len(raw.seen) == (3 if is_read else 2)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
async def test_what_was_closed_or_idle_for_long_is_not_used_again(tmp_path: Path, *, is_tls: bool) -> None:
    async with pool(tmp_path if is_tls else None) as (raw, found, clock):
        raw.script = [OK + b"Content-Length: 0\r\n\r\n"] * 3
        await ask(found)
        clock.advance(IDLE_S + 1)
        await ask(found)
        assert raw.connections == 2
        raw.hang_up()
        await asyncio.sleep(0.05)
        assert await ask(found, is_read=False) == (200, b"")
        assert raw.connections == 3


async def test_a_check_that_refuses_lets_nothing_out_and_the_next_request_in() -> None:
    async with pool() as (raw, found, _):
        raw.script = [OK + b"Content-Length: 0\r\n\r\n"]

        def refuse() -> None:
            raise PermissionError

        with pytest.raises(PermissionError):
            await found.exchange(GET, refuse, may_repeat=False)
        assert await ask(found) == (200, b"")
        assert len(raw.seen) == 1


async def test_a_check_that_refuses_right_after_the_send_breaks_the_connection_off() -> None:
    async with pool() as (raw, found, _):
        raw.script = [OK + b"Content-Length: 0\r\n\r\n"] * 2
        answers = iter([None, PermissionError()])

        def refuse_then() -> None:
            if (error := next(answers)) is not None:
                raise error

        with pytest.raises(PermissionError):
            await found.exchange(GET, refuse_then, may_repeat=True)
        assert await ask(found) == (200, b"")
        assert raw.connections == 2


async def test_a_stream_is_handed_over_as_it_comes_and_closed_when_it_is_left() -> None:
    async with pool() as (raw, found, _):
        raw.script = [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"]
        async with found.opened(GET) as (head, connection):
            assert head.status == 200
            assert await anext(connection.chunks()) == b"ab"
            assert connection.is_open
        await asyncio.sleep(0)
        assert not connection.is_open


async def test_a_closed_pool_keeps_no_connection() -> None:
    async with pool() as (raw, found, _):
        raw.script = [OK + b"Content-Length: 0\r\n\r\n"] * 2
        await found.close()
        await ask(found)
        await ask(found)
        assert raw.connections == 2
