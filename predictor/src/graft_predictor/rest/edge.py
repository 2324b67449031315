"""What stands around every route: a limit on bodies, and OpenAI-shaped errors where no route answers."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft_core.errors import InvalidInput
from graft_predictor.rest.body import Limits
from graft_predictor.rest.errors import BodyTooLarge, UnknownRoute, describe

__all__ = ["BodyLimit", "on_error", "on_http_exception"]


class BodyLimit:
    """ASGI middleware for the routes that read their body themselves (KServe's): a limit on size and time."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is small enough and not too slow."""
        if scope["type"] != "http" or not scope["path"].startswith(("/v1/models/", "/v2/models/")):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(receive)
        except InvalidInput as err:
            await describe(err).to_response()(scope, receive, send)
            return
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > self._limits.max_body_bytes:
                        raise BodyTooLarge(
                            f"body: it has over {self._limits.max_body_bytes} bytes, the most that is read", path="body"
                        )
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as err:
            limit = self._limits.read_timeout_s
            raise InvalidInput(f"body: it did not arrive within {limit:g} seconds", path="body") from err


async def on_http_exception(request: Request, err: Exception) -> Response:
    """Answer for 404 and 405."""
    status = err.status_code if isinstance(err, HTTPException) else 404
    what = "method not allowed" if status == 405 else "no such address"
    return describe(UnknownRoute(f"{request.method} {request.url.path[:200]}: {what}", status=status)).to_response()


async def on_error(_request: Request, err: Exception) -> Response:
    """Answer for every other error that leaves a route; no traceback, no text of foreign errors."""
    return describe(err).to_response()
