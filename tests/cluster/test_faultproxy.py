"""The fault proxy does to requests what it was told, and what it lets pass arrives as it was sent."""

import json
from collections.abc import Iterable, Iterator
from threading import Event, Thread
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.cluster.api import Api, ApiError, Json
from tests.cluster.controlplane import ControlPlane
from tests.cluster.faultproxy import FaultProxy
from tests.cluster.faults import Delay, DropAfter, DropBefore, Duplicate, Hold, Refuse, Seen
from tests.cluster.processes import until

pytestmark = pytest.mark.cluster


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy(control_plane.access) as running:
        yield running


@pytest.fixture
def api(proxy: FaultProxy) -> Iterator[Api]:
    """A client behind the proxy."""
    with Api(proxy.access) as client:
        client.list("v1", "ConfigMap", "default")  # discovery is done before a plan is made
        yield client


def a_map(namespace: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def a_lease(namespace: str) -> Json:
    metadata = {"name": "l", "namespace": namespace}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}


def exists(plane: ControlPlane, namespace: str, name: str) -> bool:
    return plane.api.find("v1", "ConfigMap", namespace, name) is not None


def test_writes_are_numbered_and_reads_and_leases_are_not(api: Api, proxy: FaultProxy, namespace: str) -> None:
    api.create(a_map(namespace, "a"))
    api.get("v1", "ConfigMap", namespace, "a")
    api.create(a_lease(namespace))
    api.create(a_map(namespace, "dry"), dry_run=True)
    api.delete(a_map(namespace, "a"))

    assert [(seen.number, seen.method, seen.status) for seen in proxy.writes] == [(1, "POST", 201), (2, "DELETE", 200)]
    assert proxy.writes[0].body["metadata"]["name"] == "a"
    assert not any("authorization" in map(str.lower, seen.headers) for seen in proxy.seen)


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_refused_write_is_never_seen_by_the_server(
    api: Api, proxy: FaultProxy, control_plane: ControlPlane, namespace: str, status: int
) -> None:
    proxy.plan = lambda seen: Refuse(status, retry_after_s=7) if seen.number == 1 else None

    with pytest.raises(ApiError) as caught:
        api.create(a_map(namespace, "a"))

    assert caught.value.status == status
    assert caught.value.reason
    assert not exists(control_plane, namespace, "a")


def test_a_refusal_says_when_to_come_back(api: Api, proxy: FaultProxy) -> None:
    proxy.plan = lambda _seen: Refuse(429, retry_after_s=7)

    assert api.http.get("/api/v1/namespaces").headers["Retry-After"] == "7"


def test_a_write_dropped_before_was_not_done(
    api: Api, proxy: FaultProxy, control_plane: ControlPlane, namespace: str
) -> None:
    proxy.plan = lambda seen: DropBefore() if seen.number == 1 else None

    with pytest.raises(httpx.TransportError):
        api.create(a_map(namespace, "a"))

    assert not exists(control_plane, namespace, "a")
    api.create(a_map(namespace, "a"))


def test_a_write_dropped_after_was_done(
    api: Api, proxy: FaultProxy, control_plane: ControlPlane, namespace: str
) -> None:
    proxy.plan = lambda seen: DropAfter() if seen.number == 1 else None

    with pytest.raises(httpx.TransportError):
        api.create(a_map(namespace, "a"))

    assert exists(control_plane, namespace, "a")
    assert proxy.writes[0].status is None


def test_a_duplicated_create_is_told_the_name_is_taken(api: Api, proxy: FaultProxy, namespace: str) -> None:
    proxy.plan = lambda seen: Duplicate() if seen.number == 1 else None

    with pytest.raises(ApiError, match="409 AlreadyExists"):
        api.create(a_map(namespace, "a"))


def test_a_delayed_request_takes_its_time(api: Api, proxy: FaultProxy) -> None:
    proxy.plan = lambda _seen: Delay(0.3)
    started = monotonic()

    api.list("v1", "ConfigMap", "default")

    assert monotonic() - started >= 0.3


def test_a_held_write_arrives_when_it_is_let_go(
    api: Api, proxy: FaultProxy, control_plane: ControlPlane, namespace: str
) -> None:
    let_go, arrived = Event(), Event()
    proxy.plan = lambda seen: Hold(let_go) if seen.number else None
    proxy.before = lambda _seen: arrived.set()
    writer = Thread(target=api.create, args=[a_map(namespace, "late")])
    writer.start()

    assert arrived.wait(10)
    assert not exists(control_plane, namespace, "late")
    let_go.set()
    writer.join(10)

    assert exists(control_plane, namespace, "late")


def test_hooks_see_the_world_before_and_after_a_write(
    api: Api, proxy: FaultProxy, control_plane: ControlPlane, namespace: str
) -> None:
    saw: list[tuple[str, int, bool]] = []

    def hook(when: str, seen: Seen) -> None:
        saw.append((when, seen.number, exists(control_plane, namespace, "a")))

    proxy.before = lambda seen: hook("before", seen)
    proxy.after = lambda seen: hook("after", seen)
    api.create(a_map(namespace, "a"))

    assert saw == [("before", 1, False), ("after", 1, True)]


def test_an_outage_ends(api: Api, proxy: FaultProxy) -> None:
    with proxy.outage(), pytest.raises(httpx.TransportError):
        api.list("v1", "ConfigMap", "default")

    assert isinstance(api.list("v1", "ConfigMap", "default"), list)


class Watch:
    """Reads a watch in a thread."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.lines: list[str] = []
        self.ended = Event()
        path = f"/api/v1/namespaces/{namespace}/configmaps?watch=true"
        self._thread = Thread(target=self._read, args=[api, path], daemon=True)
        self._thread.start()

    def _read(self, api: Api, path: str) -> None:
        try:
            with api.http.stream("GET", path, timeout=30) as answer:
                for line in answer.iter_lines():
                    self.lines.append(line)
        except httpx.TransportError:
            pass
        finally:
            self.ended.set()

    def names(self) -> list[str]:
        return [json.loads(line)["object"]["metadata"]["name"] for line in self.lines]

    def sees(self, name: str) -> None:
        until(lambda: name in self.names(), 10, f"{name} in the watch")


def test_a_watch_passes_and_can_be_frozen_and_cut(
    api: Api, proxy: FaultProxy, control_plane: ControlPlane, namespace: str
) -> None:
    watch = Watch(api, namespace)
    control_plane.api.create(a_map(namespace, "a"))
    watch.sees("a")

    proxy.freeze_watches()
    control_plane.api.create(a_map(namespace, "b"))
    assert not watch.ended.wait(0.3)
    assert "b" not in watch.names()
    proxy.thaw_watches()
    watch.sees("b")

    proxy.cut()
    assert watch.ended.wait(10)


def test_lines_of_a_watch_can_be_repeated_and_mangled(
    api: Api, proxy: FaultProxy, control_plane: ControlPlane, namespace: str
) -> None:
    def mangled(line: bytes) -> Iterable[bytes]:
        return (line, line, b"{not json\n")

    proxy.watch_lines = mangled
    watch = Watch(api, namespace)
    control_plane.api.create(a_map(namespace, "a"))
    until(lambda: len(watch.lines) >= 3, 10, "three lines")

    first: dict[str, Any] = json.loads(watch.lines[0])
    assert watch.lines[0] == watch.lines[1]
    assert first["object"]["metadata"]["name"] == "a"
    assert watch.lines[2] == "{not json"
