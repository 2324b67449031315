"""The API of the local shell: Kubernetes-like paths over a Unix socket that only its owner can open.

    GET    /apis/graft.dev/v1alpha1[/namespaces/{ns}]/{plural}[?watch=true&resourceVersion=N]   list, or changes as JSON lines
    POST   /apis/graft.dev/v1alpha1/namespaces/{ns}/{plural}[?dryRun=true]                      create
    GET, PUT, DELETE .../{plural}/{name}                                                        read, replace, delete
    GET    .../finetunejobs/{name}/log[?follow=true&role=check|train]                           a child's log
    GET    .../modelreleases/{name}/log[?follow=true&revision=R]                                a predictor's log
    GET    /api/v1/namespaces/{ns}/events[?involved=Kind/name]
    POST   /apply[?dryRun=true]      {"namespace", "items": [documents]} -> {"items": [{kind, namespace, name, result}]}, all or nothing
    GET    /version, /status;  POST /shutdown[?now=true]

Refusals are metav1.Status objects. There is no path that writes a status: that is the reconciler's alone.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, cast

from aiohttp import web

from graft_core.api.v1alpha1.names import API_VERSION, PLURALS
from graft_core.errors import GraftError, InvalidInput
from graft_core.telemetry.logs import get_log
from graft_operator.local.documents import ObjectKey, meta_of
from graft_operator.local.events import EventLog
from graft_operator.local.faults import NotFound, to_status
from graft_operator.local.objects import ObjectStore

__all__ = ["Control", "LogSource", "create_app", "serve_socket"]

_LOG = get_log(__name__)

_KINDS = {plural: kind for kind, plural in PLURALS.items()}

MAX_REQUEST_BYTES = 16 << 20
"""One `graft apply` may hold many objects; each is bounded by the store."""

LOG_POLL_S = 0.2
"""How soon a follower sees a new line."""

LOG_PIECE_BYTES = 1 << 16
"""Bytes read of a log at a time."""


class LogSource(Protocol):
    """A log file and whether more may come."""

    @property
    def path(self) -> Path:
        """The file; it may not be there yet."""
        ...

    def is_live(self) -> bool:
        """Say whether the process that writes it may still write."""
        ...


class Control(Protocol):
    """What the API asks of the process around it."""

    def status(self) -> dict[str, Any]:
        """Return pids, ports and versions."""
        ...

    def shutdown(self, *, now: bool) -> None:
        """Begin the end."""
        ...

    def log_of(self, key: ObjectKey, uid: str, which: str | None) -> LogSource:
        """Find the log of a child (role) or of an arm (revision); None: the newest."""
        ...


_STORE = web.AppKey("store", ObjectStore)
_EVENTS = web.AppKey("events", EventLog)
_CONTROL = web.AppKey("control", Control)


def create_app(store: ObjectStore, events: EventLog, control: Control) -> web.Application:
    """Build the application."""
    app = web.Application(middlewares=[_translate], client_max_size=MAX_REQUEST_BYTES)
    app[_STORE], app[_EVENTS], app[_CONTROL] = store, events, control
    group = f"/apis/{API_VERSION}"
    plural = f"{{plural:{'|'.join(_KINDS)}}}"
    scoped = f"{group}/namespaces/{{namespace}}/{plural}"
    app.add_routes(
        [
            web.get(f"{group}/{plural}", _list),
            web.get(scoped, _list),
            web.post(scoped, _create),
            web.get(f"{scoped}/{{name}}", _get),
            web.put(f"{scoped}/{{name}}", _update),
            web.delete(f"{scoped}/{{name}}", _delete),
            web.get(f"{scoped}/{{name}}/log", _log),
            web.get("/api/v1/namespaces/{namespace}/events", _list_events),
            web.post("/apply", _apply),
            web.get("/version", _version),
            web.get("/status", _status),
            web.post("/shutdown", _shutdown),
        ]
    )
    return app


async def serve_socket(app: web.Application, path: Path) -> web.AppRunner:
    """Listen on a Unix socket with permissions 0600; the caller cleans the runner up.

    Args:
        app: What `create_app` built.
        path: The socket file; one left by a dead process is replaced.

    Returns:
        The running server.
    """
    # Cancellation tells a watch that its client has gone; the log of accesses would only repeat what commands print.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    path.unlink(missing_ok=True)  # noqa: ASYNC240  # one local system call
    old_mask = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(old_mask)
    return runner


@web.middleware
async def _translate(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except GraftError as error:
        status = to_status(error)
        return web.json_response(status, status=status["code"])
    except web.HTTPException as error:
        refusal = InvalidInput(f"{request.method} {request.path}: {error.reason}")
        return web.json_response(
            {**to_status(refusal), "code": error.status, "reason": _reason(error.status)}, status=error.status
        )
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001  # the edge of a request: one that fails must not take the reconcilers with it
        _LOG.failure("request_failed", error, method=request.method, path=request.path)
        status = to_status(GraftError("internal error; the log of graft up has the traceback"))
        return web.json_response({**status, "reason": "InternalError"}, status=500)


def _reason(code: int) -> str:
    return {404: "NotFound", 405: "MethodNotAllowed", 413: "RequestEntityTooLarge"}.get(code, "BadRequest")


def _key(request: web.Request) -> ObjectKey:
    info = request.match_info
    return ObjectKey(_KINDS[info["plural"]], info["namespace"], info["name"])


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body: object = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the request's body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidInput(f"the request's body is a {type(body).__name__}; expected an object")
    return cast("dict[str, Any]", body)


def _is_set(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in {"1", "true", "all"}


async def _list(request: web.Request) -> web.StreamResponse:
    kind, namespace = _KINDS[request.match_info["plural"]], request.match_info.get("namespace")
    if _is_set(request, "watch"):
        return await _watch(request, kind, namespace)
    items, revision = request.app[_STORE].find_all(kind, namespace)
    return web.json_response(
        {
            "apiVersion": API_VERSION,
            "kind": f"{kind}List",
            "metadata": {"resourceVersion": str(revision)},
            "items": items,
        }
    )


async def _watch(request: web.Request, kind: str, namespace: str | None) -> web.StreamResponse:
    since = request.query.get("resourceVersion", "")
    if not since.isdecimal():
        raise InvalidInput(
            f"resourceVersion {since!r} is not a number; expected that of a list", path="resourceVersion"
        )
    changes = request.app[_STORE].watch(int(since), kind, namespace)

    async def lines() -> AsyncGenerator[bytes, None]:
        async for change in changes:
            yield json.dumps({"type": change.type, "object": change.object}, ensure_ascii=False).encode() + b"\n"

    return await _stream(request, lines(), "application/json")


async def _stream(request: web.Request, pieces: AsyncGenerator[bytes, None], content_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    async with aclosing(pieces):
        await response.prepare(request)
        try:
            async for piece in pieces:
                await response.write(piece)
        except GraftError as error:
            await response.write(json.dumps({"type": "ERROR", "object": to_status(error)}).encode() + b"\n")
    await response.write_eof()
    return response


async def _create(request: web.Request) -> web.Response:
    body = _placed(await _body(request), request.match_info["namespace"], _KINDS[request.match_info["plural"]])
    return web.json_response(request.app[_STORE].create(body, dry_run=_is_set(request, "dryRun")), status=201)


async def _get(request: web.Request) -> web.Response:
    return web.json_response(request.app[_STORE].get(_key(request)))


async def _update(request: web.Request) -> web.Response:
    key = _key(request)
    body = _placed(await _body(request), key.namespace, key.kind)
    if body["metadata"].get("name") != key.name:
        raise InvalidInput(
            f"metadata.name {body['metadata'].get('name')!r} is not the {key.name!r} of the path", path="metadata.name"
        )
    return web.json_response(request.app[_STORE].update(body, dry_run=_is_set(request, "dryRun")))


async def _delete(request: web.Request) -> web.Response:
    return web.json_response(request.app[_STORE].delete(_key(request), dry_run=_is_set(request, "dryRun")))


async def _apply(request: web.Request) -> web.Response:
    body = await _body(request)
    items = cast("list[object]", body["items"]) if isinstance(body.get("items"), list) else []
    if not items or not all(isinstance(item, dict) for item in items):
        raise InvalidInput("the request names no documents; expected items: [objects]", path="items")
    default = body.get("namespace", "default")
    bodies = [_with_namespace(cast("dict[str, Any]", item), str(default)) for item in items]
    applied = request.app[_STORE].apply(bodies, dry_run=_is_set(request, "dryRun"))
    results = [
        {
            "kind": one.object["kind"],
            "namespace": one.object["metadata"]["namespace"],
            "name": one.object["metadata"]["name"],
            "result": one.outcome,
        }
        for one in applied
    ]
    return web.json_response({"items": results})


def _placed(body: dict[str, Any], namespace: str, kind: str) -> dict[str, Any]:
    placed = _with_namespace(body, namespace)
    if meta_of(placed).get("namespace") != namespace or placed.get("kind") != kind:
        raise InvalidInput(
            f"the object is not a {kind} of namespace {namespace!r}, as the path says", path="metadata.namespace"
        )
    return placed


def _with_namespace(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    return (
        {**body, "metadata": {"namespace": namespace, **meta_of(body)}}
        if isinstance(body.get("metadata"), dict)
        else body
    )


async def _list_events(request: web.Request) -> web.Response:
    kind, _, name = request.query.get("involved", "").partition("/")
    kind = _KINDS.get(kind.lower(), kind)
    items = request.app[_EVENTS].find_all(request.match_info["namespace"], kind or None, name or None)
    return web.json_response({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": items})


async def _log(request: web.Request) -> web.StreamResponse:
    key = _key(request)
    uid = request.app[_STORE].get(key)["metadata"]["uid"]
    source = request.app[_CONTROL].log_of(key, uid, request.query.get("role") or request.query.get("revision"))
    if not source.path.exists() and not source.is_live():
        raise NotFound(f"{key} has no log yet; `graft describe` says what it waits for")
    return await _stream(request, _tail(source, follow=_is_set(request, "follow")), "text/plain; charset=utf-8")


async def _tail(source: LogSource, *, follow: bool) -> AsyncGenerator[bytes, None]:
    position = 0
    while True:
        # Asked before reading: what was written until the end is read once more after it.
        is_live = source.is_live()
        while piece := _read_at(source.path, position):
            position += len(piece)
            yield piece
        if not (follow and is_live):
            return
        await asyncio.sleep(LOG_POLL_S)


def _read_at(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read(LOG_PIECE_BYTES)
    except FileNotFoundError:
        return b""


async def _version(request: web.Request) -> web.Response:
    return web.json_response({"version": request.app[_CONTROL].status()["version"]})


async def _status(request: web.Request) -> web.Response:
    return web.json_response(request.app[_CONTROL].status())


async def _shutdown(request: web.Request) -> web.Response:
    request.app[_CONTROL].shutdown(now=_is_set(request, "now"))
    return web.json_response({"status": "Success"}, status=202)
