"""The command line's way to a running `graft up`: HTTP over the Unix socket in the state folder, standard library only.

It is imported by every command, so it must be quick to import.
"""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from graft_core.errors import GraftError, Unavailable
from graft_operator.local.faults import from_status

__all__ = ["Client"]

CONNECT_TIMEOUT_S = 5.0
"""A local server that does not accept within this is not there."""

ANSWER_TIMEOUT_S = 60.0
"""A single answer; streams wait for ever."""

PIECE_BYTES = 65536
"""Most bytes of a stream handed out at a time."""


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_TIMEOUT_S)
        self.sock.connect(self._path)
        self.sock.settimeout(ANSWER_TIMEOUT_S)


class Client:
    """Calls on the API of one state folder; a connection a call."""

    def __init__(self, state: str | os.PathLike[str]) -> None:
        self._state = os.fspath(state)

    def call(self, method: str, path: str, *, body: object = None, query: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401  # JSON
        """Send one request and return the JSON it is answered with.

        Args:
            method: HTTP method.
            path: E.g. /apis/graft.dev/v1alpha1/namespaces/default/finetunejobs.
            body: Sent as JSON; None: no body.
            query: Query parameters.

        Returns:
            The decoded answer.

        Raises:
            GraftError: The server refused, as the error it names (NotFound, Conflict, InvalidInput, ...).
            Unavailable: No `graft up` serves this state folder.
        """
        connection, response = self._send(method, path, body, query)
        try:
            return json.loads(response.read() or b"null")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"graft up ended while it was answering {method} {path}") from error
        finally:
            connection.close()

    def stream_json(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the JSON lines of a stream until the server ends it.

        Args:
            path: Path of the stream.
            query: Query parameters.

        Yields:
            One decoded line at a time.

        Raises:
            GraftError: The server refused, also by an ERROR event within the stream.
        """
        connection, response = self._send("GET", path, None, query)
        _wait_for_ever(connection)
        try:
            while line := response.readline():
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    raise from_status(event["object"])
                yield event
        except (OSError, ValueError, http.client.HTTPException):
            return  # the server went away: the stream has ended
        finally:
            connection.close()

    def stream_bytes(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Yield the bytes of a stream as they come, until the server ends it."""
        connection, response = self._send("GET", path, None, query)
        _wait_for_ever(connection)
        try:
            while piece := response.read1(PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException):
            return  # the server went away: the stream has ended
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, body: object, query: Mapping[str, str] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(os.path.join(self._state, "api.sock"))  # noqa: PTH118  # pathlib is slow to import
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, target, data, {"Content-Type": "application/json"} if data is not None else {})
            response = connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            raise Unavailable(
                f"no `graft up` serves the state folder {self._state!r}; start it with `graft up --state {self._state}`,"
                " or name another folder with --state or GRAFT_STATE"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unavailable(f"graft up in {self._state!r} did not answer {method} {path}: {error}") from error
        if response.status >= 400:  # HTTP's own number
            raise _refusal(connection, response)
        return connection, response


def _wait_for_ever(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:  # already handed over where the server closes after the answer
        connection.sock.settimeout(None)


def _refusal(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> GraftError:
    try:
        return from_status(json.loads(response.read()))
    except (OSError, ValueError, http.client.HTTPException):
        return GraftError(f"graft up answered {response.status} {response.reason}")
    finally:
        connection.close()
