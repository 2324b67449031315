"""A double of a cluster for the command line: `tests.fakes.kube_http` in a thread, with what commands ask of it beside the operator.

It rehearses dry runs, deletes without preconditions, selects by field, and knows a version and pods' logs. Field managers and schemas it has
none: answers that follow from them are canned here, and real in `test_on_api_server.py`.
"""

import asyncio
import copy
import json
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from graft_core.errors import InvalidInput
from graft_operator.cli.watching import WATCHERS
from graft_operator.ports import Json, Resource
from tests.fakes.kube import FakeKube
from tests.fakes.kube_http import ALL, HttpKube

__all__ = ["Canned", "ServedCluster", "status"]

T = TypeVar("T")


def status(code: int, reason: str, message: str, **details: Any) -> Json:
    """A metav1.Status as a server sends it."""
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


class Canned(HttpKube):
    """The double, with answers a test puts before it."""

    def __init__(self, kube: FakeKube) -> None:
        super().__init__(kube)
        self.canned: list[tuple[str, str, int, Json | str]] = []
        """Method, end of the path, status and body; each once."""
        self.logs: dict[str, bytes] = {}
        """By pod."""
        self.headers: list[Mapping[str, str]] = []
        self.on_watch: list[Callable[[], object]] = []
        """What happens soon after a watch has been asked for; one at each."""
        self.page = 10**6
        """Most items that a list is answered with."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.headers.append(dict(request.headers))
        for index, (method, end, code, body) in enumerate(self.canned):
            if (request.method, request.path.endswith(end)) == (method, True):
                del self.canned[index]
                if isinstance(body, str):
                    return web.Response(text=body, status=code)
                return web.json_response(body, status=code)
        if request.path == "/version":
            return web.json_response({"gitVersion": "v9.9.9"})
        if request.path.endswith("/log"):
            self.requests.append((request.method, request.path, dict(request.query)))
            return web.Response(body=self.logs[request.path.split("/")[-2]])
        return await super().answer(request)

    async def _watch(
        self, request: web.Request, resource: Resource, namespace: str, query: Mapping[str, str]
    ) -> web.StreamResponse:
        if self.on_watch:
            asyncio.get_running_loop().call_later(0.05, self.on_watch.pop(0))
        return await super()._watch(request, resource, namespace, query)

    async def _collection(
        self, method: str, resource: Resource, namespace: str, query: Mapping[str, str], body: Json
    ) -> web.Response:
        query = {**query, "limit": str(min(self.page, int(query.get("limit") or 10**6)))}
        answer = await super()._collection(method, resource, namespace, query, body)
        found = json.loads(answer.text or "{}")
        found["items"] = [one for one in found["items"] if _is_selected(one, query.get("fieldSelector", ""))]
        return web.json_response(found)

    async def _object(
        self, request: web.Request, resource: Resource, namespace: str, rest: list[str], body: Json
    ) -> web.Response:
        if request.method == "DELETE":
            found = await self.kube.get(resource, namespace, rest[0])
            if found is None:
                raise InvalidInput(f"{resource.plural} {rest[0]!r} not found", reason="NotFound")
            body = {**body, "preconditions": {"uid": found["metadata"]["uid"]}}
        if request.query.get("dryRun") != "All":
            return await super()._object(request, resource, namespace, rest, body)
        kube = self.kube
        self.kube = copy.copy(kube)
        self.kube.__dict__.update(
            {name: copy.deepcopy(vars(kube)[name]) for name in ("_objects", "_owned", "writes")}, _listeners=[]
        )
        try:
            return await super()._object(request, resource, namespace, rest, body)
        finally:
            self.kube = kube


class ServedCluster:
    """The double in a thread, and a kubeconfig that names it."""

    def __init__(self, folder: Path) -> None:
        self.kube = FakeKube()
        self.double = Canned(self.kube)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.kubeconfig = folder / "kubeconfig"

    def start(self) -> None:
        """Serve, and write the kubeconfig."""
        self._thread.start()
        url = self._wait(self._open())
        self.write_kubeconfig(url)

    def write_kubeconfig(self, url: str) -> None:
        """Name a server."""
        config = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "canary-30f7"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def stop(self) -> None:
        """End the server and its watches."""
        if not self._loop.is_closed():
            self._end_watches()
            self._wait(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    def _end_watches(self) -> None:
        """Have the threads end that a command has left behind: one that asks again while the server ends leaks its connection."""
        for thread in threading.enumerate():
            while thread.name.startswith(WATCHERS) and thread.is_alive():
                self.do(self._cut_all)
                thread.join(0.1)

    def _cut_all(self) -> None:
        for resource in ALL:
            self.double.cut(resource)

    def do(self, call: Callable[[], T]) -> T:
        """Run a call where the double lives."""

        async def run() -> T:
            return call()

        return self._wait(run())

    def add(self, resource: Resource, body: Json) -> Json:
        """Put an object in, in namespace `ml`, with its status."""
        placed = {**body, "metadata": {"namespace": "ml", **body["metadata"]}}
        return self.do(lambda: self.kube.add(resource, placed))

    def find(self, resource: Resource, name: str) -> Json:
        """Read an object."""
        found = self.do(lambda: self.kube.find(resource, "ml", name))
        assert found is not None
        return found

    def later(self, call: Callable[[], object], seconds: float = 0.1) -> None:
        """Do something while a command waits."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, call)

    def when_watched(self, *calls: Callable[[], object]) -> None:
        """Do one thing when a watch is open, and each next one when the next is."""
        self.double.on_watch = list(calls)

    async def _open(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self.double.answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def _close(self) -> None:
        await self._runner.cleanup()
        await asyncio.sleep(0)  # sockets are closed in the turn after

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=5)


def _is_selected(item: Json, selector: str) -> bool:
    for part in filter(None, selector.split(",")):
        path, _, wanted = part.partition("=")
        found: Any = item
        for name in path.split("."):
            found = found.get(name, {})
        if found != wanted:
            return False
    return True
