"""The double of an API server over HTTP on loopback: discovery, lists by page, watches with bookmarks, and faults on the wire.

For what speaks HTTP itself: kopf's watches, and the operator as a whole. What the objects do is `tests.fakes.kube`'s.
"""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import TestServer

from graft_core.errors import Conflict, Forbidden, GraftError, InvalidInput, NotReady
from graft_operator import ports
from graft_operator.ports import Json, Resource
from tests.fakes.kube import Change, FakeKube

__all__ = ["CRDS", "HttpKube", "kubeconfig_of", "serve_kube"]

CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
NAMESPACES = Resource("v1", "Namespace", "namespaces")
ALL = [CRDS, NAMESPACES, *{value for value in vars(ports).values() if isinstance(value, Resource)}]


class HttpKube:
    """FakeKube behind HTTP."""

    def __init__(self, kube: FakeKube) -> None:
        self.kube = kube
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        """Method, path and query of everything asked."""
        self.refusals: list[tuple[str, int, Mapping[str, str]]] = []
        """Answers to give instead, to requests whose path contains the first: status and headers; each once."""
        self.streams_lists = True
        """Whether a watch may begin with all there is (Kubernetes 1.34); else that is refused, and lists come in pages."""
        self.delay_s = 0.0
        """Time that every write takes."""
        self.failure_share = 0.0
        """Share of all requests but watches that are answered with 500 or 503."""
        self._draw = random.Random(7)
        self._log: list[Change] = []
        self._watchers: defaultdict[Resource, set[asyncio.Queue[bytes | None]]] = defaultdict(set)
        self._muted: set[Resource] = set()
        kube.subscribe(self._publish)

    def inject(self, resource: Resource, line: bytes) -> None:
        """Send a line on every open watch of a resource."""
        for queue in self._watchers[resource]:
            queue.put_nowait(line)

    def expire(self, resource: Resource) -> None:
        """Tell every watch of a resource that its version is too old, and end it."""
        error = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        self.inject(resource, _line("ERROR", error))
        self.cut(resource)

    def cut(self, resource: Resource) -> None:
        """End every open watch of a resource."""
        for queue in self._watchers[resource]:
            queue.put_nowait(None)

    def mute(self, resource: Resource, *, is_muted: bool = True) -> None:
        """Have the watches of a resource, also new ones, tell nothing."""
        (self._muted.add if is_muted else self._muted.discard)(resource)

    def watching(self, resource: Resource) -> int:
        """Return how many watches of a resource are open."""
        return len(self._watchers[resource])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        query = dict(request.query)
        self.requests.append((request.method, request.path, query))
        for index, (part, status, headers) in enumerate(self.refusals):
            if part in request.path:
                del self.refusals[index]
                return web.json_response(
                    {"kind": "Status", "message": "as the test says"}, status=status, headers=headers
                )
        if self._draw.random() < self.failure_share and query.get("watch") != "true":
            return web.json_response({"kind": "Status"}, status=self._draw.choice([500, 503]))
        try:
            body: Json = json.loads(await request.read() or b"{}")
            if request.method != "GET":
                await asyncio.sleep(self.delay_s)
            return await self._route(request, query, body)
        except GraftError as error:
            return web.json_response(
                {"kind": "Status", "message": str(error), "reason": error.reason}, status=_status(error)
            )

    async def _route(self, request: web.Request, query: Mapping[str, str], body: Json) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if len(parts) == 1:
            return web.json_response(self._groups(parts[0]))
        version, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if not rest:
            return web.json_response(self._resources(version))
        namespace, rest = (rest[1], rest[2:]) if rest[0] == "namespaces" else ("", rest)
        found = [r for r in ALL if (r.api_version, r.plural) == (version, rest[0]) and r not in self.kube.unserved]
        if not found:
            raise InvalidInput("the server could not find the requested resource", reason="NotFound")
        if query.get("watch") == "true":
            return await self._watch(request, found[0], namespace, query)
        if len(rest) == 1:
            return await self._collection(request.method, found[0], namespace, query, body)
        return await self._object(request, found[0], namespace, rest[1:], body)

    async def _collection(
        self, method: str, resource: Resource, namespace: str, query: Mapping[str, str], body: Json
    ) -> web.Response:
        if method == "POST":
            return web.json_response(await self.kube.create(resource, body), status=201)
        items = await self.kube.list(resource, namespace, _labels(query))
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or 10**6)
        more = str(start + limit) if start + limit < len(items) else ""
        meta = {"resourceVersion": str(len(self._log)), "continue": more}
        kind = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return web.json_response({**kind, "metadata": meta, "items": items[start : start + limit]})

    async def _object(
        self, request: web.Request, resource: Resource, namespace: str, rest: list[str], body: Json
    ) -> web.Response:
        name, subresource = rest[0], "".join(rest[1:])
        match request.method:
            case "GET":
                found = await self.kube.get(resource, namespace, name)
                if found is None:
                    raise InvalidInput(f"{resource.plural} {name!r} not found", reason="NotFound")
                return web.json_response(found)
            case "PATCH" if "apply" in request.content_type:
                return web.json_response(await self.kube.apply(resource, body))
            case "PATCH":
                return web.json_response(
                    await self.kube.patch(resource, namespace, name, body, subresource=subresource)
                )
            case _:
                uid, wanted = body["preconditions"]["uid"], body["preconditions"].get("resourceVersion")
                await self.kube.delete(resource, namespace, name, uid=uid, resource_version=wanted)
                return web.json_response({"kind": "Status", "status": "Success"})

    async def _watch(
        self, request: web.Request, resource: Resource, namespace: str, query: Mapping[str, str]
    ) -> web.StreamResponse:
        is_list = query.get("sendInitialEvents") == "true"
        if is_list and not self.streams_lists:
            raise InvalidInput(
                "sendInitialEvents: Forbidden: the WatchList feature gate is not enabled", reason="Invalid"
            )
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        if is_list:
            for listed in self._listed(resource):
                queue.put_nowait(listed)
        else:
            for change in self._log[int(query.get("resourceVersion") or 0) :]:
                if change.resource == resource and resource not in self._muted:
                    queue.put_nowait(_line(change.type, change.object))
        self._watchers[resource].add(queue)
        wanted = _labels(query)
        try:
            while (line := await queue.get()) is not None:
                if _is_wanted(line, namespace, wanted):
                    await response.write(line)
        except ConnectionError:
            pass
        finally:
            self._watchers[resource].discard(queue)
        return response

    def _listed(self, resource: Resource) -> list[bytes]:
        meta = {"resourceVersion": str(len(self._log)), "annotations": {"k8s.io/initial-events-end": "true"}}
        end: Json = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        return [*(_line("ADDED", body) for body in self.kube.all(resource)), _line("BOOKMARK", end)]

    def _publish(self, change: Change) -> None:
        # The log's length is what lists and bookmarks call their version; objects keep their own.
        self._log.append(change)
        if change.resource not in self._muted:
            self.inject(change.resource, _line(change.type, change.object))

    def _groups(self, root: str) -> Json:
        if root == "api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        groups: dict[str, set[str]] = defaultdict(set)
        for resource in ALL:
            if resource.group and resource not in self.kube.unserved:
                groups[resource.group].add(resource.api_version)
        return {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": name,
                    "versions": [{"groupVersion": v, "version": v.rpartition("/")[2]} for v in sorted(versions)],
                    "preferredVersion": {"groupVersion": min(versions), "version": min(versions).rpartition("/")[2]},
                }
                for name, versions in groups.items()
            ],
        }

    def _resources(self, version: str) -> Json:
        served = [r for r in ALL if r.api_version == version and r not in self.kube.unserved]
        if not served:
            raise InvalidInput("the server could not find the requested resource", reason="NotFound")
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        return {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [
                {
                    "name": r.plural,
                    "singularName": "",
                    "kind": r.kind,
                    "namespaced": r not in {CRDS, NAMESPACES},
                    "verbs": verbs,
                }
                for r in served
            ],
        }


def kubeconfig_of(url: str, token: str = "nobody-asks") -> Json:
    """Return a kubeconfig that names a double, with `graft` as the namespace."""
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "graft"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }


@asynccontextmanager
async def serve_kube(kube: FakeKube) -> AsyncGenerator[tuple[HttpKube, str]]:
    """Serve a double on loopback; yields it and its URL."""
    double = HttpKube(kube)
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", double.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield double, str(server.make_url(""))
        for resource in ALL:
            double.cut(resource)


def _line(kind: str, body: Json) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def _is_wanted(line: bytes, namespace: str, wanted: Mapping[str, str]) -> bool:
    if not namespace and not wanted:
        return True
    try:
        event = cast("dict[str, Any]", json.loads(line))
        meta = event["object"]["metadata"]
    except (ValueError, KeyError, TypeError):
        return True  # a fault that a test injects
    if event["type"] == "BOOKMARK":
        return True
    labels = meta.get("labels") or {}
    return namespace in {"", meta["namespace"]} and all(
        name in labels and value in {"", labels[name]} for name, value in wanted.items()
    )


def _labels(query: Mapping[str, str]) -> dict[str, str]:
    words = [word for word in query.get("labelSelector", "").split(",") if word]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _status(error: GraftError) -> int:
    match error:
        case Conflict():
            return 409
        case Forbidden():
            return 403
        case NotReady():
            return 503
        case InvalidInput(reason="NotFound"):
            return 404
        case _:
            return 422
