"""The gateway against a real Envoy and doubles of arms: splits, sticks, drains, and never asks an arm that is not ready."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from graft_core.clock import SystemClock
from graft_operator.local.database import Database
from graft_operator.local.gateway import Gateway, Split
from graft_operator.local.processes import OsProcesses
from graft_operator.settings import LocalSettings
from tests.e2e.arm_double import ArmDouble

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

A, B = "aaaaaaaaaa", "bbbbbbbbbb"


@dataclass
class World:
    """A gateway, two arms, and a client."""

    gateway: Gateway
    processes: OsProcesses
    arms: dict[str, ArmDouble]
    http: aiohttp.ClientSession
    ports: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    async def ask(self, path: str = "/v1/x", **headers: str) -> tuple[int, str]:
        async with self.http.get(self.gateway.url + path, headers=headers) as answer:
            body = await answer.json()
            return answer.status, body.get("revision") or body["error"]["code"]

    async def healthy(self, *revisions: str) -> None:
        await until(lambda: all(self.gateway.is_healthy("ns", "shop", r) for r in revisions), self.gateway.look_now)


async def until(condition: Callable[[], bool], step: Callable[[], object] | None = None) -> None:
    async with asyncio.timeout(15):
        while not condition():  # what is waited for has no event of its own
            if step is not None:
                await step()  # type: ignore[misc]  # a coroutine function
            await asyncio.sleep(0.05)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = LocalSettings(state=tmp_path / "s", port=0, drain_s=5)
    settings.state.mkdir()
    database, processes = Database(settings.state / "objects.db"), OsProcesses()
    ports: dict[str, list[tuple[str, int]]] = {}
    gateway = Gateway(database, processes, SystemClock(), settings, lambda uid: ports.get(uid, []), lambda: None)
    await gateway.start()
    async with ArmDouble(A) as a, ArmDouble(B) as b, aiohttp.ClientSession() as http:
        ports["uid-1"] = [(A, a.port), (B, b.port)]
        gateway.declare("uid-1", Split(namespace="ns", name="shop", stable=A))
        await gateway.sync()
        found = World(gateway, processes, {A: a, B: b}, http, ports)
        await found.healthy(A, B)
        yield found
        await gateway.close(now=False)
    processes.close()
    database.close()


async def test_weights_are_split_as_observed_and_no_request_is_lost_over_forty_changes(world: World) -> None:
    await world.gateway.set_weights("uid-1", {A: 100, B: 0}, "")
    outcomes: Counter[int] = Counter()
    is_over = asyncio.Event()

    async def load() -> None:
        while not is_over.is_set():
            outcomes[(await world.ask())[0]] += 1

    loaders = [asyncio.create_task(load()) for _ in range(4)]
    for turn in range(40):
        weight = (turn * 37) % 101
        # As in a promotion, the other arm becomes the stable one now and then.
        world.gateway.declare("uid-1", Split(namespace="ns", name="shop", stable=(A, B)[turn // 7 % 2]))
        await world.gateway.set_weights("uid-1", {A: 100 - weight, B: weight}, "")
        expected = {r: w for r, w in {A: 100 - weight, B: weight}.items() if w}
        assert dict(world.gateway.observed("ns", "shop")) == expected
    is_over.set()
    await asyncio.gather(*loaders)
    assert set(outcomes) == {200}
    await world.gateway.set_weights("uid-1", {A: 75, B: 25}, "")
    answers = Counter([(await world.ask())[1] for _ in range(600)])
    assert 100 <= answers[B] <= 200


async def test_a_user_keeps_his_arm_and_raising_a_weight_moves_nobody_back(world: World) -> None:
    world.gateway.declare("uid-1", Split(namespace="ns", name="shop", stable=A, sticky_header="x-user-id"))
    arms: list[dict[str, str]] = []
    for weight in (20, 40):
        await world.gateway.set_weights("uid-1", {A: 100 - weight, B: weight}, "")
        arms.append({f"u{i}": (await world.ask(**{"x-user-id": f"u{i}"}))[1] for i in range(300)})
        again = {f"u{i}": (await world.ask(**{"x-user-id": f"u{i}"}))[1] for i in range(300)}
        assert again == arms[-1]
    moved = Counter((arms[0][u], arms[1][u]) for u in arms[0])
    assert moved[(B, A)] == 0
    assert moved[(A, B)] > 20


async def test_a_candidate_that_becomes_unready_costs_no_request(world: World) -> None:
    await world.gateway.set_weights("uid-1", {A: 50, B: 50}, "")
    world.arms[B].is_ready = False
    await until(lambda: not world.gateway.is_healthy("ns", "shop", B), world.gateway.look_now)
    before = world.arms[B].served_while_unready
    answers = Counter([await world.ask() for _ in range(100)])
    assert answers == {(200, A): 100}
    assert world.arms[B].served_while_unready == before


async def test_a_stable_arm_that_breaks_does_not_hand_its_share_to_the_candidate(world: World) -> None:
    await world.gateway.set_weights("uid-1", {A: 50, B: 50}, "")
    world.arms[A].is_ready = False
    await until(lambda: not world.gateway.is_healthy("ns", "shop", A), world.gateway.look_now)
    answers = Counter([await world.ask() for _ in range(100)])
    assert set(answers) == {(200, B), (503, "not_ready")}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ns/shop/v1/x", (200, A)),
        ("/v1/x", (200, A)),
        ("/ns/shopper/v1/x", (200, A)),  # the only release: a bare path like any other
    ],
)
async def test_the_only_release_answers_under_its_name_and_under_the_bare_path(
    world: World, path: str, expected: tuple[int, str]
) -> None:
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    assert await world.ask(path) == expected


async def test_two_releases_answer_under_their_names_only(world: World) -> None:
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    world.ports["uid-2"] = [(B, world.arms[B].port)]
    world.gateway.declare("uid-2", Split(namespace="ns", name="other", stable=B))
    await world.gateway.set_weights("uid-2", {B: 100}, "")
    assert await world.ask("/ns/shop/v1/x") == (200, A)
    assert await world.ask("/ns/other/v1/x?q=1") == (200, B)
    assert await world.ask("/v1/x") == (404, "release_not_found")
    await world.gateway.forget("uid-2")
    assert await world.ask("/ns/other/v1/x") == (200, A)


async def test_the_last_release_goes_and_another_comes(world: World) -> None:
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    await world.gateway.forget("uid-1")
    assert await world.ask() == (404, "release_not_found")
    world.gateway.declare("uid-1", Split(namespace="ns", name="shop", stable=A))
    await world.gateway.sync()
    await world.healthy(A)
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    assert await world.ask() == (200, A)


async def test_a_release_without_weights_says_that_it_is_not_ready(world: World) -> None:
    assert await world.ask() == (503, "not_ready")


async def test_envoy_is_started_again_with_the_same_split_when_it_dies(world: World) -> None:
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    old = world.gateway.pid
    os.killpg(old, signal.SIGKILL)
    await until(lambda: world.gateway.pid != old)

    async def answers() -> bool:
        try:
            return (await world.ask()) == (200, A)
        except aiohttp.ClientError:
            return False

    async with asyncio.timeout(20):
        while not await answers():  # noqa: ASYNC110  # a question to ask
            await asyncio.sleep(0.1)


async def test_the_next_graft_up_takes_the_running_envoy_over(world: World, tmp_path: Path) -> None:
    await world.gateway.set_weights("uid-1", {A: 70, B: 30}, "")
    database = Database(tmp_path / "s" / "objects.db")
    second = Gateway(
        database,
        OsProcesses(),
        SystemClock(),
        LocalSettings(state=tmp_path / "s", port=0),
        lambda uid: world.ports[uid],
        lambda: None,
    )
    await second.start()
    assert second.pid == world.gateway.pid
    assert dict(second.observed("ns", "shop")) == {A: 70, B: 30}
    await second.release()
    database.close()


async def test_the_next_graft_up_replaces_an_envoy_that_lost_its_supervisor(world: World, tmp_path: Path) -> None:
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    await world.gateway.release()
    world.processes.close()
    os.kill(world.gateway.pid, signal.SIGKILL)
    database, processes = Database(tmp_path / "s" / "objects.db"), OsProcesses()
    second = Gateway(
        database,
        processes,
        SystemClock(),
        LocalSettings(state=tmp_path / "s", port=0),
        lambda uid: world.ports[uid],
        lambda: None,
    )
    await second.start()
    assert second.pid != world.gateway.pid
    await until(lambda: dict(second.observed("ns", "shop")) == {A: 100}, second.look_now)
    await second.close(now=True)
    processes.close()
    database.close()


async def test_open_requests_are_drained_when_the_gateway_stops(world: World) -> None:
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    world.arms[A].delay_s = 1.5
    slow = asyncio.create_task(world.ask())
    await until(lambda: world.arms[A].served > 0)
    await world.gateway.close(now=False)
    assert await slow == (200, A)
    with pytest.raises(aiohttp.ClientError):
        await world.ask()


async def test_the_access_log_names_the_arm_but_no_query(world: World, tmp_path: Path) -> None:
    await world.gateway.set_weights("uid-1", {A: 100}, "")
    await world.ask("/v1/x?secret=hunter2")
    await world.gateway.close(now=False)
    log = (tmp_path / "s" / "gateway" / "access.log").read_text()
    assert f'"arm":"ns/shop/{A}"' in log
    assert '"path":"/v1/x"' in log
    assert "hunter2" not in log
