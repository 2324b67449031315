"""From events to passes, and what watches missed."""

import pytest

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_core.errors import NotReady
from graft_operator.engine.directory import Key
from graft_operator.engine.pump import CHILD_PATIENCE_S
from graft_operator.engine.resync import Resync
from graft_operator.ports import FINE_TUNE_JOBS, JOBS, MODEL_RELEASES, Json
from tests.operator.engine.world import JOB, EngineWorld, a_job, a_release

DONE: Json = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "conditions": [{"type": "Complete", "status": "True", "reason": "Complete"}],
}


def watched() -> EngineWorld:
    world = EngineWorld()
    world.watch()
    return world


def taken(world: EngineWorld) -> list[tuple[Key, float]]:
    marks, world.marks[:] = list(world.marks), []
    return marks


async def test_a_change_means_a_pass_and_an_echo_of_our_own_write_does_not() -> None:
    world = watched()
    world.add(a_job())
    assert taken(world) == [(JOB, 0.0)]
    await world.cycle.run(JOB)
    # A double's watch tells before the write is answered; a real one's echo of finalizer and status finds it noted.
    # That the Job is there is no news to the pass that made it.
    assert taken(world) == [(JOB, 0.0), (JOB, 0.0)]
    world.pump.take_object("MODIFIED", world.find(JOB))
    assert taken(world) == []
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"spec": {"suspend": True}})
    assert taken(world) == [(JOB, 0.0)]


async def test_a_childs_change_means_a_pass_of_its_owner_and_strangers_mean_none() -> None:
    world = watched()
    world.add(a_job())
    await world.cycle.run(JOB)
    taken(world)
    world.kube.set_status(JOBS, "ml", "rephrase-check", {"active": 1})
    assert taken(world) == [(JOB, CHILD_PATIENCE_S)]
    world.kube.add(JOBS, {"metadata": {"name": "stranger", "namespace": "ml", "labels": {"graft.dev/uid": "forged"}}})
    world.kube.add(JOBS, {"metadata": {"name": "plain", "namespace": "ml"}})
    assert taken(world) == []


async def test_a_release_gets_a_pass_when_its_job_moves_on_or_goes() -> None:
    world = watched()
    body = a_release()
    body["spec"]["model"] = {"fineTuneJobRef": {"name": "rephrase"}}
    release = world.add(body)
    taken(world)
    world.add(a_job())
    assert {key for key, _ in taken(world)} == {JOB, release}
    world.kube.set_status(FINE_TUNE_JOBS, "ml", "rephrase", DONE)
    assert {key for key, _ in taken(world)} == {JOB, release}
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"metadata": {"labels": {"a": "b"}}})
    assert taken(world) == [(JOB, 0.0)]
    world.kube.remove(FINE_TUNE_JOBS, "ml", "rephrase")
    assert taken(world) == [(release, 0.0)]
    assert world.jobs.forgotten != []


async def test_after_a_restart_jobs_that_ended_wait_for_their_turn() -> None:
    world = EngineWorld()
    world.add(a_job())
    world.kube.set_status(FINE_TUNE_JOBS, "ml", "rephrase", DONE)
    world.add(a_job("fresh"))
    for body in world.kube.all(FINE_TUNE_JOBS):
        world.pump.take_object(None, body)
    after_s = {key.name: seconds for key, seconds in taken(world)}
    assert after_s["fresh"] == 0.0
    assert 0.0 < after_s["rephrase"] <= 300
    world.pump.mark_all()
    assert {key.name for key, _ in taken(world)} == {"fresh", "rephrase"}


@pytest.mark.parametrize(
    ("finished_at", "ttl_s", "least_s", "most_s"),
    [
        ("2026-01-31T08:59:00Z", None, 0.0, 300.0),  # it may have left something
        ("2026-01-31T08:00:00Z", 7200, 3600.0, 3660.0),
        ("2026-01-31T06:00:00Z", 7200, 0.0, 60.0),
        ("no time", 7200, 0.0, 300.0),
    ],
)
def test_a_settled_job_gets_its_pass_when_its_end_or_its_ttl_asks_for_one(
    finished_at: str, ttl_s: int | None, least_s: float, most_s: float
) -> None:
    world = EngineWorld()
    body = ended(world, finished_at, ttl_s)
    world.pump.take_object(None, body)
    world.pump.mark_all()
    assert [key for key, _ in taken(world)] == [JOB, JOB]
    world.pump.take_object(None, body)
    assert all(least_s <= after_s <= most_s for _, after_s in taken(world))


def test_a_job_that_ended_long_ago_and_has_no_ttl_gets_no_pass_at_all() -> None:
    world = EngineWorld()
    body = ended(world, "2026-01-31T08:00:00Z", None)
    world.pump.take_object(None, body)
    world.pump.mark_all()
    assert taken(world) == []
    world.kube.add(JOBS, {"metadata": {"name": "c", "namespace": "ml", "labels": {"graft.dev/uid": uid_of(body)}}})
    world.pump.take_child(None, {"kind": "Job", **world.kube.all(JOBS)[0]})
    assert taken(world) == []
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"metadata": {"labels": {"a": "b"}}})
    world.pump.take_object("MODIFIED", world.find(JOB))
    assert taken(world) == [(JOB, 0.0)]


def uid_of(body: Json) -> str:
    return str(body["metadata"]["uid"])


def ended(world: EngineWorld, finished_at: str, ttl_s: int | None) -> Json:
    """Return a job that ended; it is nine o'clock."""
    body = a_job()
    if ttl_s is not None:
        body["spec"]["runtime"] = {"ttlSecondsAfterFinished": ttl_s}
    world.add(body)
    return world.kube.set_status(FINE_TUNE_JOBS, "ml", "rephrase", {**DONE, "finishedAt": finished_at})


async def test_an_object_made_again_under_its_name_is_another() -> None:
    world = EngineWorld()
    world.add(a_job())
    before = world.find(JOB)
    world.pump.take_object("ADDED", before)
    world.kube.remove(FINE_TUNE_JOBS, "ml", "rephrase")
    world.add(a_job())
    world.pump.take_object("MODIFIED", world.find(JOB))
    assert world.jobs.forgotten == [before["metadata"]["uid"]]
    world.pump.take_object("DELETED", before)  # late news of the one before
    assert world.directory.find(JOB) is not None


@pytest.mark.parametrize("body", [{}, {"kind": "FineTuneJob"}, {"kind": "FineTuneJob", "metadata": None}])
def test_an_event_that_cannot_be_read_is_left_out(body: Json) -> None:
    world = EngineWorld()
    world.pump.take_object("MODIFIED", body)
    world.pump.take_child("MODIFIED", body)
    assert world.marks == []


class Resynced:
    """A resync whose waits are the test's moments."""

    def __init__(self, world: EngineWorld, *, leads: bool = True) -> None:
        self.waits: list[float] = []
        self.meanwhile = lambda: None
        self.resync = Resync(
            world.kube, world.directory, world.pump, namespaces=[""], is_leading=lambda: leads, wait=self._wait
        )

    async def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.meanwhile()


async def test_a_timed_look_brings_a_pass_to_what_is_not_settled_in_its_own_time() -> None:
    world = watched()
    world.add(a_job())
    world.add(a_job("done"))
    world.kube.set_status(FINE_TUNE_JOBS, "ml", "done", DONE)
    taken(world)
    looked = Resynced(world)
    await looked.resync.look()
    marks = taken(world)
    assert [key for key, _ in marks] == [JOB]
    assert 0 < marks[0][1] <= 240
    assert looked.waits == []
    assert looked.resync.is_watch_fresh


async def test_a_watch_that_missed_something_is_stale_and_what_it_missed_is_taken() -> None:
    world = EngineWorld()
    world.add(a_job())
    world.pump.take_object("ADDED", world.find(JOB))
    world.kube.remove(FINE_TUNE_JOBS, "ml", "rephrase")  # nobody told
    missed = world.add(a_job("missed"))
    taken(world)
    looked = Resynced(world)
    await looked.resync.look()
    assert not looked.resync.is_watch_fresh
    assert world.directory.find(JOB) is None
    assert (missed, 0.0) in taken(world)
    await looked.resync.look()
    assert looked.resync.is_watch_fresh


async def test_a_watch_that_is_only_late_is_fresh() -> None:
    world = EngineWorld()
    world.add(a_job())
    looked = Resynced(world)
    looked.meanwhile = lambda: world.pump.take_object("ADDED", world.find(JOB))
    await looked.resync.look()
    assert looked.resync.is_watch_fresh
    assert len(looked.waits) == 1


async def test_a_crd_that_went_is_not_taken_for_deletions() -> None:
    world = watched()
    world.add(a_job())
    world.kube.unserved |= {FINE_TUNE_JOBS, MODEL_RELEASES}
    looked = Resynced(world)
    await looked.resync.look()
    assert world.directory.find(JOB) is not None
    assert looked.resync.is_watch_fresh


async def test_children_whose_owner_is_gone_are_swept_and_others_are_not() -> None:
    world = watched()
    world.kube.collects = False  # an API server without a controller-manager
    world.add(a_job())
    world.add(a_job("stays"))
    await world.cycle.run(JOB)
    await world.cycle.run(Key(KIND_FINETUNEJOB, "ml", "stays"))
    uid = world.find(JOB)["metadata"]["uid"]
    kept = {"name": "kept", "namespace": "ml", "labels": {"graft.dev/uid": uid}}
    world.kube.add(
        JOBS, {"metadata": kept}
    )  # ours by label, owned by nobody: a service that was to outlive its release
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"metadata": {"finalizers": []}})
    world.kube.remove(FINE_TUNE_JOBS, "ml", "rephrase")
    await Resynced(world, leads=False).resync.look()
    assert world.kube.find(JOBS, "ml", "rephrase-check") is not None
    await Resynced(world).resync.look()
    assert [job["metadata"]["name"] for job in world.kube.all(JOBS)] == ["kept", "stays-check"]


async def test_an_api_server_that_does_not_answer_ends_nothing() -> None:
    world = EngineWorld()
    looked = Resynced(world)
    turns = 0

    class Over(Exception):
        pass

    def again() -> None:
        nonlocal turns
        turns += 1
        world.kube.fail("list", NotReady("gone"))
        if turns == 3:
            raise Over

    looked.meanwhile = again
    with pytest.raises(Over):
        await looked.resync.run()
    assert all(270 <= wait <= 330 for wait in looked.waits)
