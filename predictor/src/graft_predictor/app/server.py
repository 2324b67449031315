"""kserve.ModelServer with Graft's own routes, signals and listener.

KServe's start() always listens on 0.0.0.0, opens its port only when a model is loaded, and on SIGTERM closes the listener before
anybody could know. Here the port opens first and readiness tells the truth; on SIGTERM readiness goes first, then the listener, then,
when open requests have ended or their grace is over, engine and request log.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from graft_core.errors import GraftError
from graft_core.telemetry.logs import get_log
from graft_predictor.app.lean_kserve import load_kserve
from graft_predictor.app.loading import Loader
from graft_predictor.app.protocol import make_protocol
from graft_predictor.pipeline.service import Service
from graft_predictor.rest.body import Limits
from graft_predictor.rest.edge import BodyLimit, on_error, on_http_exception
from graft_predictor.rest.openai_routes import OpenAIRoutes
from graft_predictor.rest.ops_routes import OpsRoutes
from graft_predictor.settings import Settings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["mount", "serve", "wrap"]

_log = get_log(__name__)


def serve(service: Service, loader: Loader, settings: Settings, registry: "CollectorRegistry") -> None:
    """Listen until a signal ends it; blocks.

    Args:
        service: Not ready yet.
        loader: Is run as soon as the port is open.
        settings: Where to listen.
        registry: The service's metrics.
    """
    app = _kserve_app(service, settings, registry)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=make_protocol(settings.read_timeout_s),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than the gateway's, so that it is never the one to be surprised
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
    )
    _Server(config, service, loader, settings.drain_s).run()


def mount(app: FastAPI, service: Service, limits: Limits, registries: "list[CollectorRegistry]") -> None:
    """Put Graft's routes in front of whatever the app has."""
    app.router.routes[:0] = [*OpenAIRoutes(service, limits).routes(), *OpsRoutes(service, registries).routes()]


def wrap(app: FastAPI, limits: Limits) -> None:
    """Put limits and error shapes around every route."""
    app.add_middleware(BodyLimit, limits=limits)
    app.add_exception_handler(GraftError, on_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_error)


def _kserve_app(service: Service, settings: Settings, registry: "CollectorRegistry") -> FastAPI:
    load_kserve()
    from kserve import ModelServer  # noqa: PLC0415  # seconds, and not for --help
    from kserve.model_server import app as kserve_app  # noqa: PLC0415  # same
    from kserve.protocol.rest.server import RESTServer  # noqa: PLC0415  # same
    from prometheus_client import REGISTRY  # noqa: PLC0415  # same

    from graft_predictor.rest.kserve_model import GraftModel  # noqa: PLC0415  # imports kserve

    app: FastAPI = kserve_app
    server: Any = ModelServer(http_port=settings.port, enable_grpc=False, workers=1, enable_latency_logging=False)
    server.register_model(GraftModel(service))
    limits = Limits(max_body_bytes=settings.max_body_bytes, read_timeout_s=settings.read_timeout_s)

    class Rest(RESTServer):
        def _add_middlewares(self, app: FastAPI) -> None:
            """Leave KServe's timing log out: each request is measured once, in the pipeline."""

    rest: Any = Rest("kserve.model_server:app", server.dataplane, server.model_repository_extension, settings.port)
    rest.create_application()
    mount(app, service, limits, [registry, REGISTRY])
    wrap(app, limits)
    return app


class _Server(uvicorn.Server):
    """uvicorn with a loader at its start and readiness at its end."""

    def __init__(self, config: uvicorn.Config, service: Service, loader: Loader, drain_s: float) -> None:
        super().__init__(config)
        self._service = service
        self._loader = loader
        self._drain_s = drain_s
        self._loading: asyncio.Task[None] | None = None
        self._event_loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401  # uvicorn's signature
        """Open the port, then load."""
        await super().startup(sockets)
        self._event_loop = asyncio.get_running_loop()
        if self.started:
            _log.info("listening", host=str(self.config.host), port=self.config.port)
            self._loading = asyncio.create_task(self._loader.run())

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401  # uvicorn's signature
        """Drain on the first signal, end at once on the second.

        uvicorn's own version also raises the signal again at the end, which would turn an orderly end into a death by signal.
        """
        if self._service.readiness.phase == "Draining" or self._event_loop is None:
            self.should_exit = self.force_exit = True
            return
        self._service.drain()
        self._event_loop.call_soon_threadsafe(self._call_later, self._close_listener)

    async def shutdown(self, sockets: Any = None) -> None:  # noqa: ANN401  # uvicorn's signature
        """Wait for what is open, then stop what works for it."""
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
        await super().shutdown(sockets)
        await asyncio.to_thread(self._service.close)
        await asyncio.to_thread(self._loader.close)
        _log.info("stopped")

    def _call_later(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._drain_s, callback)

    def _close_listener(self) -> None:
        self.should_exit = True
