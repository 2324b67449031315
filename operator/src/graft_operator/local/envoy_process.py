"""Envoy as a process: found again or started, started anew where it dies, ended.

It outlives a `graft up` that is killed, and is taken over by the next where nothing of its bootstrap has changed.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable

from graft_core.clock import Clock
from graft_core.errors import InvalidInput, Unavailable
from graft_core.telemetry.logs import get_log
from graft_operator.local.database import Database
from graft_operator.local.envoy_admin import EnvoyAdmin
from graft_operator.local.envoy_binary import find_envoy
from graft_operator.local.files import digest_of, read_tail, write_text
from graft_operator.local.processes import Processes, ProcessId
from graft_operator.local.sockets import free_port, is_free
from graft_operator.render.envoy import GatewaySettings, render_bootstrap
from graft_operator.settings import LocalSettings

__all__ = ["START_S", "EnvoyProcess"]

_LOG = get_log(__name__)

_AREA = "gateway"

START_S = 20.0
"""How long Envoy may take until it serves; clusters are health-checked first."""

STARTS = 3
"""How often one that is killed while it starts is started anew."""


class EnvoyProcess:
    """The one Envoy of a state folder."""

    def __init__(
        self,
        database: Database,
        processes: Processes,
        clock: Clock,
        settings: LocalSettings,
        admin: EnvoyAdmin,
        prepare: Callable[[], None],
    ) -> None:
        """Keep what is needed; nothing is started.

        Args:
            database: Where the attempt and its port are kept.
            processes: The system.
            clock: Time.
            settings: Host, port, folder.
            admin: How it is asked.
            prepare: Writes the files that it reads first; called before each start.
        """
        self._db = database
        self._processes = processes
        self._clock = clock
        self._settings = settings
        self._admin = admin
        self._prepare = prepare
        self._folder = settings.state / "gateway"
        self._envoy = ""
        self._fingerprint = ""
        self._who: ProcessId | None = None
        self._is_closing = False
        self.port = settings.port

    @property
    def pid(self) -> int:
        """Pid of the supervisor; 0: not running."""
        return 0 if self._who is None else self._who[0]

    async def start(self) -> None:
        """Take over the Envoy that runs, or start one.

        Raises:
            InvalidInput: The port is taken, or there is no Envoy.
            Unavailable: Envoy does not come up.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._envoy = find_envoy(self._settings.envoy)
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
        self._fingerprint = digest_of({"envoy": self._envoy, "bootstrap": bootstrap})
        attempt = int(record.get("attempt", 0))
        found = self._processes.find(self._folder, attempt)
        if found is not None and record.get("fingerprint") == self._fingerprint and await self._admin.is_live():
            _LOG.info("gateway_adopted", pid=found[0], port=self.port)
            self._who = found
        else:
            await self._replace(found, attempt)
            write_text(self._folder / "bootstrap.json", json.dumps(bootstrap))
            self._prepare()
            await self._bring_up(attempt + 1)
        self._watch()

    def release(self) -> None:
        """Start it no more; it lives on."""
        self._is_closing = True

    async def end(self) -> None:
        """End it, with SIGKILL where SIGTERM does not do."""
        self._is_closing = True
        if self._who is not None:
            await self._end(self._who)

    async def _replace(self, found: ProcessId | None, attempt: int) -> None:
        if found is not None:
            _LOG.info("gateway_replaced", pid=found[0], attempt=attempt)
            await self._end(found)
        if not is_free(self.port, self._settings.host):
            raise InvalidInput(
                f"port {self.port!r} of {self._settings.host} is taken by another program; choose another with --port",
                path="port",
            )

    async def _bring_up(self, attempt: int) -> None:
        """Launch it and wait until it serves; one that was killed on the way says nothing about the next."""
        for number in range(attempt, attempt + STARTS):
            self._launch(number)
            try:
                return await self._until_live()
            except Unavailable:
                code = self._processes.exit_code(self._folder, number)
                was_killed = not self._processes.is_alive(self._folder) and (code is None or code < 0)
                if not was_killed or number == attempt + STARTS - 1:
                    raise
        return None

    def _launch(self, attempt: int) -> None:
        record = {"attempt": attempt, "port": self.port, "fingerprint": self._fingerprint}
        self._db.put_record(_AREA, "envoy", record)
        command = [self._envoy, "-c", str(self._folder / "bootstrap.json")]
        command += ["--log-level", "warn", "--disable-hot-restart", "--concurrency", "2"]
        env = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "TMPDIR", "LANG"}}
        self._who = self._processes.start(self._folder, attempt, command, env)

    async def _until_live(self) -> None:
        deadline = self._clock.monotonic() + START_S
        while not await self._admin.is_live():
            if self._clock.monotonic() > deadline or not self._processes.is_alive(self._folder):
                raise Unavailable(f"Envoy did not come up; the end of its log: {read_tail(self._folder / 'log')}")
            await asyncio.sleep(0.05)

    def _watch(self) -> None:
        if self._who is not None:
            self._processes.when_ended(self._folder, self._who, self._ended)

    def _ended(self) -> None:
        if self._is_closing:
            return
        attempt = int(self._db.records(_AREA)["envoy"]["attempt"]) + 1
        _LOG.error("gateway_ended", attempt=attempt)
        self._prepare()
        # A second at least between starts: one that can't start must not be tried all the time.
        asyncio.get_running_loop().call_later(0.0 if attempt < 3 else 1.0, lambda: self._restart(attempt))

    def _restart(self, attempt: int) -> None:
        if not self._is_closing:
            self._launch(attempt)
            self._watch()

    async def _end(self, who: ProcessId) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._processes.signal(self._folder, who, number)
            deadline = self._clock.monotonic() + 2.0
            while self._clock.monotonic() < deadline:
                if not self._processes.is_alive(self._folder):
                    return
                await asyncio.sleep(0.02)
