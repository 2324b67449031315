"""Predictor arms: started, looked after, restarted, drained, adopted; processes only pretend, health is a real question to a double."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.clock import SystemClock
from graft_core.errors import Conflict
from graft_operator.local.arms import ArmRecord, Arms
from graft_operator.local.database import Database
from graft_operator.local.sockets import is_free
from graft_operator.render.predictor_config import ArmRecipe, render_arm
from graft_operator.settings import LocalSettings
from tests.e2e.arm_double import ArmDouble
from tests.operator.local.doubles import PretendedProcesses, a_release, until

pytestmark = pytest.mark.loopback

A = "aaaaaaaaaa"
DIGEST = "sha256:" + "d" * 64


class Stand:
    """Arms over pretended processes, on a database that outlives them."""

    def __init__(self, folder: Path) -> None:
        self.settings = LocalSettings(
            state=folder / "s", backoff_s=(0.001, 0.002), predictor_command=("predictor",), drain_s=0.05
        )
        self.settings.state.mkdir()
        self.database = Database(self.settings.state / "objects.db")
        self.processes = PretendedProcesses()
        self.changed: list[str] = []
        self.arms = self.begin()

    def begin(self) -> Arms:
        return Arms(self.database, self.processes, SystemClock(), self.settings, self.changed.append)

    def recipe(self, **spec: Any) -> ArmRecipe:
        release = ModelRelease.model_validate(
            a_release(**spec) | {"metadata": {"name": "shop", "uid": "u1", "generation": 1}}
        )
        return render_arm(release, revision=A, uri="file:///adapter/", digest=DIGEST)

    def create(self, **spec: Any) -> None:
        self.arms.create("u1", "default/shop", A, self.recipe(**spec))

    @property
    def arm(self) -> ArmRecord:
        (found,) = self.arms.of("u1")
        return found

    def restart(self) -> None:
        self.processes.forget_watchers()
        self.arms.release()
        self.arms = self.begin()
        self.arms.recover()


@pytest.fixture
async def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    monkeypatch.setattr("graft_operator.local.arms.LOOK_SOON_S", 0.005)
    monkeypatch.setattr("graft_operator.local.arms.LOOK_S", 0.005)
    found = Stand(tmp_path)
    yield found
    found.arms.release()
    found.database.close()


async def test_an_arm_is_given_its_config_a_port_and_its_own_environment(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_STATE", "/elsewhere")
    stand.create(engine={"env": [{"name": "TUNING", "value": "1"}]})
    (attempt,) = stand.processes.attempts
    folder = stand.arms.folder("u1", A)
    expected = [
        "predictor",
        "--config",
        str(folder / "config.json"),
        "--host",
        "127.0.0.1",
        "--port",
        str(stand.arm.port),
    ]
    assert attempt.command == [*expected, "--cache-dir", str(folder / "cache")]
    assert (attempt.env["TUNING"], attempt.env["GRAFT_CHILD"]) == ("1", f"u1/{A}")
    assert "GRAFT_STATE" not in attempt.env
    assert json.loads((folder / "config.json").read_text())["revision"] == A
    assert stand.arms.known("u1") == {A: DIGEST}
    assert stand.arms.unready_reason(stand.arm)
    stand.create()
    assert len(stand.processes.attempts) == 1


async def test_an_arm_is_ready_while_it_says_so(stand: Stand) -> None:
    stand.create()
    async with ArmDouble(A) as double:
        double_port = stand.arm.model_copy(update={"port": double.port})
        stand.arms._kept.put(double_port)
        await until(lambda: not stand.arms.unready_reason(stand.arm))
        double.is_ready = False
        await until(lambda: stand.arms.unready_reason(stand.arm) == "the predictor is not ready yet (HTTP 503)")
    await until(lambda: stand.arms.unready_reason(stand.arm) == "the predictor does not answer yet")
    assert set(stand.changed) == {"u1"}


async def test_a_predictor_that_dies_starts_again_on_the_same_port(stand: Stand) -> None:
    stand.create()
    port = stand.arm.port
    stand.processes.end(1)
    assert "ended with exit code 1" in stand.arms.unready_reason(stand.arm) or stand.arm.phase == "running"
    await until(lambda: len(stand.processes.attempts) == 2)
    assert (stand.arm.phase, stand.arm.attempt, stand.arm.port) == ("running", 2, port)


async def test_a_port_that_was_taken_meanwhile_is_given_up(stand: Stand) -> None:
    stand.create()
    async with ArmDouble(A) as stranger:
        stand.arms._kept.put(stand.arm.model_copy(update={"port": stranger.port}))
        assert not is_free(stranger.port)
        stand.processes.end(None)
        await until(lambda: len(stand.processes.attempts) == 2)
        assert stand.arm.port != stranger.port


async def test_removing_drains_then_kills_and_keeps_the_recipe(stand: Stand) -> None:
    stand.create()
    with pytest.raises(Conflict, match="changed since"):
        stand.arms.remove("u1", A, "0")
    stand.arms.remove("u1", A, str(stand.arm.version))
    assert stand.arm.phase == "stopping"
    with pytest.raises(Conflict, match="still being stopped"):
        stand.create()
    await until(lambda: stand.processes.attempts[0].signals == [signal.SIGTERM, signal.SIGKILL])
    stand.processes.end(None)
    assert stand.arms.of("u1") == ()
    stand.arms.create("u1", "default/shop", A, None)
    assert stand.arm.digest == DIGEST


async def test_a_revision_that_nothing_is_kept_of_can_not_be_made(stand: Stand) -> None:
    with pytest.raises(Conflict, match="nothing is kept of revision"):
        stand.arms.create("u1", "default/shop", "bbbbbbbbbb", None)
    stand.create()
    stand.arms.forget_release("u1")
    assert stand.arms.known("u1") == {}


async def test_over_its_memory_an_arm_is_killed(stand: Stand) -> None:
    stand.create(predictor={"resources": {"memory": "64Mi"}})
    stand.processes.used_bytes = 65 << 20
    await until(lambda: signal.SIGKILL in stand.processes.attempts[0].signals)


async def test_a_living_arm_is_adopted_and_a_dead_one_started_again(stand: Stand) -> None:
    stand.create()
    stand.restart()
    assert len(stand.processes.attempts) == 1
    stand.processes.forget_watchers()
    stand.processes.end(None)
    stand.restart()
    assert [a.number for a in stand.processes.attempts] == [1, 2]


async def test_killed_between_intent_and_record_it_is_one_attempt(stand: Stand) -> None:
    stand.create()
    stand.database.put_record(
        "arms", stand.arm.key, stand.arm.model_copy(update={"phase": "starting", "pid": 0}).model_dump(mode="json")
    )
    stand.processes.attempts.clear()
    stand.restart()
    assert [a.number for a in stand.processes.attempts] == [1]


@pytest.mark.parametrize("lives", [True, False])
async def test_a_stop_under_way_goes_on_after_a_restart(stand: Stand, *, lives: bool) -> None:
    stand.create()
    stand.arms.remove("u1", A, str(stand.arm.version))
    if not lives:
        stand.processes.forget_watchers()
        stand.processes.end(None)
    stand.restart()
    if lives:
        assert stand.arm.phase == "stopping"
        stand.processes.end(0)
    assert stand.arms.of("u1") == ()


async def test_closing_ends_every_arm_and_the_next_graft_up_starts_it_again(stand: Stand) -> None:
    stand.create()
    await stand.arms.close(now=False)
    assert stand.processes.attempts[0].signals == [signal.SIGTERM, signal.SIGKILL]
    stand.processes.end(None)
    stand.restart()
    assert [a.number for a in stand.processes.attempts] == [1, 2]
