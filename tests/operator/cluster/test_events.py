"""Events: one object for what is the same, counted; none ever fails anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from graft_core.errors import Forbidden
from graft_operator.cluster.events import MAX_WAITING, EventRecorder
from graft_operator.ports import EVENTS, Json
from graft_operator.reconcile.decision import Event
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube

OBJECT: Json = {
    "apiVersion": "graft.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "a", "namespace": "ml", "uid": "u"},
}
EVENT = Event("Normal", "Checking", "looks at the data first")


class Recorded:
    def __init__(self) -> None:
        self.kube, self.clock = FakeKube(), FakeClock()
        self.recorder = EventRecorder(self.kube, self.clock, "pod-1")


@pytest.fixture
async def recorded() -> AsyncIterator[Recorded]:
    made = Recorded()
    task = asyncio.create_task(made.recorder.run())
    yield made
    task.cancel()


async def test_an_event_says_what_about_whom_and_the_same_again_counts(recorded: Recorded) -> None:
    recorded.recorder.emit(OBJECT, EVENT)
    recorded.clock.advance(60)
    recorded.recorder.emit(OBJECT, EVENT)
    recorded.recorder.emit(OBJECT, Event("Warning", "Checking", "something else"))
    await recorded.recorder.flush(1)
    found = recorded.kube.all(EVENTS, "ml")
    assert sorted(event["count"] for event in found) == [1, 2]
    first = next(event for event in found if event["count"] == 2)
    assert first["involvedObject"]["uid"] == "u"
    assert (first["firstTimestamp"], first["lastTimestamp"]) == ("2026-01-31T09:00:00Z", "2026-01-31T09:01:00Z")
    assert (first["reportingComponent"], first["reportingInstance"]) == ("graft-operator", "pod-1")


async def test_a_restart_goes_on_counting(recorded: Recorded) -> None:
    recorded.recorder.emit(OBJECT, EVENT)
    await recorded.recorder.flush(1)
    again = EventRecorder(recorded.kube, recorded.clock, "pod-2")
    task = asyncio.create_task(again.run())
    again.emit(OBJECT, EVENT)
    await again.flush(1)
    task.cancel()
    assert [event["count"] for event in recorded.kube.all(EVENTS)] == [2]


async def test_an_event_that_the_server_has_let_go_is_written_anew(recorded: Recorded) -> None:
    recorded.recorder.emit(OBJECT, EVENT)
    await recorded.recorder.flush(1)
    recorded.kube.remove(EVENTS, "ml", recorded.kube.all(EVENTS)[0]["metadata"]["name"])
    recorded.recorder.emit(OBJECT, EVENT)
    await recorded.recorder.flush(1)
    assert [event["count"] for event in recorded.kube.all(EVENTS)] == [1]


async def test_one_that_is_refused_is_dropped_and_the_next_is_written(recorded: Recorded) -> None:
    recorded.kube.fail("create", Forbidden("no"))
    recorded.recorder.emit(OBJECT, EVENT)
    recorded.recorder.emit(OBJECT, Event("Normal", "Training", "x" * 5000))
    await recorded.recorder.flush(1)
    found = recorded.kube.all(EVENTS)
    assert [(event["reason"], len(event["message"])) for event in found] == [("Training", 1024)]
    assert recorded.recorder.dropped == 1


async def test_no_more_wait_than_there_is_room_for() -> None:
    recorder = EventRecorder(FakeKube(), FakeClock(), "pod-1")
    for number in range(MAX_WAITING + 5):
        recorder.emit(OBJECT, Event("Normal", "Many", str(number)))
    assert recorder.dropped == 5
    await recorder.flush(0.01)
