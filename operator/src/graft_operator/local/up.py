"""`graft up`: both reconcilers, the API, the children and the gateway, in one process in the foreground.

One Ctrl-C (or SIGTERM): nothing new is begun, open streams drain, trainers save, arms stop, then it ends. A second one: at once. After
`kill -9` children, arms and gateway live on, and the next `graft up` on the folder takes them over.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_core.clock import Clock, SystemClock
from graft_core.errors import GraftError, NotReady, Unavailable
from graft_core.telemetry.logs import configure_logs, get_log
from graft_core.telemetry.tracing import setup_tracing
from graft_operator.local.admission import admit
from graft_operator.local.api import LogSource, create_app, serve_socket
from graft_operator.local.arms import Arms
from graft_operator.local.artifacts import Artifacts
from graft_operator.local.children import Children
from graft_operator.local.client import Client
from graft_operator.local.database import Database
from graft_operator.local.documents import ObjectKey
from graft_operator.local.events import EventLog
from graft_operator.local.gateway import Gateway
from graft_operator.local.job_shell import JobShell
from graft_operator.local.lock import StateLock, holder_of
from graft_operator.local.loop import Loop
from graft_operator.local.metrics import Metrics
from graft_operator.local.objects import ObjectStore
from graft_operator.local.processes import OsProcesses
from graft_operator.local.release_shell import ReleaseShell
from graft_operator.reconcile.observed import Policy
from graft_operator.settings import LocalSettings

__all__ = ["UpEvent", "run_up", "start_detached", "stop_running"]

_LOG = get_log("graft_operator.local.up")

DETACHED_START_S = 60.0
"""How long a detached `graft up` may take until it answers."""


@dataclass(frozen=True)
class UpEvent:
    """Something that `graft up` would tell the person who started it."""

    kind: Literal["started", "applied", "event", "stopping", "stopped"]
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class _ChildLog:
    """A log file, and whether it may still grow."""

    path: Path
    live: Callable[[], bool]

    def is_live(self) -> bool:
        """Say whether the process that writes it may still write."""
        return self.live()


class _Up:
    """Everything of one `graft up`, wired once."""

    def __init__(self, settings: LocalSettings, clock: Clock, on_event: Callable[[UpEvent], None]) -> None:
        self.settings = settings
        self.on_event = on_event
        self.database = Database(settings.state / "objects.db")
        self.store = ObjectStore(self.database, clock, admit)
        self.events = EventLog(self.database, clock)
        self.processes = OsProcesses()
        self.children = Children(self.database, self.processes, clock, settings, self._changed)
        self.arms = Arms(self.database, self.processes, clock, settings, self._changed)
        self.gateway = Gateway(self.database, self.processes, clock, settings, self._ports, self._gateway_changed)
        self.metrics = Metrics(self.database, clock)
        artifacts = Artifacts(clock, settings.state / "tmp")
        policy = Policy(
            allowed_licenses=settings.allowed_licenses,
            watchdog_s=settings.watchdog_s,
            unready_grace_s=settings.unready_grace_s,
            missing_data_grace_s=settings.missing_data_grace_s,
        )
        output_uri = (settings.state / "store" / "adapters").as_uri() + "/"
        self.loop = Loop(
            self.store,
            self.events,
            JobShell(self.store, self.children, artifacts, clock, policy, output_uri),
            ReleaseShell(self.store, self.arms, self.gateway, self.metrics, artifacts, clock, policy),
            clock,
            settings.scrape_s,
            self._notice,
        )
        self.signals: asyncio.Queue[bool] = asyncio.Queue()
        """One entry a request to end; True: at once."""
        self._api: web.AppRunner | None = None
        self._loop_task: asyncio.Task[None] | None = None

    async def start(self, documents: Sequence[dict[str, Any]]) -> None:
        """Bring everything up, then store the documents."""
        if documents:
            self.store.apply(documents, dry_run=True)
        await self.gateway.start()
        self.arms.recover()
        self.children.recover()
        self._api = await serve_socket(create_app(self.store, self.events, self), self.settings.socket)
        self._loop_task = asyncio.create_task(self.loop.run())
        self._loop_task.add_done_callback(self._loop_ended)
        self._tell("started", f"gateway {self.gateway.url}, state {self.settings.state}", self.status())
        for applied in self.store.apply(documents) if documents else ():
            meta = applied.object["metadata"]
            what = {
                "kind": applied.object["kind"],
                "namespace": meta["namespace"],
                "name": meta["name"],
                "result": applied.outcome,
            }
            self._tell("applied", f"{what['kind']}/{what['name']} {applied.outcome}", what)

    async def abandon(self) -> None:
        """Let go of everything without ending it: what lives from before is the next `graft up`'s to take over."""
        if self._api is not None:
            await self._api.cleanup()
        await self.loop.stop()
        if self._loop_task is not None:
            self._loop_task.cancel()
        await self.gateway.release()
        await self.metrics.close()
        self.arms.release()
        self.processes.close()
        self.database.close()

    async def stop(self, *, now: bool) -> None:
        """End everything in order: what admits, what streams, what trains, what serves."""
        if self._api is not None:
            await self._api.cleanup()
            self._api = None
        await self.loop.stop()
        if self._loop_task is not None:
            self._loop_task.cancel()
        await asyncio.gather(self._stop_serving(now=now), self.children.close(now=now))
        await self.metrics.close()
        self.processes.close()
        self.database.close()
        self.settings.socket.unlink(missing_ok=True)

    async def _stop_serving(self, *, now: bool) -> None:
        await self.gateway.close(now=now)
        await self.arms.close(now=now)

    def status(self) -> dict[str, Any]:
        """Return pids, ports and versions."""
        return {
            "version": version("graft-operator"),
            "pid": os.getpid(),
            "state": str(self.settings.state),
            "gateway": {"url": self.gateway.url, "pid": self.gateway.pid},
            "children": [
                {"name": c.name, "role": c.role, "of": c.owner, "phase": c.phase, "pid": c.pid, "attempt": c.attempt}
                for c in self.children.all()
            ],
            "arms": [
                {
                    "of": a.owner,
                    "revision": a.revision,
                    "phase": a.phase,
                    "pid": a.pid,
                    "port": a.port,
                    "ready": not self.arms.unready_reason(a),
                }
                for a in self.arms.all()
            ],
        }

    def shutdown(self, *, now: bool) -> None:
        """Begin the end, as a signal would."""
        self.signals.put_nowait(now)

    def log_of(self, key: ObjectKey, uid: str, which: str | None) -> LogSource:
        """Find the log of a child or an arm."""
        if key.kind == KIND_FINETUNEJOB:
            role = which or ("train" if self.children.folder(uid, "train").exists() else "check")
            return _ChildLog(self.children.folder(uid, role) / "log", lambda: self.children.is_live(uid, role))
        revision = which or self._newest_revision(key)
        return _ChildLog(self.arms.folder(uid, revision) / "log", lambda: self.arms.is_live(uid, revision))

    def _newest_revision(self, key: ObjectKey) -> str:
        status = self.store.get(key)["status"]
        for part in ("candidate", "stable", "draining"):
            if part in status:
                return str(status[part]["revision"])
        return next((arm.revision for arm in self.arms.all() if arm.owner == f"{key.namespace}/{key.name}"), "none")

    def _ports(self, uid: str) -> list[tuple[str, int]]:
        return [(arm.revision, arm.port) for arm in self.arms.of(uid)]

    def _changed(self, uid: str) -> None:
        self.loop.mark_uid(uid)

    def _gateway_changed(self) -> None:
        self.loop.mark_releases()

    def _notice(self, body: dict[str, Any], kind: str, reason: str, message: str) -> None:
        meta = body["metadata"]
        what = {
            "kind": body["kind"],
            "namespace": meta["namespace"],
            "name": meta["name"],
            "type": kind,
            "reason": reason,
            "message": message,
        }
        self._tell("event", f"{body['kind']}/{meta['name']} {reason}: {message}", what)

    def _tell(
        self, kind: Literal["started", "applied", "event", "stopping", "stopped"], text: str, fields: Mapping[str, Any]
    ) -> None:
        self.on_event(UpEvent(kind, text, fields))

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.failure("loop_broken", error)
            self.signals.put_nowait(False)


async def run_up(
    settings: LocalSettings, documents: Sequence[dict[str, Any]], on_event: Callable[[UpEvent], None]
) -> None:
    """Run until a signal or `POST /shutdown`.

    Args:
        settings: Where and how.
        documents: Objects to apply at the start, all or none.
        on_event: Told what a person would want to see; must return at once.

    Raises:
        Conflict: Another `graft up` holds the state folder.
        InvalidInput: A document or a setting is not usable; nothing was changed.
        Unavailable: The gateway does not come up.
    """
    settings = settings.model_copy(update={"state": settings.state.absolute()})
    lock = StateLock(settings.state)
    stop_tracing = setup_tracing("graft-operator", os.environ)
    try:
        up = _Up(settings, SystemClock(), on_event)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, up.signals.put_nowait, False)
        try:
            await up.start(documents)
        except BaseException:
            await up.abandon()
            raise
        now = await up.signals.get()
        on_event(UpEvent("stopping", "saving, draining and stopping; again to stop at once"))
        await _stop(up, now=now)
        on_event(UpEvent("stopped", "stopped"))
    finally:
        lock.release()
        stop_tracing()


async def _stop(up: _Up, *, now: bool) -> None:
    orderly = asyncio.create_task(up.stop(now=now))
    again = asyncio.create_task(up.signals.get())
    await asyncio.wait({orderly, again}, return_when=asyncio.FIRST_COMPLETED)
    if not orderly.done():
        orderly.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await orderly
        await up.stop(now=True)
    again.cancel()
    if orderly.done() and not orderly.cancelled():
        orderly.result()


def start_detached(command: Sequence[str], state: Path) -> int:
    """Start a `graft up` that outlives this process, and wait until it answers.

    Args:
        command: The command line of a `graft up` in the foreground on that state folder.
        state: The state folder; output goes to `up.log` in it.

    Returns:
        Its pid.

    Raises:
        GraftError: It ended instead; the message has the end of its log.
        Unavailable: It does not answer in time.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state / "up.log").open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    clock = SystemClock()
    deadline = clock.monotonic() + DETACHED_START_S
    while clock.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            tail = (state / "up.log").read_bytes()[start:][-2000:].decode(errors="replace").strip()
            raise GraftError(f"graft up ended with exit code {process.returncode}: {tail}")
        with contextlib.suppress(GraftError):
            if Client(state).call("GET", "/status")["pid"] == process.pid:
                process.returncode = 0  # tells Popen that nobody will wait for it here any more
                return process.pid
    raise Unavailable(f"graft up (pid {process.pid}) does not answer; {state / 'up.log'} may say why")


def stop_running(state: Path, *, now: bool, timeout_s: float) -> int | None:
    """End the `graft up` of a state folder and wait for it.

    Args:
        state: The state folder.
        now: Don't drain, don't let trainers save.
        timeout_s: How long to wait.

    Returns:
        The pid that ended, or None where none ran.

    Raises:
        NotReady: It has not ended in time.
    """
    pid = holder_of(state)
    if pid is None:
        return None
    try:
        Client(state).call("POST", "/shutdown", query={"now": "true"} if now else None)
    except Unavailable:
        os.kill(pid, signal.SIGTERM)  # it holds the lock but does not serve: still starting, or stuck
    clock = SystemClock()
    deadline, pause = clock.monotonic() + timeout_s, threading.Event()
    while holder_of(state) is not None:
        if clock.monotonic() > deadline:
            raise NotReady(
                f"graft up (pid {pid}) has not ended within {timeout_s} s; `graft down --now` ends it at once"
            )
        pause.wait(0.1)
    return pid


def main(argv: Sequence[str]) -> int:
    """Run `graft up` without the command line's comforts: plain logs, no files."""
    parser = argparse.ArgumentParser(
        prog="python -m graft_operator.local.up", description="Run both reconcilers on a state folder."
    )
    parser.add_argument("--state", type=Path)
    parser.add_argument("--port", type=int)
    flags = vars(parser.parse_args(argv))
    configure_logs(log_format="plain")
    try:
        settings = LocalSettings.from_environment(os.environ, **flags)
        asyncio.run(run_up(settings, (), lambda event: _LOG.info(f"up_{event.kind}", told=event.text)))
    except GraftError as error:
        _LOG.failure("up_failed", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
