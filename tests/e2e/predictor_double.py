"""A double of the predictor: takes its command line and config, answers its revision, counts as the contract names it.

`spec.engine.args` says how it behaves: `--max-new-tokens=500` answers every third request with 500, `--max-new-tokens=1` never becomes ready.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from graft_core.contracts import serving_metrics as names
from graft_core.contracts.predictor_config import PredictorConfig


class PredictorDouble:
    """One arm."""

    def __init__(self, config: PredictorConfig) -> None:
        self.config = config
        self.registry = CollectorRegistry()
        self.asked = 0
        self.requests = Counter(
            names.REQUESTS_TOTAL.removesuffix("_total"), "d", ["revision", "outcome"], registry=self.registry
        )
        self.duration = Histogram(
            names.REQUEST_DURATION_SECONDS,
            "d",
            ["revision", "cache"],
            registry=self.registry,
            buckets=names.LATENCY_BUCKETS_S,
        )

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/v2/health/ready", self.ready),
                web.get("/metrics", self.metrics),
                web.route("*", "/v1/{rest:.*}", self.answer),
            ]
        )
        return app

    async def ready(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if "--max-new-tokens=1" in self.config.engine.args else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.registry), content_type="text/plain")

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        is_bad = "--max-new-tokens=500" in self.config.engine.args and self.asked % 3 == 0
        self.requests.labels(self.config.revision, "error" if is_bad else "ok").inc()
        self.duration.labels(self.config.revision, "miss").observe(0.004)
        return web.json_response({"revision": self.config.revision}, status=500 if is_bad else 200)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--cache-dir", type=Path)
    args = parser.parse_args(sys.argv[3:])  # after `-m graft_predictor`
    double = PredictorDouble(PredictorConfig.model_validate_json(args.config.read_bytes()))
    runner = web.AppRunner(double.app(), handle_signals=True)
    await runner.setup()
    await web.TCPSite(runner, args.host, args.port).start()
    print(f"double of {double.config.revision} listens", flush=True)
    try:
        await asyncio.Event().wait()
    except web.GracefulExit:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
