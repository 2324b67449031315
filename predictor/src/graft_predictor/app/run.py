"""The wiring: every part is made here, once, and handed to those that use it."""

import os

from prometheus_client import CollectorRegistry, disable_created_metrics

from graft_core.clock import SystemClock
from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.telemetry.logs import LogFormat, configure_logs
from graft_core.telemetry.tracing import setup_tracing
from graft_predictor.adapters.base_model import find_base
from graft_predictor.app.loading import Loader
from graft_predictor.app.server import serve
from graft_predictor.engines.registry import make_engine
from graft_predictor.pipeline.metrics import ServingMetrics
from graft_predictor.pipeline.service import Service
from graft_predictor.settings import Settings

__all__ = ["run"]


def run(config: PredictorConfig, settings: Settings, *, log_format: LogFormat) -> None:
    """Serve until a signal ends it.

    Args:
        config: What to serve.
        settings: Where.
        log_format: Of the lines on standard error.
    """
    configure_logs(log_format=log_format)
    disable_created_metrics()  # a `_created` series for each, which nobody reads
    stop_tracing = setup_tracing("graft-predictor", os.environ)
    registry = CollectorRegistry(auto_describe=True)
    service = Service(config, ServingMetrics(registry, config.revision), SystemClock())
    loader = Loader(
        service,
        cache_dir=settings.cache_dir,
        find_base=lambda pin: find_base(pin, cache_dir=settings.cache_dir, hub_dir=settings.base_dir),
        make_engine=make_engine,
    )
    try:
        serve(service, loader, settings, registry)
    finally:
        stop_tracing()
