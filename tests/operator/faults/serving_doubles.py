"""Doubles of who serves and who counts: pods that answer `/metrics` at addresses of their own on loopback, and a Prometheus."""

import json
import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from time import monotonic
from typing import Any, Final, Self
from urllib.parse import parse_qs

from graft_core.api.v1alpha1.names import LABEL_REVISION
from tests.cluster.api import Access, Api, Json
from tests.cluster.doubles import DEPLOYMENT, keep_looking

__all__ = ["Answers", "CountingServer", "Pages", "Sample", "ServingPods", "counted", "well"]

Pages = Callable[[str, bool, float], str | None]
"""A pod's page by its revision, whether that was the namespace's first, and the pod's age in seconds; None: 503."""

Sample = tuple[Mapping[str, str], float]
"""Labels and value of one element of a vector."""

Answers = Callable[[str, bool, float], list[Sample]]
"""Prometheus's answer by what it is asked for (fresh, copies, outcomes), whether of the first revision, and the window's length."""

PORT: Final = 8080
"""At which the operator asks pods."""
LOOK_S: Final = 0.2
POD: Final = ("v1", "Pod")
PER_S: Final = 20.0
"""Requests a second of an arm that is well."""


def counted(revision: str, outcome: str, number: float) -> str:
    """Return the line of a page for a count of requests."""
    return f'graft_predictor_requests_total{{revision="{revision}",outcome="{outcome}"}} {number}\n'


def well(revision: str, is_first: bool, age_s: float) -> str | None:
    """Answer as an arm that serves well."""
    del is_first
    return counted(revision, "ok", round(PER_S * age_s))


class _Server(ThreadingHTTPServer):
    """A server in a thread of its own."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], answer: Callable[[str], str | None]) -> None:
        super().__init__(address, _Handler)
        self.answer = answer
        self._thread = Thread(target=self.serve_forever, args=[0.05], daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Close it."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._tell("")

    def do_POST(self) -> None:
        self._tell(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _tell(self, body: str) -> None:
        assert isinstance(self.server, _Server)
        text = self.server.answer(body)
        told = (text or "").encode()
        self.send_response(503 if text is None else 200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class ServingPods:
    """A pod for each Deployment with a revision, in all namespaces."""

    def __init__(self, api: Api) -> None:
        self.is_healthy: Callable[[Json], bool] = lambda _deployment: True
        self.pages: dict[str, Pages] = {}
        """By namespace; none: `well`."""
        self.first: dict[str, str] = {}
        """The first revision of each namespace."""
        self._api = api
        self._servers: dict[str, _Server] = {}
        self._number = 0

    @classmethod
    @contextmanager
    def playing(cls, access: Access) -> Generator[Self]:
        """Run it in a thread."""
        stop = Event()
        with Api(access) as api:
            double = cls(api)
            thread = Thread(target=double._run, args=[stop], name="serving-pods", daemon=True)
            thread.start()
            try:
                yield double
            finally:
                stop.set()
                thread.join()
                for server in double._servers.values():
                    server.end()

    def _run(self, stop: Event) -> None:
        keep_looking(self._look, stop, LOOK_S, self._api.access, DEPLOYMENT, POD)

    def _look(self) -> None:
        wanted = {
            f"{one['metadata']['namespace']}/{one['metadata']['name']}": one
            for one in self._api.list(*DEPLOYMENT)
            if _revision_of(one)
        }
        pods = {f"{p['metadata']['namespace']}/{p['metadata']['name']}": p for p in self._api.list(*POD)}
        for key, pod in pods.items():
            if key not in wanted and LABEL_REVISION in pod["metadata"]["labels"]:
                self._api.delete(pod)
                if key in self._servers:
                    self._servers.pop(key).end()
        for key, deployment in wanted.items():
            pod = pods.get(key) or self._make(deployment)
            self._say(pod, key, deployment)

    def _make(self, deployment: Json) -> Json:
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        labels = {**template["metadata"]["labels"], LABEL_REVISION: _revision_of(deployment)}
        return self._api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": meta["name"], "namespace": meta["namespace"], "labels": labels},
                "spec": {"containers": [{"name": "kserve-container", "image": "double"}]},
            }
        )

    def _say(self, pod: Json, key: str, deployment: Json) -> None:
        wanted = "True" if self.is_healthy(deployment) else "False"
        conditions = (pod.get("status") or {}).get("conditions") or []
        if [one["status"] for one in conditions if one["type"] == "Ready"] == [wanted]:
            return
        if key not in self._servers:
            self._serve(key, deployment)
        ready = {
            "phase": "Running",
            "podIP": self._servers[key].server_address[0],
            "startTime": pod["metadata"]["creationTimestamp"],
            "conditions": [{"type": "Ready", "status": wanted}],
        }
        self._api.patch(pod, {"status": ready}, subresource="status")

    def _serve(self, key: str, deployment: Json) -> None:
        namespace, revision, begun = deployment["metadata"]["namespace"], _revision_of(deployment), monotonic()
        self.first.setdefault(namespace, revision)

        def answer(_: str) -> str | None:
            page = self.pages.get(namespace, well)
            return page(revision, self.first[namespace] == revision, monotonic() - begun)

        while key not in self._servers:
            self._number += 1
            # All of 127/8 is this machine; another run beside this one has another second byte.
            address = f"127.{16 + os.getpid() % 200}.{self._number // 250}.{self._number % 250 + 1}"
            try:
                self._servers[key] = _Server((address, PORT), answer)
            except OSError:
                assert self._number < 10_000


def _revision_of(deployment: Json) -> str:
    return str(deployment["spec"]["template"]["metadata"].get("annotations", {}).get(LABEL_REVISION, ""))


class CountingServer:
    """A double of Prometheus: it knows the operator's queries by their beginnings, and answers as the test says."""

    def __init__(self, first: Mapping[str, str]) -> None:
        self.answers: dict[str, Answers] = {}
        """By namespace."""
        self._first = first
        self._server = _Server(("127.0.0.1", 0), self._answer)
        # A port that is taken and never listens.
        self._dead = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler, bind_and_activate=False)
        self._dead.server_bind()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()
        self._dead.server_close()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def dead_url(self) -> str:
        """Where nobody does."""
        return f"http://127.0.0.1:{self._dead.server_address[1]}"

    def _answer(self, body: str) -> str:
        query = parse_qs(body)["query"][0]
        namespace, revision = (re.findall(rf'{name}="([^"]*)"', query)[0] for name in ("namespace", "revision"))
        (kind,) = [name for begin, name in _KINDS.items() if query.startswith(begin)] or [""]
        span = re.findall(r"\[(\d+)s\]", query) or ["0"]
        is_first = self._first.get(namespace) == revision
        samples = self.answers[namespace](kind, is_first, float(span[0])) if kind else []
        # Prometheus writes numbers as strings, and NaN and Inf as such.
        result = [{"metric": dict(labels), "value": [0, _told(value)]} for labels, value in samples]
        data: dict[str, Any] = {"resultType": "vector", "result": result}
        return json.dumps({"status": "success", "data": data})


_KINDS: Final = {"max(timestamp(": "fresh", "max(count by": "copies", "sum by (outcome)": "outcomes"}


def _told(value: float) -> str:
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(str(value), str(value))
