"""A double of a predictor arm: answers its revision, may be unready, slow, or counting. It runs in the test's own loop."""

import asyncio
from typing import Self

from aiohttp import web

__all__ = ["ArmDouble"]


class ArmDouble:
    """An HTTP server with a predictor's health path; everything else answers the revision."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.is_ready = True
        self.served = 0
        self.served_while_unready = 0
        self.delay_s = 0.0
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/v2/health/ready", self._health), web.route("*", "/{rest:.*}", self._answer)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_ready else 503)

    async def _answer(self, request: web.Request) -> web.Response:
        if not self.is_ready:
            self.served_while_unready += 1
        self.served += 1
        await asyncio.sleep(self.delay_s)
        return web.json_response({"revision": self.revision, "path": request.path_qs})
