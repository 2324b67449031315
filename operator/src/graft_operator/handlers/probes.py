"""/healthz, /readyz and /metrics."""

from collections.abc import Callable

from aiohttp import web

from graft_core.telemetry.metrics import CONTENT_TYPE

__all__ = ["Probes"]


class Probes:
    """One small HTTP server."""

    def __init__(self, healthy: Callable[[], str], ready: Callable[[], str], metrics: Callable[[], bytes]) -> None:
        """Connect.

        Args:
            healthy: Says what is wrong; empty where nothing is.
            ready: The same for readiness.
            metrics: Returns the metrics' text.
        """
        self._healthy = healthy
        self._ready = ready
        self._metrics = metrics
        self._runner: web.AppRunner | None = None
        self.port = 0
        """Port that it listens at."""

    async def start(self, host: str | None, port: int) -> None:
        """Listen."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", self._show_health)
        app.router.add_get("/readyz", self._show_readiness)
        app.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _show_health(self, _: web.Request) -> web.Response:
        return _say(self._healthy())

    async def _show_readiness(self, _: web.Request) -> web.Response:
        return _say(self._ready())

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})


def _say(wrong: str) -> web.Response:
    return web.Response(text=f"{wrong or 'ok'}\n", status=503 if wrong else 200)
