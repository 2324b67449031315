"""A double of S3 for one bucket: GET, HEAD, PUT with If-None-Match, LIST and DELETE over loopback HTTP. It checks no signatures.

The same contract test runs against a real server, too.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

__all__ = ["S3Double", "serve_s3"]


class S3Double(ThreadingHTTPServer):
    """The server; `objects` may be read and damaged by tests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()
        self.fail_with: int | None = None

    @property
    def env(self) -> dict[str, str]:
        """What a client is told."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "double",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def serve_s3() -> Generator[S3Double]:
    """Serve from a thread."""
    server = S3Double()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: S3Double  # pyright: ignore[reportIncompatibleVariableOverride]  # started by that server only
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""

    def _read(self) -> tuple[str, dict[str, list[str]], bytes]:
        url = urlsplit(self.path)
        key = unquote(url.path).split("/", 2)[2] if url.path.count("/") > 1 else ""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return key, parse_qs(url.query, keep_blank_values=True), body

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fails(self) -> bool:
        if self.server.fail_with is None:
            return False
        self._read()
        self._answer(self.server.fail_with, b"<Error><Code>Injected</Code><Message>x</Message></Error>")
        return True

    def do_PUT(self) -> None:
        if self._fails():
            return
        key, query, body = self._read()
        with self.server.lock:
            if "uploadId" in query:
                self.server.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
            elif self.headers.get("If-None-Match") == "*" and key in self.server.objects:
                self._answer(412, b"<Error><Code>PreconditionFailed</Code><Message>x</Message></Error>")
                return
            else:
                self.server.objects[key] = body
        self._answer(200, ETag=f'"{md5(body, usedforsecurity=False).hexdigest()}"')

    def do_POST(self) -> None:
        key, query, body = self._read()
        with self.server.lock:
            if "delete" in query:
                keys = [found.text or "" for found in ET.fromstring(body).iter() if found.tag.endswith("Key")]  # noqa: S314  # made by the client under test
                for name in keys:
                    self.server.objects.pop(name, None)
                rows = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in keys)
                self._answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode())
            elif "uploads" in query:
                self.server.uploads[key] = {}
                self._answer(
                    200,
                    f"<InitiateMultipartUploadResult><UploadId>{escape(key)}</UploadId></InitiateMultipartUploadResult>".encode(),
                )
            else:
                parts = self.server.uploads.pop(query["uploadId"][0])
                self.server.objects[key] = b"".join(parts[n] for n in sorted(parts))
                self._answer(200, b'<CompleteMultipartUploadResult><ETag>"m"</ETag></CompleteMultipartUploadResult>')

    def do_GET(self) -> None:
        if self._fails():
            return
        key, query, _ = self._read()
        if "list-type" in query:
            self._list(query.get("prefix", [""])[0])
        elif key not in self.server.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>x</Message></Error>")
        else:
            self._answer(200, self.server.objects[key], ETag='"e"', Last_Modified="Sat, 31 Jan 2026 09:00:00 GMT")

    def do_HEAD(self) -> None:
        key, _, _ = self._read()
        if key not in self.server.objects:
            self._answer(404)
        else:
            size = str(len(self.server.objects[key]))
            self._answer(200, ETag='"e"', Last_Modified="Sat, 31 Jan 2026 09:00:00 GMT", Content_Length=size)

    def do_DELETE(self) -> None:
        key, _, _ = self._read()
        self.server.objects.pop(key, None)
        self._answer(204)

    def _list(self, prefix: str) -> None:
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><LastModified>2026-01-31T09:00:00.000Z</LastModified><ETag>e</ETag></Contents>"
            for key, data in sorted(self.server.objects.items())
            if key.startswith(prefix)
        )
        body = f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>'
        self._answer(200, body.encode())
