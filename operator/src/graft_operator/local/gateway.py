"""The gateway: one Envoy on one port, told what to do by files that are replaced whole, and asked what it does.

Clusters are written and taken over before routes that name them. A weight counts as observed once Envoy's own dump of its routes shows it.
Envoy outlives a `graft up` that is killed, and is taken over by the next: no request is lost on the way.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from graft_core.clock import Clock
from graft_core.errors import Conflict, InvalidInput, NotReady, Unavailable
from graft_core.telemetry.logs import get_log
from graft_operator.local.database import Database
from graft_operator.local.envoy_admin import EnvoyAdmin
from graft_operator.local.envoy_binary import find_envoy
from graft_operator.local.files import read_tail, write_text
from graft_operator.local.processes import Processes, ProcessId
from graft_operator.local.sockets import free_port, is_free
from graft_operator.reconcile.observed import Traffic
from graft_operator.render.envoy import (
    ArmEndpoint,
    GatewaySettings,
    Json,
    ReleaseRoute,
    host_cluster_name,
    render_bootstrap,
    render_clusters,
    render_routes,
)
from graft_operator.settings import LocalSettings

__all__ = ["Gateway", "Split"]

_LOG = get_log(__name__)

_AREA = "gateway"
_SPLITS = "splits"

START_S = 20.0
"""How long Envoy may take until it serves; clusters are health-checked first."""

STARTS = 3
"""How often one that is killed while it starts is started anew."""

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
        self._processes = processes
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
        self._who: ProcessId | None = None
        self._is_closing = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        self.port = settings.port

    @property
    def url(self) -> str:
        """Base URL of the gateway."""
        host = "127.0.0.1" if self._settings.host in {"0.0.0.0", "::"} else self._settings.host  # noqa: S104  # compared, not bound
        return f"http://{host}:{self.port}"

    @property
    def pid(self) -> int:
        """Pid of Envoy's supervisor; 0: not running."""
        return 0 if self._who is None else self._who[0]

    async def start(self) -> None:
        """Take over the Envoy that runs, or start one.

        Raises:
            InvalidInput: The port is taken, or there is no Envoy.
            Unavailable: Envoy does not come up.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        envoy = find_envoy(self._settings.envoy)
        record = self._db.records(_AREA).get("envoy", {})
        self.port = self._settings.port or int(record.get("port", 0)) or free_port()
        bootstrap = render_bootstrap(
            GatewaySettings(
                host=self._settings.host,
                port=self.port,
                admin_socket=str(self._folder / "admin.sock"),
                folder=str(self._folder),
                access_log=str(self._folder / "access.log"),
            )
        )
        fingerprint = _digest({"envoy": envoy, "bootstrap": bootstrap})
        attempt = int(record.get("attempt", 0))
        found = self._processes.find(self._folder, attempt)
        if found is not None and record.get("fingerprint") == fingerprint and await self._admin.is_live():
            _LOG.info("gateway_adopted", pid=found[0], port=self.port)
            self._who = found
        else:
            await self._replace(found, attempt)
            write_text(self._folder / "bootstrap.json", json.dumps(bootstrap))
            self._write_files(self._routes())
            await self._bring_up(envoy, fingerprint, attempt + 1)
        self._watch(self._who, envoy, fingerprint)
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
            version = _digest(render_clusters(routes, ""))
            if version != self._written["cds.json"]:
                self._write("cds.json", render_clusters(routes, version), version)
                await self._until(self._admin.clusters_version, version)
            version = _digest(render_routes(routes, ""))
            if version != self._written["rds.json"]:
                self._write("rds.json", render_routes(routes, version), version)
                await self._until(self._routes_version, version)
            await self._look(before)

    async def release(self) -> None:
        """Let go of Envoy without ending it; the next `graft up` takes it over."""
        self._is_closing = True
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
        self._is_closing = True
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
        if self._who is not None:
            await self._end(self._who)
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
            version = _digest(render(routes, ""))
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

    async def _replace(self, found: ProcessId | None, attempt: int) -> None:
        if found is not None:
            _LOG.info("gateway_replaced", pid=found[0], attempt=attempt)
            await self._end(found)
        if not is_free(self.port, self._settings.host):
            raise InvalidInput(
                f"port {self.port!r} of {self._settings.host} is taken by another program; choose another with --port",
                path="port",
            )

    async def _end(self, who: ProcessId) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._processes.signal(self._folder, who, number)
            deadline = self._clock.monotonic() + 2.0
            while self._clock.monotonic() < deadline:
                if not self._processes.is_alive(self._folder):
                    return
                await asyncio.sleep(0.02)

    def _launch(self, envoy: str, fingerprint: str, attempt: int) -> None:
        record = {"attempt": attempt, "port": self.port, "fingerprint": fingerprint}
        self._db.put_record(_AREA, "envoy", record)
        command = [
            envoy,
            "-c",
            str(self._folder / "bootstrap.json"),
            "--log-level",
            "warn",
            "--disable-hot-restart",
            "--concurrency",
            "2",
        ]
        env = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "TMPDIR", "LANG"}}
        self._who = self._processes.start(self._folder, attempt, command, env)

    async def _bring_up(self, envoy: str, fingerprint: str, attempt: int) -> None:
        """Launch it and wait until it serves; one that was killed on the way says nothing about the next."""
        for number in range(attempt, attempt + STARTS):
            self._launch(envoy, fingerprint, number)
            try:
                return await self._until_live()
            except Unavailable:
                code = self._processes.exit_code(self._folder, number)
                was_killed = not self._processes.is_alive(self._folder) and (code is None or code < 0)
                if not was_killed or number == attempt + STARTS - 1:
                    raise
        return None

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

    async def _until_live(self) -> None:
        deadline = self._clock.monotonic() + START_S
        while not await self._admin.is_live():
            if self._clock.monotonic() > deadline or not self._processes.is_alive(self._folder):
                raise Unavailable(f"Envoy did not come up; the end of its log: {read_tail(self._folder / 'log')}")
            await asyncio.sleep(0.05)

    def _watch(self, who: ProcessId | None, envoy: str, fingerprint: str) -> None:
        if who is not None:
            self._processes.when_ended(self._folder, who, lambda: self._ended(envoy, fingerprint))

    def _ended(self, envoy: str, fingerprint: str) -> None:
        if self._is_closing:
            return
        attempt = int(self._db.records(_AREA)["envoy"]["attempt"]) + 1
        _LOG.error("gateway_ended", attempt=attempt)
        self._write_files(self._routes())
        # A second at least between starts: one that can't start must not be tried all the time.
        asyncio.get_running_loop().call_later(
            0.0 if attempt < 3 else 1.0, lambda: self._restart(envoy, fingerprint, attempt)
        )

    def _restart(self, envoy: str, fingerprint: str, attempt: int) -> None:
        if not self._is_closing:
            self._launch(envoy, fingerprint, attempt)
            self._watch(self._who, envoy, fingerprint)


def _digest(body: Json) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
