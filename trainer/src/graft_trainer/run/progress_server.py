"""The newest progress over HTTP, for an operator that can't see the run folder: one path, one answer, no data and no writes."""

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

from graft_core.contracts.pod import PROGRESS_PATH, PROGRESS_PORT

__all__ = ["serve_progress"]

ASK_TIMEOUT_S: Final = 5.0
"""A client that sends no request is let go after so long."""


@contextmanager
def serve_progress(newest: Callable[[], str], port: int = PROGRESS_PORT) -> Generator[int]:
    """Serve until the block is left.

    Args:
        newest: The newest line of progress; empty before there is one. Called from other threads.
        port: 0 takes a free one.

    Yields:
        The port.
    """
    server = _make_server(newest, port)
    thread = Thread(target=server.serve_forever, name="progress", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        """Answer on IPv4 too."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def _make_server(newest: Callable[[], str], port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = ASK_TIMEOUT_S

        def do_GET(self) -> None:  # http.server's name
            line = newest() if self.path == PROGRESS_PATH else None
            status = HTTPStatus.NOT_FOUND if line is None else HTTPStatus.OK if line else HTTPStatus.NO_CONTENT
            body = (line or "").encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's signature
            """Say nothing: an operator asks every few seconds."""

        def version_string(self) -> str:
            """Name no software."""
            return "graft"

    server = type("_Bound", (_Server,), {"address_family": _family()})
    made: ThreadingHTTPServer = server(("", port), Handler)
    return made


def _family() -> socket.AddressFamily:
    return socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
