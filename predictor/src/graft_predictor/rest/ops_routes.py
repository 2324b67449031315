"""Liveness, readiness and metrics. Readiness is the truth with its reason; KServe's own `/v2/health/ready` always says yes."""

from collections.abc import Sequence

import orjson
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from graft_core.telemetry.metrics import CONTENT_TYPE, render_metrics
from graft_predictor.pipeline.service import Service
from graft_predictor.rest.errors import UnknownRoute, describe

__all__ = ["OpsRoutes"]


class OpsRoutes:
    """The routes that operators and load balancers ask."""

    def __init__(self, service: Service, registries: Sequence[CollectorRegistry]) -> None:
        """Take what to show.

        Args:
            service: Whose readiness.
            registries: Written to /metrics one after the other.
        """
        self._service = service
        self._registries = registries

    def routes(self) -> list[BaseRoute]:
        """Return the routes; they must come before KServe's."""
        return [
            Route("/healthz", self._live, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/v2/health/ready", self._ready, methods=["GET"]),
            Route(f"/v2/models/{self._service.name}/ready", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            # KServe registers these without authentication; one request could stop the arm.
            Route("/v2/repository/models/{model}/load", self._refuse, methods=["POST"]),
            Route("/v2/repository/models/{model}/unload", self._refuse, methods=["POST"]),
        ]

    async def _live(self, _request: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type="application/json")

    async def _ready(self, _request: Request) -> Response:
        readiness = self._service.readiness
        body = {
            "name": self._service.name,
            "ready": readiness.is_ready,
            "phase": readiness.phase,
            "reason": readiness.reason,
            "message": readiness.message,
            "revision": self._service.config.revision,
        }
        headers = {} if readiness.is_ready else {"retry-after": "2"}
        return Response(orjson.dumps(body), 200 if readiness.is_ready else 503, headers, "application/json")

    async def _metrics(self, _request: Request) -> Response:
        content = b"".join(render_metrics(registry) for registry in self._registries)
        return Response(content, headers={"content-type": CONTENT_TYPE})

    async def _refuse(self, _request: Request) -> Response:
        fault = UnknownRoute("models are not loaded or unloaded by request; the release's revision decides", status=403)
        return describe(fault).to_response()
