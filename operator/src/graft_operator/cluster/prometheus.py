"""Instant queries to a Prometheus server that the operator's settings allow."""

import json
from datetime import datetime
from typing import Any, Final

import aiohttp

from graft_core.errors import Unavailable

__all__ = ["Prometheus"]

TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 1 << 20
"""A vector of a few dozen elements has some KiB."""


class Prometheus:
    """Asks Prometheus servers; a connection a question, for there are a few in ten seconds, and then none for days."""

    async def ask(self, url: str, query: str, at: datetime) -> Any:  # noqa: ANN401  # JSON as it came
        """Ask one instant query.

        Args:
            url: The server's base URL, one that is allowed.
            query: PromQL.
            at: Time it is evaluated at.

        Returns:
            The answer as JSON.

        Raises:
            Unavailable: It does not answer, or not with JSON.
        """
        target = f"{url.rstrip('/')}/api/v1/query"
        data = {"query": query, "time": f"{at.timestamp():.3f}"}
        try:
            # No redirects: the allowed address is the one that is asked.
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.post(target, data=data, allow_redirects=False) as answer,
            ):
                body = await answer.content.read(MAX_BYTES + 1)
                if len(body) > MAX_BYTES or answer.status not in {200, 400, 422, 503}:
                    raise Unavailable(f"Prometheus at {url} answers {answer.status} with {len(body)} bytes")
                return json.loads(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"Prometheus at {url} does not answer ({type(error).__name__})") from error
