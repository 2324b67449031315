"""The API over its Unix socket, as the command line's client sees it."""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from graft_core.errors import Conflict, GraftError, InvalidInput, Unavailable
from graft_operator.local.admission import admit
from graft_operator.local.api import create_app, serve_socket
from graft_operator.local.client import Client
from graft_operator.local.database import Database
from graft_operator.local.documents import ObjectKey
from graft_operator.local.events import EventLog
from graft_operator.local.faults import AlreadyExists, Expired, Invalid, NotFound
from graft_operator.local.objects import ObjectStore
from tests.operator.local.doubles import ManualClock, a_job, a_release

JOBS = "/apis/graft.dev/v1alpha1/namespaces/default/finetunejobs"


class ControlDouble:
    """The process around the API: remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ends: list[bool] = []
        self.live = False

    @property
    def path(self) -> Path:
        return self.folder / "log"

    def is_live(self) -> bool:
        return self.live

    def status(self) -> dict[str, Any]:
        return {"version": "1.2.3", "pid": os.getpid()}

    def shutdown(self, *, now: bool) -> None:
        self.ends.append(now)

    def log_of(self, key: ObjectKey, uid: str, which: str | None) -> "ControlDouble":
        if which == "broken":
            raise ZeroDivisionError
        return self


class Served:
    """A server, and a client that is called from another thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(folder / "objects.db")
        self.store = ObjectStore(self.database, ManualClock(), admit)
        self.events = EventLog(self.database, ManualClock())
        self.control = ControlDouble(folder)
        self.client = Client(folder)

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(self.client.call, method, path, **arguments)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    found = Served(tmp_path)
    (tmp_path / "api.sock").write_text("left by a dead process")
    runner = await serve_socket(create_app(found.store, found.events, found.control), tmp_path / "api.sock")
    yield found
    await runner.cleanup()
    found.database.close()


async def test_the_socket_is_its_owners_alone(served: Served) -> None:
    mode = (served.folder / "api.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_an_object_is_created_read_changed_and_deleted(served: Served) -> None:
    made = await served.call("POST", JOBS, body=a_job())
    assert await served.call("GET", f"{JOBS}/texts") == made
    made["spec"]["suspend"] = True
    changed = await served.call("PUT", f"{JOBS}/texts", body=made)
    assert changed["metadata"]["generation"] == 2
    listed = await served.call("GET", "/apis/graft.dev/v1alpha1/finetunejobs")
    assert (listed["kind"], listed["items"]) == ("FineTuneJobList", [changed])
    gone = await served.call("DELETE", f"{JOBS}/texts")
    assert gone["metadata"]["deletionTimestamp"]


@pytest.mark.parametrize(
    ("method", "path", "body", "error", "message"),
    [
        ("GET", f"{JOBS}/nothing", None, NotFound, 'finetunejobs.graft.dev "nothing" not found'),
        ("GET", "/nowhere", None, NotFound, "GET /nowhere"),
        ("POST", "/version", {}, GraftError, "POST /version"),
        ("POST", JOBS, [], InvalidInput, "body is a list; expected an object"),
        ("POST", JOBS, a_release(), InvalidInput, "is not a FineTuneJob of namespace 'default'"),
        ("POST", JOBS, {**a_job(), "spec": {}}, Invalid, "spec.task"),
        ("PUT", f"{JOBS}/other", a_job(), InvalidInput, "metadata.name 'texts' is not the 'other' of the path"),
        ("POST", "/apply", {}, InvalidInput, "names no documents"),
        ("GET", f"{JOBS}?watch=true&resourceVersion=x", None, InvalidInput, "resourceVersion 'x' is not a number"),
    ],
)
async def test_a_refusal_is_the_error_it_names(
    served: Served, method: str, path: str, body: object, error: type[GraftError], message: str
) -> None:
    with pytest.raises(error) as refused:
        await served.call(method, path, body=body)
    assert message in str(refused.value)


async def test_conflicts_are_told_apart(served: Served) -> None:
    made = await served.call("POST", JOBS, body=a_job())
    with pytest.raises(AlreadyExists):
        await served.call("POST", JOBS, body=a_job())
    made["metadata"]["resourceVersion"] = "99"
    with pytest.raises(Conflict, match="read it again"):
        await served.call("PUT", f"{JOBS}/texts", body=made)


async def test_apply_is_all_or_nothing_and_defaults_the_namespace(served: Served) -> None:
    found = await served.call("POST", "/apply", body={"namespace": "ml", "items": [a_job(), a_release()]})
    assert found["items"] == [
        {"kind": "FineTuneJob", "namespace": "ml", "name": "texts", "result": "created"},
        {"kind": "ModelRelease", "namespace": "ml", "name": "shop", "result": "created"},
    ]
    with pytest.raises(Invalid) as refused:
        await served.call("POST", "/apply", body={"items": [a_job("good"), {**a_job("bad"), "spec": {}}]})
    assert {cause.field for cause in refused.value.causes} >= {"FineTuneJob/bad: spec.task"}
    assert len(served.store.find_all()[0]) == 2
    dry = await served.call("POST", "/apply", body={"items": [a_job("dry")]}, query={"dryRun": "true"})
    assert dry["items"][0]["result"] == "created"
    assert len(served.store.find_all()[0]) == 2


async def test_a_watch_streams_changes_and_ends_with_its_reader(served: Served) -> None:
    lines: list[tuple[str, str]] = []

    def follow() -> None:
        for change in served.client.stream_json(JOBS, query={"watch": "true", "resourceVersion": "0"}):
            lines.append((change["type"], change["object"]["metadata"]["name"]))
            if len(lines) == 2:
                return

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    served.store.create(a_job("one"))
    served.store.apply([a_release(), a_job("two")])
    await asyncio.to_thread(reader.join, 1.5)
    assert lines == [("ADDED", "one"), ("ADDED", "two")]


async def test_a_watch_from_too_long_ago_is_expired(served: Served) -> None:
    served.store._ring_start = 5
    with pytest.raises(Expired):
        await asyncio.to_thread(
            lambda: list(served.client.stream_json(JOBS, query={"watch": "true", "resourceVersion": "1"}))
        )


async def test_a_log_is_followed_to_the_end_of_its_child(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft_operator.local.api.LOG_POLL_S", 0.01)
    served.store.create(a_job())
    with pytest.raises(NotFound, match="has no log yet"):
        await served.call("GET", f"{JOBS}/texts/log")
    served.control.live = True
    pieces: list[bytes] = []
    reader = threading.Thread(
        target=lambda: pieces.extend(served.client.stream_bytes(f"{JOBS}/texts/log", query={"follow": "true"})),
        daemon=True,
    )
    reader.start()
    served.control.path.write_bytes(b"first\n")
    await asyncio.sleep(0.05)
    with served.control.path.open("ab") as log:
        log.write(b"last\n")
    served.control.live = False
    await asyncio.to_thread(reader.join, 1.5)
    assert b"".join(pieces) == b"first\nlast\n"


async def test_a_fault_of_our_own_is_told_without_its_text(served: Served) -> None:
    served.store.create(a_job())
    with pytest.raises(GraftError, match="the log of graft up has the traceback"):
        await served.call("GET", f"{JOBS}/texts/log", query={"role": "broken"})


async def test_events_are_listed_by_object(served: Served) -> None:
    job = served.store.create(a_job())
    served.events.record(job, "Normal", "Running", "it runs")
    path = "/api/v1/namespaces/default/events"
    found = await served.call("GET", path, query={"involved": "FineTuneJob/texts"})
    assert [e["reason"] for e in found["items"]] == ["Running"]
    assert (await served.call("GET", path, query={"involved": "modelreleases/shop"}))["items"] == []


async def test_the_process_tells_its_version_and_is_asked_to_end(served: Served) -> None:
    assert await served.call("GET", "/version") == {"version": "1.2.3"}
    assert (await served.call("GET", "/status"))["pid"] == os.getpid()
    await served.call("POST", "/shutdown")
    await served.call("POST", "/shutdown", query={"now": "true"})
    assert served.control.ends == [False, True]


def test_a_folder_that_nobody_serves_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="start it with `graft up --state"):
        Client(tmp_path).call("GET", "/version")
