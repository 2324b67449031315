"""Envoy's admin interface on its Unix socket: what is in force, who is healthy, drain and quit."""

import json
from pathlib import Path

import aiohttp

from graft_core.errors import Unavailable
from graft_operator.render.envoy import Json, parse_weights

__all__ = ["EnvoyAdmin"]

TIMEOUT_S = 3.0
"""An Envoy that does not answer its own machine within this is as good as gone."""


class EnvoyAdmin:
    """A client of one Envoy."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def is_live(self) -> bool:
        """Say whether Envoy serves."""
        try:
            return (await self._ask("GET", "/ready")).strip() == "LIVE"
        except Unavailable:
            return False

    async def routes(self) -> tuple[str, dict[tuple[str, str], dict[str, int]]]:
        """Return the version of the routes in force, and their weights."""
        dump = await self._json("/config_dump?resource=dynamic_route_configs")
        for entry in dump.get("configs", []):
            return str(entry.get("version_info", "")), parse_weights(entry["route_config"])
        return "", {}

    async def clusters_version(self) -> str:
        """Return the version of the clusters that was taken over."""
        # Not from /config_dump: masked to the version it leaves it out where there is no cluster, and unmasked it is long.
        text = await self._ask("GET", "/stats?filter=^cluster_manager.cds.version_text$")
        return text.rpartition(": ")[2].strip().strip('"')

    async def healthy_clusters(self) -> frozenset[str]:
        """Return the arms' clusters whose host passes Envoy's own health check."""
        found = await self._json("/clusters?format=json")
        return frozenset(
            str(cluster["name"])
            for cluster in found.get("cluster_statuses", [])
            if cluster.get("host_statuses") and all(_is_healthy(host) for host in cluster["host_statuses"])
        )

    async def active_requests(self) -> int:
        """Return how many requests are under way."""
        text = await self._ask("GET", "/stats?filter=^http.gateway.downstream_rq_active$")
        return int(text.rpartition(":")[2] or 0)

    async def stop_listening(self) -> None:
        """Take no new connection; those that are open go on."""
        await self._ask("POST", "/healthcheck/fail")
        await self._ask("POST", "/drain_listeners")

    async def quit(self) -> None:
        """End Envoy at once."""
        await self._ask("POST", "/quitquitquit")

    async def reopen_logs(self) -> None:
        """Have Envoy write to a new access log after the old one was renamed."""
        await self._ask("POST", "/reopen_logs")

    async def _json(self, path: str) -> Json:
        body: Json = json.loads(await self._ask("GET", path))
        return body

    async def _ask(self, method: str, path: str) -> str:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=str(self._socket), limit=2)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.request(method, f"http://envoy{path}") as answer:
                return await answer.text()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the gateway does not answer {method} {path.partition('?')[0]}: {error!r}") from error


def _is_healthy(host: Json) -> bool:
    health = host.get("health_status", {})
    return not health.get("failed_active_health_check") and not health.get("pending_active_hc")
