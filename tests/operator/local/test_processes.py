"""Real processes, each a moment long: the supervisor's records, its lock, and whom a signal reaches."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graft_core.errors import Conflict
from graft_operator.local import supervise
from graft_operator.local.lock import StateLock, holder_of
from graft_operator.local.processes import OsProcesses
from tests.operator.local.doubles import until

# Each starts an interpreter or two.
pytestmark = pytest.mark.timeout(20)

ENV = {"PATH": os.environ.get("PATH", "")}


@pytest.fixture
async def processes() -> AsyncIterator[OsProcesses]:
    found = OsProcesses()
    yield found
    found.close()


async def test_the_end_is_recorded_and_told_once_nothing_lives(processes: OsProcesses, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    who = processes.start(folder, 3, ["/bin/sh", "-c", "echo told; exit 11"], ENV)
    ended = asyncio.Event()
    processes.when_ended(folder, who, ended.set)
    async with asyncio.timeout(10):
        await ended.wait()
    assert not processes.is_alive(folder)
    assert processes.exit_code(folder, 3) == 11
    assert processes.exit_code(folder, 2) is None
    assert (folder / "log").read_text() == "told\n"


async def test_a_command_that_can_not_be_started_is_an_end_like_any_other(
    processes: OsProcesses, tmp_path: Path
) -> None:
    who = processes.start(tmp_path, 1, ["/nowhere/trainer"], ENV)
    ended = asyncio.Event()
    processes.when_ended(tmp_path, who, ended.set)
    async with asyncio.timeout(10):
        await ended.wait()
    assert processes.exit_code(tmp_path, 1) == 127
    assert "/nowhere/trainer cannot be started" in (tmp_path / "log").read_text()


async def test_a_living_attempt_is_found_again_and_ended_by_somebody_else(
    processes: OsProcesses, tmp_path: Path
) -> None:
    who = processes.start(tmp_path, 1, ["/bin/sleep", "60"], ENV)
    later = OsProcesses()
    await until(lambda: later.find(tmp_path, 1) is not None)
    assert later.find(tmp_path, 2) is None
    found = later.find(tmp_path, 1)
    assert found is not None
    assert found[0] == who[0]
    assert later.memory_bytes(found) >= 0
    ended = asyncio.Event()
    later.when_ended(tmp_path, found, ended.set)
    # The supervisor leaves SIGTERM to its command, and records how that ended.
    await until(lambda: later.memory_bytes(found) > 0)
    later.signal(tmp_path, found, signal.SIGTERM)
    async with asyncio.timeout(10):
        await ended.wait()
    assert later.exit_code(tmp_path, 1) == -signal.SIGTERM
    later.close()


async def test_two_attempts_never_run_at_a_time(processes: OsProcesses, tmp_path: Path) -> None:
    who = processes.start(tmp_path, 1, ["/bin/sleep", "60"], ENV)
    await until((tmp_path / "pid.json").exists)
    second = OsProcesses()
    other = second.start(tmp_path, 1, ["/bin/sh", "-c", "echo second"], ENV)
    ended = asyncio.Event()
    second.when_ended(tmp_path, other, ended.set)
    async with asyncio.timeout(10):
        await ended.wait()
    found = second.find(tmp_path, 1)
    assert found is not None
    assert found[0] == who[0]
    assert "second" not in (tmp_path / "log").read_text()
    processes.signal(tmp_path, who, signal.SIGKILL)


async def test_what_a_killed_supervisor_leaves_is_killed_before_its_end_is_told(
    processes: OsProcesses, tmp_path: Path
) -> None:
    who = processes.start(tmp_path, 1, ["/bin/sleep", "60"], ENV)
    await until(lambda: processes.memory_bytes(who) > 0)
    ended = asyncio.Event()
    processes.when_ended(tmp_path, who, ended.set)
    os.kill(who[0], signal.SIGKILL)
    async with asyncio.timeout(10):
        await ended.wait()
    assert not processes.is_alive(tmp_path)
    assert processes.exit_code(tmp_path, 1) is None


async def test_a_pid_that_was_given_to_somebody_else_is_not_signalled(processes: OsProcesses, tmp_path: Path) -> None:
    who = processes.start(tmp_path, 1, ["/bin/sleep", "60"], ENV)
    await until(lambda: processes.memory_bytes(who) > 0)
    processes.signal(tmp_path, (who[0], who[1] - 100.0), signal.SIGKILL)
    assert processes.is_alive(tmp_path)
    processes.signal(tmp_path, who, signal.SIGKILL)
    await until(lambda: not processes.is_alive(tmp_path))
    processes.signal(tmp_path, who, signal.SIGKILL)  # gone: fine


async def test_a_second_supervisor_leaves_with_its_code(processes: OsProcesses, tmp_path: Path) -> None:
    who = processes.start(tmp_path, 1, ["/bin/sleep", "60"], ENV)
    await until((tmp_path / "pid.json").exists)
    assert json.loads((tmp_path / "pid.json").read_text()) == {"pid": who[0], "attempt": 1}
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", supervise.__file__, str(tmp_path), "1", "--", "/bin/true"
    )
    assert await second.wait() == supervise.LOCKED
    processes.signal(tmp_path, who, signal.SIGKILL)


def test_one_graft_up_at_a_time_holds_the_folder(tmp_path: Path) -> None:
    state = tmp_path / "s"
    assert holder_of(state) is None
    lock = StateLock(state)
    assert oct(state.stat().st_mode & 0o777) == "0o700"
    assert holder_of(state) == os.getpid()
    with pytest.raises(Conflict, match=rf"\(pid {os.getpid()}\) runs on the state folder"):
        StateLock(state)
    lock.release()
    assert holder_of(state) is None
    StateLock(state).release()
