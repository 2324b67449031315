"""The dispatcher: passes as tasks, held while this replica does not lead, a fault in one object kept from the others."""

import asyncio

import pytest

from graft_core.errors import Conflict, Forbidden, NotReady
from graft_operator.engine.dispatcher import Dispatcher
from graft_operator.engine.queue import Pace, WorkQueue
from tests.fakes.clock import FakeClock


class Passes:
    """Records passes; what each does is set by key."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.clock = FakeClock()
        self.queue: WorkQueue[str] = WorkQueue(self.clock, Pace(), lambda: 0.0)
        self.dispatcher = Dispatcher(self.queue, self.run, self.clock)

    async def run(self, key: str) -> float | None:
        self.begun.append(key)
        if gate := self.gates.get(key):
            await gate.wait()
        if faults := self.faults.get(key):
            raise faults.pop(0)
        return None


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nothing_begins_while_held_and_marks_are_kept() -> None:
    passes = Passes()
    loop = asyncio.create_task(passes.dispatcher.run())
    passes.dispatcher.mark("a")
    await settle()
    assert passes.begun == []
    passes.dispatcher.hold(is_held=False)
    await settle()
    assert passes.begun == ["a"]
    loop.cancel()


@pytest.mark.parametrize(
    ("fault", "at_least_s"),
    [(Conflict("moved"), 0.0), (NotReady("busy", retry_after_s=30), 30), (Forbidden("no"), 2.5), (KeyError("x"), 0.5)],
)
async def test_a_pass_that_fails_is_run_again_in_time_and_others_go_on(fault: Exception, at_least_s: float) -> None:
    passes = Passes()
    passes.faults["a"] = [fault]
    passes.dispatcher.hold(is_held=False)
    loop = asyncio.create_task(passes.dispatcher.run())
    passes.dispatcher.mark("a")
    passes.dispatcher.mark("b")
    await settle()
    assert passes.begun == ["a", "b"]
    due_s = passes.queue.due_s()
    assert due_s is not None
    assert due_s >= at_least_s
    passes.clock.advance(due_s)
    passes.dispatcher.mark("c")
    await settle()
    assert sorted(passes.begun) == ["a", "a", "b", "c"]
    assert not loop.done()
    loop.cancel()


async def test_draining_waits_for_passes_and_cuts_those_that_take_too_long() -> None:
    passes = Passes()
    passes.gates = {"quick": asyncio.Event(), "slow": asyncio.Event()}
    passes.dispatcher.hold(is_held=False)
    loop = asyncio.create_task(passes.dispatcher.run())
    passes.dispatcher.mark("quick")
    passes.dispatcher.mark("slow")
    await settle()
    draining = asyncio.create_task(passes.dispatcher.drain(0.05))
    await settle()
    passes.gates["quick"].set()
    passes.dispatcher.mark("late")
    await draining
    assert passes.begun == ["quick", "slow"]
    assert passes.queue.running == 0
    loop.cancel()


async def test_the_loop_says_when_it_last_turned() -> None:
    passes = Passes()
    loop = asyncio.create_task(passes.dispatcher.run())
    await settle()
    passes.clock.advance(3)
    passes.dispatcher.mark("a")
    await settle()
    assert passes.dispatcher.turned_at == passes.clock.monotonic()
    loop.cancel()
