"""HTTP to a Kubernetes API server, one connection a request, as the user of a kubeconfig.

The operator's own transport is asyncio and aiohttp, which a command would wait a third of a second for before it says its first word; what
the two must not differ in, credentials and TLS, they share.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from graft_core.errors import Unavailable
from graft_operator.cli.kube.refusals import refusal_of
from graft_operator.cluster.credentials import Credentials, CredentialSource, make_tls
from graft_operator.local.fields import Json, as_object

__all__ = ["KubeClient", "Request"]

CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 60.0
"""A single answer."""

PIECE_BYTES: Final = 65536
"""Most bytes of a stream handed out at a time."""


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Json | None = None
    content_type: str = "application/json"

    @property
    def target(self) -> str:
        """Path with its query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class KubeClient:
    """Requests as one user to one API server."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source
        self._credentials: Credentials | None = None

    @property
    def credentials(self) -> Credentials:
        """Server and user, read on first use; InvalidInput where the kubeconfig makes no sense."""
        if self._credentials is None:
            self._credentials = self._source.load()
        return self._credentials

    @property
    def where(self) -> str:
        """The server and where it was found, for messages."""
        found = self.credentials
        return f"{found.server} ({found.origin})"

    def call(self, request: Request) -> Json:
        """Send a request and return the JSON it is answered with; a GraftError where the server refuses or is out of reach."""
        with self._opened(request, ANSWER_TIMEOUT_S) as response:
            try:
                return as_object(json.loads(response.read() or b"null"))
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self._lost(request, error) from error

    def lines(self, request: Request, silence_s: float) -> Iterator[Json]:
        """Yield the JSON lines of a stream until the server ends it or is silent for too long; errors as for `call`."""
        with self._opened(request, silence_s) as response:
            while True:
                try:
                    line = response.readline()
                    found = as_object(json.loads(line)) if line else None
                except (OSError, ValueError, http.client.HTTPException):
                    return  # cut off: who watches asks again
                if found is None:
                    return
                yield found

    def pieces(self, request: Request) -> Iterator[bytes]:
        """Yield the bytes of a stream as they come, however long it is silent; errors as for `call`."""
        with self._opened(request, None) as response:
            while True:
                try:
                    piece = response.read1(PIECE_BYTES)
                except (OSError, http.client.HTTPException) as error:
                    raise self._lost(request, error) from error
                if not piece:
                    return
                yield piece

    @contextmanager
    def _opened(self, request: Request, timeout_s: float | None) -> Generator[http.client.HTTPResponse]:
        connection, response = self._send(request, timeout_s)
        if response.status == 401:  # a token may have been renewed, or a plugin gives another
            response.close()
            connection.close()
            self._credentials = None
            connection, response = self._send(request, timeout_s)
        try:
            if response.status >= 400:
                raise refusal_of(response.status, response.read(), self.where)
            yield response
        finally:
            response.close()  # which holds the connection where the server closes it after the answer
            connection.close()

    def _send(
        self, request: Request, timeout_s: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        credentials = self.credentials
        connection = _connect(credentials)
        headers = {"Accept": "application/json, */*", "User-Agent": "graft-cli"}
        if credentials.authorization:
            headers["Authorization"] = credentials.authorization
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        data = None if request.body is None else json.dumps(request.body).encode()
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER_TIMEOUT_S)
            connection.request(request.method, urlsplit(credentials.server).path + request.target, data, headers)
            response = connection.getresponse()
            if connection.sock is not None:  # already handed over where the server closes after the answer
                connection.sock.settimeout(timeout_s)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._lost(request, error) from error
        return connection, response

    def _lost(self, request: Request, error: Exception) -> Unavailable:
        what = f"{request.method} {request.path}"
        match error:
            case ssl.SSLCertVerificationError():
                return Unavailable(
                    f"the certificate of {self.where} is not trusted: {error.verify_message};"
                    " look at certificate-authority and tls-server-name in the kubeconfig"
                )
            case socket.gaierror():
                why = f"its name is not known ({error.strerror})"
            case TimeoutError():
                why = "it did not answer in time"
            case OSError():
                why = error.strerror or str(error)
            case _:
                why = f"it stopped in the middle ({type(error).__name__})"
        return Unavailable(f"the cluster's API server {self.where} is out of reach for {what}: {why}")


class _NamedConnection(http.client.HTTPSConnection):
    """A connection that holds the certificate to a name which may be another than the URL's host."""

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=CONNECT_TIMEOUT_S, context=tls)
        self._tls = tls
        self._server_name = server_name

    def connect(self) -> None:
        """Connect and shake hands."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def _connect(credentials: Credentials) -> http.client.HTTPConnection:
    url = urlsplit(credentials.server)
    host, tls = url.hostname or "", make_tls(credentials)
    if tls is None:
        return http.client.HTTPConnection(host, url.port, timeout=CONNECT_TIMEOUT_S)
    return _NamedConnection(host, url.port, tls, credentials.server_name or host)
