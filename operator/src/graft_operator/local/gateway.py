"""The gateway: one Envoy on one port, told what to do by files that are replaced whole, and asked what it does.

Clusters are written and taken over before routes that name them. A weight counts as observed once Envoy's own dump of its routes shows it.
Envoy outlives a `graft up` that is killed, and is taken over by the next: no request is lost on the way.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from graft_core.clock import Clock
from graft_core.errors import Conflict, InvalidInput, NotReady, Unavailable
from graft_core.telemetry.logs import get_log
from graft_operator.local.database import Database
from graft_operator.local.envoy_admin import EnvoyAdmin
from graft_operator.local.envoy_process import START_S, EnvoyProcess
from graft_operator.local.files import digest_of, write_text
from graft_operator.local.processes import Processes
from graft_operator.reconcile.observed import Traffic
from graft_operator.render.envoy import (
    ArmEndpoint,
    Json,
    ReleaseRoute,
    host_cluster_name,
    render_clusters,
    render_routes,
)
from graft_operator.settings import LocalSettings

__all__ = ["Gateway", "Split"]

_LOG = get_log(__name__)

_SPLITS = "splits"

ACK_S = 10.0
"""How long a change may take until it is in force; a new cluster waits for its first health check."""

LOOK_S = 3.0
"""How soon weights that were edited by hand are seen."""

LOOK_SOON_S = 0.2
LOOK_CLOSELY_S = 10.0
"""While an arm is expected to become healthy: how often, and for how long at most."""

MAX_ACCESS_LOG_BYTES = 64 << 20
"""The access log is moved aside once, at this size."""


class Split(BaseModel):
    """How one release's traffic was asked to be split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str
    name: str
    weights: dict[str, int] = {}
    stable: str = ""
    sticky_header: str = ""
    timeout_s: int = 120
    version: int = 1


class Gateway:
    """Envoy and its files."""

    def __init__(
        self,
        database: Database,
        processes: Processes,
        clock: Clock,
        settings: LocalSettings,
        arms: Callable[[str], Sequence[tuple[str, int]]],
        changed: Callable[[], None],
    ) -> None:
        """Keep what is needed; nothing is started.

        Args:
            database: Where splits are kept.
            processes: The system.
            clock: Time.
            settings: Host, port, folder.
            arms: Revision and port of each arm of a release, by its uid.
            changed: Called when weights or health are seen to have changed.
        """
        self._db = database
        self._clock = clock
        self._settings = settings
        self._arms = arms
        self._changed = changed
        self._folder = settings.state / "gateway"
        self._splits = {uid: Split.model_validate(body) for uid, body in database.records(_SPLITS).items()}
        self._admin = EnvoyAdmin(self._folder / "admin.sock")
        self._written = {"cds.json": "", "rds.json": ""}
        self._observed: dict[tuple[str, str], dict[str, int]] = {}
        self._healthy: frozenset[str] = frozenset()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._look_closely_until = 0.0
        self._envoy = EnvoyProcess(
            database, processes, clock, settings, self._admin, lambda: self._write_files(self._routes())
        )
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Base URL of the gateway."""
        host = "127.0.0.1" if self._settings.host in {"0.0.0.0", "::"} else self._settings.host  # noqa: S104  # compared, not bound
        return f"http://{host}:{self._envoy.port}"

    @property
    def pid(self) -> int:
        """Pid of Envoy's supervisor; 0: not running."""
        return self._envoy.pid

    async def start(self) -> None:
        """Take over the Envoy that runs, or start one.

        Raises:
            InvalidInput: The port is taken, or there is no Envoy.
            Unavailable: Envoy does not come up.
        """
        await self._envoy.start()
        await self._first_sync()
        self._task = asyncio.get_running_loop().create_task(self._look_after())

    def others_named(self, uid: str, namespace: str, name: str) -> tuple[str, ...]:
        """Return the uids of releases of the same name that left their service behind."""
        return tuple(u for u, s in self._splits.items() if u != uid and (s.namespace, s.name) == (namespace, name))

    def traffic(self, uid: str) -> Traffic:
        """Return the split as it was asked for."""
        split = self._splits.get(uid)
        return Traffic() if split is None else Traffic(dict(split.weights), str(split.version))

    def observed(self, namespace: str, name: str) -> Mapping[str, int]:
        """Return the weights in force, by revision."""
        return self._observed.get((namespace, name), {})

    def is_healthy(self, namespace: str, name: str, revision: str) -> bool:
        """Say whether Envoy itself finds the arm healthy."""
        return host_cluster_name(namespace, name, revision) in self._healthy

    def declare(self, uid: str, split: Split) -> None:
        """Make the release known, or change all of its route but the weights; the caller syncs."""
        old = self._splits.get(uid)
        new = split if old is None else split.model_copy(update={"weights": old.weights, "version": old.version})
        if new != old:
            self._put(uid, new)

    async def set_weights(self, uid: str, weights: Mapping[str, int], version: str) -> None:
        """Ask for a split and wait until it is in force.

        Args:
            uid: The release's.
            weights: Percent by revision, summing to 100; none above 0 closes the route.
            version: Of the split that was decided on.

        Raises:
            Conflict: The split was changed since.
            InvalidInput: The weights do not sum to 100.
        """
        split = self._splits[uid]
        if version not in {str(split.version), ""}:
            raise Conflict(f"the split of {split.namespace}/{split.name} changed since version {version!r}")
        serving = {revision: weight for revision, weight in weights.items() if weight}
        if serving and sum(serving.values()) != 100:
            raise InvalidInput(f"weights {dict(weights)!r} of {split.namespace}/{split.name} do not sum to 100")
        self._put(uid, split.model_copy(update={"weights": serving, "version": split.version + 1}))
        await self.sync()

    async def forget(self, uid: str) -> None:
        """Take a release's route away."""
        if self._splits.pop(uid, None) is not None:
            self._db.drop_record(_SPLITS, uid)
            await self.sync()

    async def sync(self) -> None:
        """Bring Envoy's files to what is wanted, and wait until it is in force; nothing where nothing changed.

        Raises:
            NotReady: Envoy has not taken it over in time.
        """
        async with self._lock:
            before = (self._observed, self._healthy)
            routes = self._routes()
            version = digest_of(render_clusters(routes, ""))
            if version != self._written["cds.json"]:
                self._write("cds.json", render_clusters(routes, version), version)
                await self._until(self._admin.clusters_version, version)
            version = digest_of(render_routes(routes, ""))
            if version != self._written["rds.json"]:
                self._write("rds.json", render_routes(routes, version), version)
                await self._until(self._routes_version, version)
            await self._look(before)

    async def release(self) -> None:
        """Let go of Envoy without ending it; the next `graft up` takes it over."""
        self._envoy.release()
        if self._task is not None:
            self._task.cancel()
        await self._admin.close()

    async def close(self, *, now: bool) -> None:
        """Drain open streams and end Envoy.

        Args:
            now: Don't wait for streams.
        """
        if self._is_closed:
            return
        self._envoy.release()
        if self._task is not None:
            self._task.cancel()
        try:
            if not now:
                await self._admin.stop_listening()
                deadline = self._clock.monotonic() + self._settings.drain_s
                while self._clock.monotonic() < deadline and await self._admin.active_requests() > 0:  # noqa: ASYNC110  # a number to ask for
                    await asyncio.sleep(0.1)
            await self._admin.quit()
        except Unavailable:
            _LOG.warning("gateway_silent_at_stop")
        await self._admin.close()
        await self._envoy.end()
        self._is_closed = True

    def _routes(self) -> list[ReleaseRoute]:
        # A service left behind by `deletionPolicy: Orphan` answers until a release of its name has arms of its own.
        serving = {(s.namespace, s.name): uid for uid, s in self._splits.items() if s.weights}
        return [
            ReleaseRoute(
                namespace=split.namespace,
                name=split.name,
                arms=tuple(ArmEndpoint(revision, "127.0.0.1", port) for revision, port in self._arms(uid)),
                weights=split.weights,
                stable=split.stable,
                sticky_header=split.sticky_header,
                timeout_s=split.timeout_s,
            )
            for uid, split in self._splits.items()
            if serving.get((split.namespace, split.name), uid) == uid
        ]

    def _write_files(self, routes: list[ReleaseRoute]) -> None:
        for name, render in (("cds.json", render_clusters), ("rds.json", render_routes)):
            version = digest_of(render(routes, ""))
            self._write(name, render(routes, version), version)

    def _write(self, name: str, body: Json, version: str) -> None:
        write_text(self._folder / name, json.dumps(body, ensure_ascii=False))
        self._written[name] = version

    def _put(self, uid: str, split: Split) -> None:
        self._db.put_record(_SPLITS, uid, split.model_dump(mode="json"))
        self._splits[uid] = split

    async def _routes_version(self) -> str:
        version, self._observed = await self._admin.routes()
        return version

    async def _until(self, ask: Callable[[], Any], version: str) -> None:
        deadline = self._clock.monotonic() + ACK_S
        wait_s = 0.002
        while await ask() != version:
            if self._clock.monotonic() > deadline:
                raise NotReady(
                    f"the gateway has not taken over version {version} within {ACK_S} s; {self._folder / 'log'} may say why"
                )
            await asyncio.sleep(wait_s)
            wait_s = min(0.1, wait_s * 1.5)

    async def _look(self, before: tuple[object, object]) -> None:
        _, self._observed = await self._admin.routes()
        self._healthy = await self._admin.healthy_clusters()
        if before != (self._observed, self._healthy):
            self._look_closely_until = 0.0
            self._changed()

    def look_closely(self) -> None:
        """Look often for a while, until something has changed: an arm says that it is ready, and Envoy has not asked it yet."""
        self._look_closely_until = self._clock.monotonic() + LOOK_CLOSELY_S
        self._wake.set()

    async def look_now(self) -> None:
        """Look at weights and health."""
        async with self._lock:
            await self._look((self._observed, self._healthy))

    async def _look_after(self) -> None:
        while True:
            wait_s = LOOK_SOON_S if self._clock.monotonic() < self._look_closely_until else LOOK_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait_s)
                await asyncio.sleep(LOOK_SOON_S)
            self._wake.clear()
            if not self._splits:
                continue  # nobody is served: nothing to watch over
            try:
                await self.look_now()
                await self._rotate()
            except Unavailable as error:
                _LOG.warning("gateway_silent", reason=str(error))

    async def _rotate(self) -> None:
        log = self._folder / "access.log"
        if log.exists() and log.stat().st_size > MAX_ACCESS_LOG_BYTES:
            log.replace(log.with_name("access.log.1"))
            await self._admin.reopen_logs()

    async def _first_sync(self) -> None:
        """Sync; an Envoy that is killed meanwhile, or whose supervisor was while nobody looked, is started again by its watch."""
        deadline = self._clock.monotonic() + START_S
        while True:
            try:
                return await self.sync()
            except Unavailable:
                if self._clock.monotonic() > deadline:
                    raise
            await asyncio.sleep(LOOK_SOON_S)
