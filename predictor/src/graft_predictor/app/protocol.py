"""uvicorn's HTTP protocol with a time limit on headers: uvicorn alone waits for ever for a client that sends them byte by byte."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["make_protocol"]


def make_protocol(header_timeout_s: float) -> type[asyncio.Protocol]:
    """Make the protocol class that uvicorn.Config(http=…) takes.

    Args:
        header_timeout_s: Longest from the first byte (or the connection) to the end of the headers.

    Returns:
        A class; uvicorn makes one object for each connection.
    """

    class PatientHttp(HttpToolsProtocol):
        _header_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvicorn's signature
            super().connection_made(transport)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            self._arm()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._disarm()
            super().on_headers_complete()

        def _arm(self) -> None:
            self._disarm()
            self._header_timer = self.loop.call_later(header_timeout_s, self._give_up)

        def _disarm(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _give_up(self) -> None:
            if not self.transport.is_closing():
                self.transport.close()

    return PatientHttp
