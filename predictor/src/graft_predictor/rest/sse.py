"""Server-sent events, and what happens when the client leaves.

Starlette's StreamingResponse may leave its generator to the garbage collector when the client goes; here it is closed at once, which is
what stops the engine.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graft_predictor.rest.errors import ClientGone

__all__ = ["DONE", "EventStream", "until_disconnect"]

DONE: Final = b"data: [DONE]\n\n"
T = TypeVar("T")


class EventStream(Response):
    """A response that is sent as it is made."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], headers: dict[str, str]) -> None:
        super().__init__(None, 200, {**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; stops when the client has gone."""
        pump = asyncio.create_task(self._pump(send))
        watch = asyncio.ensure_future(receive())  # the body was read, so this is the disconnect
        try:
            await asyncio.wait({pump, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, watch):
                if not task.done():
                    task.cancel()
            results = await asyncio.gather(pump, watch, return_exceptions=True)
        if isinstance(results[0], Exception) and not isinstance(results[0], OSError):
            raise results[0]

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Run the work unless the client leaves first.

    Args:
        request: Its body has been read.
        work: Is cancelled when the client leaves.

    Returns:
        What the work returns.

    Raises:
        ClientGone: The client left.
    """
    task = asyncio.create_task(work)
    watch = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("the client left before its answer was there")
        return task.result()
    finally:
        for each in (task, watch):
            if not each.done():
                each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)
