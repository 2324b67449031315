"""From configuration to a service that answers: fetch, verify, load, warm.

    phase        what happens                                             when it fails
    Verifying    copy the adapter, prove it, find the base                Unavailable: again, with back-off; else Failed
    Loading      load base and adapter, or wait for the server that has   a server that is not there yet: again, until
                 them; compare the prompt template                        startupSeconds are over; else Failed
    Warming      answer one request                                       the same
    Ready

Failed is final: the same adapter and configuration would fail again. The process stays up and says why at its readiness address.
"""

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Final

from graft_core.clock import Clock
from graft_core.contracts.adapter_manifest import AdapterManifest, BaseModelPin
from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.errors import GraftError, NotReady, Unavailable
from graft_core.storage.objects import open_store
from graft_core.tasks.messages import Message
from graft_core.telemetry.logs import get_log
from graft_predictor.adapters.fetch import FetchedAdapter, fetch_adapter
from graft_predictor.adapters.verify import check_template
from graft_predictor.caching.exact import ExactTier
from graft_predictor.caching.keys import fingerprint
from graft_predictor.caching.memory import MemoryTier
from graft_predictor.engines.base import Engine, GenerateRequest, LoadPlan, Sampling, collect
from graft_predictor.pipeline.pipeline import Caches, Pipeline
from graft_predictor.pipeline.request_log import RequestLog
from graft_predictor.pipeline.service import Service

__all__ = ["Loader", "make_caches", "make_plan", "open_request_log", "probe_messages", "warm_up"]

MAX_BACKOFF_S: Final = 30.0
SERVER_POLL_S: Final = 1.0
_log = get_log(__name__)


class Loader:
    """Brings a service up."""

    def __init__(
        self,
        service: Service,
        *,
        cache_dir: Path,
        find_base: Callable[[BaseModelPin], Path],
        make_engine: Callable[[LoadPlan], Engine],
    ) -> None:
        """Start nothing yet.

        Args:
            service: Goes through the phases.
            cache_dir: For the adapter's copy and the exact cache.
            find_base: Finds the base model's folder and verifies it; raises as fetch_adapter does.
            make_engine: Makes the engine; it is loaded here.
        """
        self._service = service
        self._cache_dir = cache_dir
        self._find_base = find_base
        self._make_engine = make_engine
        self._exact: ExactTier | None = None

    async def run(self) -> None:
        """Go through the phases to Ready or Failed."""
        service = self._service
        engine: Engine | None = None
        try:
            fetched, base = await self._fetch()
            service.enter("Loading", "the model is being loaded")
            engine = self._make_engine(make_plan(service.config, fetched, base))
            await self._bring_up(engine, fetched.manifest)
            caches, self._exact = make_caches(service, fetched.manifest, self._cache_dir)
            pipeline = Pipeline(service.config, fetched.manifest.task, engine, caches, service.clock)
            service.request_log = open_request_log(service)
        except Exception as err:  # noqa: BLE001  # the process's edge: it must tell why it will never be ready
            known = isinstance(err, GraftError)
            _log.failure("load_failed", err, reason=err.reason if isinstance(err, GraftError) else "InternalError")
            message = str(err) if known else f"loading failed ({type(err).__name__}); the server's log has the cause"
            service.enter("Failed", message, reason=err.reason if isinstance(err, GraftError) else "InternalError")
            if engine is not None:
                await asyncio.to_thread(engine.stop)
            return
        # What was loaded stays: the collector need not look at a million objects again and again.
        gc.collect()
        gc.freeze()
        service.open(pipeline)
        _log.info("ready", revision=service.config.revision, digest=service.config.adapter.digest)

    def close(self) -> None:
        """Close what the service does not own."""
        if self._exact is not None:
            self._exact.close()

    async def _fetch(self) -> tuple[FetchedAdapter, Path | None]:
        backoff_s = 1.0
        self._service.enter("Verifying", "adapter and base model are being fetched and verified")
        while True:
            try:
                return await asyncio.to_thread(self._fetch_once)
            except Unavailable as err:
                self._service.enter("Verifying", str(err), reason=err.reason)
                _log.warning("fetch_failed", error=type(err).__name__, message=str(err), retry_after_s=backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)

    def _fetch_once(self) -> tuple[FetchedAdapter, Path | None]:
        ref = self._service.config.adapter
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        store, prefix = open_store(ref.uri, path="adapter.uri")
        fetched = fetch_adapter(store, prefix, ref, self._cache_dir)
        is_in_process = self._service.config.engine.server is None
        return fetched, self._find_base(fetched.manifest.base_model) if is_in_process else None

    async def _bring_up(self, engine: Engine, manifest: AdapterManifest) -> None:
        """Load and warm up, and again while a server beside us is not there yet: it takes minutes to load its own model."""
        server, clock = self._service.config.engine.server, self._service.clock
        deadline = clock.monotonic() + (server.startup_seconds if server is not None else 0)
        while True:
            try:
                await asyncio.to_thread(engine.load)
                check_template(manifest, chat_template=engine.chat_template)
                self._service.enter("Warming", "the model answers its first request")
                await warm_up(engine, probe_messages(manifest))
            except (NotReady, Unavailable) as err:
                if server is None or clock.monotonic() >= deadline:
                    raise
                self._service.enter("Loading", str(err), reason=err.reason)
            else:
                return
            await asyncio.sleep(SERVER_POLL_S)


def make_plan(config: PredictorConfig, fetched: FetchedAdapter, base: Path | None) -> LoadPlan:
    """Say what the engine loads."""
    manifest = fetched.manifest
    return LoadPlan(
        engine=config.engine,
        base=manifest.base_model,
        base_dir=base,
        adapter_dir=fetched.folder,
        model_class=manifest.compatibility.model_class,
        max_length=manifest.compatibility.max_length,
        labels=tuple(manifest.task.labels or ()),
        probe=probe_messages(manifest),
        max_concurrency=config.max_concurrency,
    )


def make_caches(service: Service, manifest: AdapterManifest, cache_dir: Path) -> tuple[Caches, ExactTier | None]:
    """Make the tiers that the configuration turns on; the caller closes the second value."""
    config = service.config
    spec = config.cache
    exact: ExactTier | None = None
    if spec.exact is not None:
        name = f"answers-{config.release.namespace}-{config.release.name}-{config.revision}.sqlite3"
        exact = ExactTier(
            cache_dir / name,
            ttl_s=spec.exact.ttl_seconds,
            clock=service.clock,
            on_fault=service.metrics.count_cache_fault,
        )
    memory = MemoryTier(spec.memory.max_entries) if spec.memory is not None and spec.memory.max_entries else None
    return Caches(fingerprint(config, manifest), memory, exact), exact


def open_request_log(service: Service, clock: Clock | None = None) -> RequestLog | None:
    """Open the request log, where the configuration has one, and start its thread."""
    spec = service.config.request_log
    if spec is None:
        return None
    store, prefix = open_store(spec.uri, path="requestLog.uri")
    log = RequestLog(
        store,
        prefix,
        release=service.config.release,
        revision=service.config.revision,
        sample_rate=float(spec.sample_rate),
        store_text=spec.store_text,
        clock=clock or service.clock,
        on_dropped=service.metrics.count_log_dropped,
    )
    log.start()
    return log


def probe_messages(manifest: AdapterManifest) -> tuple[Message, ...]:
    """Return a prompt like those of the task, for trying the engine out."""
    system = (Message("system", manifest.task.system),) if manifest.task.system else ()
    return (*system, Message("user", "warm up"))


async def warm_up(engine: Engine, messages: tuple[Message, ...]) -> None:
    """Answer once, so that the first user does not wait for what is made lazily; raises as Engine.generate does."""
    await collect(engine.generate(GenerateRequest(messages, Sampling(max_tokens=4))))
