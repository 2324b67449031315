"""`python -m graft_operator operator`: the operator with a supervisor of its own, so that a watch that breaks costs a second, not a pod."""

import asyncio
import gc
import os
import random
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import kopf

from graft_core.errors import GraftError
from graft_core.telemetry.logs import configure_logs, get_log
from graft_core.telemetry.tracing import setup_tracing
from graft_operator.handlers.runtime import Runtime
from graft_operator.settings import OperatorSettings

__all__ = ["main", "serve"]

_LOG = get_log(__name__)


def main() -> int:
    """Run until SIGTERM or SIGINT.

    Returns:
        Exit code: 2 for settings that make no sense.
    """
    try:
        settings = OperatorSettings.from_environment(os.environ)
    except GraftError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logs(level=settings.log_level, log_format=settings.log_format)
    stop_tracing = setup_tracing("graft-operator", os.environ)
    _calm_collector()
    try:
        asyncio.run(serve(settings, os.environ))
    except GraftError as error:
        _LOG.failure("operator_not_started", error)
        return 2
    finally:
        stop_tracing()
    return 0


def _calm_collector() -> None:
    """Take what was imported out of the garbage collector's sight: a full collection would hold the event loop up for tens of milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


async def serve(settings: OperatorSettings, environment: Mapping[str, str]) -> None:
    """Run the operator, and kopf again each time that it breaks; the queue and the Lease outlive that."""
    runtime = Runtime(settings, environment)
    await runtime.start()
    try:
        is_told_to_end = False
        while not is_told_to_end:
            is_told_to_end = await _pump(runtime)
    finally:
        await runtime.stop()


async def _pump(runtime: Runtime) -> bool:
    """Have kopf bring events; True where it ended because it was told to."""
    namespaces = runtime.settings.namespaces
    try:
        tasks = await kopf.spawn_tasks(
            registry=kopf.get_default_registry(),
            settings=kopf.OperatorSettings(),
            memo=kopf.Memo(runtime=runtime),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
        )
        await kopf.run_tasks(tasks, ignored=_AllOthers())
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever broke a watch: it is opened anew, and the rest goes on
        _LOG.failure("watches_broke", error)
        runtime.metrics.broken.inc()
        await asyncio.sleep(random.uniform(0.5, 3.0))
        return False
    return True


class _AllOthers(Collection["asyncio.Task[Any]"]):
    """Tasks that are none of kopf's: it would otherwise wait for, and then cancel, whatever began after it, our passes among them."""

    def __contains__(self, task: object) -> bool:
        return True

    def __iter__(self) -> Iterator["asyncio.Task[Any]"]:
        return iter(asyncio.all_tasks())

    def __len__(self) -> int:
        return len(asyncio.all_tasks())
