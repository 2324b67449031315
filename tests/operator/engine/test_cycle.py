"""A pass on a cluster: in order, written once, safe against what moved meanwhile, and plain about what a person must mend."""

import pytest

from graft_core.api.conditions import Condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.names import FINALIZER
from graft_core.errors import Conflict, Forbidden, GraftError, InvalidInput, NotReady
from graft_operator.engine.cycle import WATCHED_S
from graft_operator.engine.directory import MAX_BODIES, Key
from graft_operator.ports import FINE_TUNE_JOBS, JOBS, Json
from graft_operator.reconcile.decision import Event, FineTuneJobDecision
from tests.operator.engine.world import JOB, EngineWorld, a_job, a_release


def condition(body: Json, kind: str) -> Json:
    found = [c for c in body["status"].get("conditions", []) if c["type"] == kind]
    return found[0] if found else {}


async def test_a_new_job_gets_finalizer_child_status_and_events_in_this_order() -> None:
    world = EngineWorld()
    world.add(a_job())
    again_s = await world.cycle.run(JOB)
    writes = [(write.verb, write.resource.kind, write.subresource) for write in world.kube.writes]
    assert writes == [("patch", "FineTuneJob", ""), ("create", "Job", ""), ("patch", "FineTuneJob", "status")]
    body = world.find(JOB)
    assert body["metadata"]["finalizers"] == [FINALIZER]
    assert body["status"]["observedGeneration"] == 1
    assert [(name, event.reason) for name, event in world.told] == [("rephrase", "Checking")]
    assert again_s is not None
    assert again_s <= 0.05
    assert world.counted("graft_operator_passes_total", kind="FineTuneJob", outcome="ok") == 1


async def test_a_settled_object_costs_no_write() -> None:
    world = EngineWorld()
    world.add(a_job())
    await world.cycle.run(JOB)
    world.kube.writes.clear()
    before = world.find(JOB)
    assert await world.cycle.run(JOB) is None
    assert world.kube.writes == []
    assert world.find(JOB) == before


async def test_an_object_that_is_gone_is_nothing() -> None:
    assert await EngineWorld().cycle.run(JOB) is None


async def test_the_status_is_not_written_over_a_change_and_no_event_is_told() -> None:
    world = EngineWorld()
    world.add(a_job())
    world.jobs.meanwhile = lambda: world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"spec": {"suspend": True}})
    with pytest.raises(Conflict):
        await world.cycle.run(JOB)
    assert "status" not in world.find(JOB)
    assert world.told == []
    assert world.kube.find(JOBS, "ml", "rephrase-check") is None


async def test_what_is_deleted_loses_its_finalizer_and_that_is_the_end() -> None:
    world = EngineWorld()
    world.add(a_job())
    await world.cycle.run(JOB)
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"metadata": {"finalizers": [FINALIZER, "other/one"]}})
    world.kube.remove(FINE_TUNE_JOBS, "ml", "rephrase")
    await world.cycle.run(JOB)
    assert world.find(JOB)["metadata"]["finalizers"] == ["other/one"]
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"metadata": {"finalizers": []}})
    assert world.kube.find(FINE_TUNE_JOBS, "ml", "rephrase") is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Forbidden("create jobs ml/a: 403 no; grant it"), "Forbidden"),
        (InvalidInput("create jobs ml/a: 422 no", reason="Invalid"), "Invalid"),
    ],
)
async def test_what_a_person_must_mend_stands_on_the_object_once_and_goes_when_it_is_mended(
    fault: GraftError, reason: str
) -> None:
    world = EngineWorld()
    world.add(a_job())
    world.jobs.faults = [fault, fault]
    with pytest.raises(type(fault)):
        await world.cycle.run(JOB)
    told = condition(world.find(JOB), "Degraded")
    assert (told["status"], told["reason"]) == ("True", reason)
    assert str(fault) in told["message"]
    assert [event.reason for _, event in world.told] == [reason]
    before = world.find(JOB)
    with pytest.raises(type(fault)):
        await world.cycle.run(JOB)
    assert world.find(JOB) == before  # no churn of writes
    assert len(world.told) == 1
    await world.cycle.run(JOB)
    assert condition(world.find(JOB), "Degraded")["status"] == "False"


async def test_what_passes_by_itself_is_not_told_on_the_object() -> None:
    world = EngineWorld()
    world.add(a_job())
    world.jobs.faults = [NotReady("busy", retry_after_s=30)]
    with pytest.raises(NotReady):
        await world.cycle.run(JOB)
    assert "status" not in world.find(JOB)
    assert world.counted("graft_operator_passes_total", kind="FineTuneJob", outcome="NotReady") == 1


async def test_fields_that_a_newer_version_wrote_are_left_as_they_are() -> None:
    world = EngineWorld()
    world.add(a_job())
    await world.cycle.run(JOB)
    newer = {**world.find(JOB)["status"], "novelty": {"a": 1}, "conditions": []}
    world.kube.set_status(FINE_TUNE_JOBS, "ml", "rephrase", newer)
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"spec": {"suspend": True}})
    await world.cycle.run(JOB)
    status = world.find(JOB)["status"]
    assert status["novelty"] == {"a": 1}
    assert status["observedGeneration"] == 2


async def test_a_spec_that_cannot_be_read_is_refused_by_its_path() -> None:
    world = EngineWorld()
    body = a_job()
    body["spec"]["novelty"] = 1
    world.add(body)
    with pytest.raises(InvalidInput, match=r"spec\.novelty"):
        await world.cycle.run(JOB)
    found = world.find(JOB)
    assert condition(found, "Accepted")["reason"] == "InvalidSpec"
    assert found["status"]["observedGeneration"] == 1
    assert world.jobs.decided == 0


async def test_an_object_that_cannot_be_read_can_still_be_deleted() -> None:
    world = EngineWorld()
    body = a_job()
    body["spec"]["novelty"] = 1
    body["metadata"]["finalizers"] = [FINALIZER]
    world.add(body)
    world.kube.remove(FINE_TUNE_JOBS, "ml", "rephrase")
    await world.cycle.run(JOB)
    assert world.kube.find(FINE_TUNE_JOBS, "ml", "rephrase") is None
    assert [event.reason for _, event in world.told] == ["LetGo"]


async def test_a_status_that_would_be_too_long_is_not_written() -> None:
    world = EngineWorld()
    world.add(a_job())

    at = "2026-01-31T09:00:00Z"
    long = Condition(type="A", status="True", reason="B", message="x" * 1024, last_transition_time=at)
    world.jobs.changes = {"conditions": (long,) * 32}
    with pytest.raises(GraftError, match="expected at most 32768"):
        await world.cycle.run(JOB)
    assert "observedGeneration" not in world.find(JOB)["status"]


async def test_a_lost_answer_to_the_status_write_is_made_good_by_the_next_pass() -> None:
    world = EngineWorld()
    world.add(a_job())
    await world.cycle.run(JOB)
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"spec": {"suspend": True}})
    world.kube.fail("patch", NotReady("cut"), FINE_TUNE_JOBS, is_done=True)
    with pytest.raises(NotReady):
        await world.cycle.run(JOB)
    world.kube.writes.clear()
    await world.cycle.run(JOB)
    assert world.kube.writes == []


async def test_releases_go_the_same_way() -> None:
    world = EngineWorld()
    key = world.add(a_release())
    await world.cycle.run(key)
    assert world.find(key)["status"]["observedGeneration"] == 1
    world.cycle.forget(key, "u")
    assert world.releases.forgotten == ["u"]


def reads_of(world: EngineWorld) -> int:
    return sum(1 for verb, resource, _, _ in world.kube.reads if (verb, resource) == ("get", FINE_TUNE_JOBS))


async def test_a_pass_goes_by_the_body_that_its_event_brought_and_reads_where_it_knows_a_newer_one() -> None:
    world = EngineWorld()
    world.add(a_job())
    told = world.find(JOB)
    world.pump.take_object("ADDED", told)
    await world.cycle.run(JOB)
    assert reads_of(world) == 0
    await world.cycle.run(JOB)  # nothing told of: it is read
    assert reads_of(world) == 1
    world.pump.take_object("MODIFIED", {**told, "metadata": {**told["metadata"], "resourceVersion": "1"}})
    await world.cycle.run(JOB)  # late news, older than what was written since
    assert reads_of(world) == 2
    world.kube.edit(FINE_TUNE_JOBS, "ml", "rephrase", {"spec": {"suspend": True}})
    world.pump.take_object("MODIFIED", world.find(JOB))
    await world.cycle.run(JOB)
    assert reads_of(world) == 2
    assert world.find(JOB)["status"]["observedGeneration"] == 2


async def test_a_body_is_not_handed_on_to_who_has_just_begun_to_lead_nor_from_a_list_nor_beyond_the_bound() -> None:
    world = EngineWorld()
    world.add(a_job())
    world.pump.take_object("ADDED", world.find(JOB))
    world.pump.mark_all()
    assert world.directory.take_body(JOB) is None
    world.pump.take_object(None, world.find(JOB))
    assert world.directory.take_body(JOB) is None
    opaque = {"metadata": {"resourceVersion": "a-version"}}
    world.directory.hand_on(JOB, opaque)
    assert world.directory.take_body(JOB) is None
    for number in range(MAX_BODIES + 1):
        world.directory.hand_on(Key(JOB.kind, "ml", str(number)), opaque | {"metadata": {"resourceVersion": "7"}})
    assert world.directory.take_body(Key(JOB.kind, "ml", str(MAX_BODIES))) is None
    assert world.directory.take_body(Key(JOB.kind, "ml", "0")) == {"metadata": {"resourceVersion": "7"}}


async def test_what_watches_tell_of_is_not_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = EngineWorld()
    world.add(a_job())

    async def made(*_: object) -> bool:
        return True

    monkeypatch.setattr(world.jobs, "apply", made)
    again_s = await world.cycle.run(JOB)
    assert again_s is not None
    assert WATCHED_S <= again_s <= WATCHED_S * 1.25


async def test_of_a_jobs_ordinary_news_the_last_is_told_and_every_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    world = EngineWorld()
    world.add(a_job())
    told = [Event("Normal", "Accepted", "a"), Event("Warning", "Slow", "b"), Event("Normal", "Preparing", "c")]

    async def decide(job: FineTuneJob, _: object) -> FineTuneJobDecision:
        return FineTuneJobDecision(job.status, (), tuple(told))

    monkeypatch.setattr(world.jobs, "decide", decide)
    await world.cycle.run(JOB)
    assert [event.reason for _, event in world.told] == ["Slow", "Preparing"]
