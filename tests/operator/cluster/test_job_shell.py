"""A FineTuneJob on a cluster, from its creation to its end, with everything that may come between."""

from typing import Any

import pytest

from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.names import LABEL_UID
from graft_core.clock import to_rfc3339
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.pod import PINNED_ENV, PROGRESS_PATH, PROGRESS_PORT
from graft_core.contracts.train_report import Progress
from graft_core.errors import NotReady
from graft_operator.ports import CONFIG_MAPS, FINE_TUNE_JOBS, JOBS, PODS, TRAIN_JOBS, TRAINING_RUNTIMES
from graft_operator.render.names import child_name
from tests.builders import BASE_REVISION, DATASET_DIGEST, some_progress
from tests.operator.cluster.job_story import JobStory, a_published_report, a_report_of

KILLED = EXIT_CODES[ExitClass.INFRASTRUCTURE]


async def checked(spec: dict[str, Any] | None = None) -> JobStory:
    """A story whose check has passed, and whose trainer runs."""
    story = JobStory()
    story.apply(spec)
    await story.settle()
    story.end_pod("check", 0, a_report_of(story.job, "check"))
    await story.settle()
    return story


def reason(story: JobStory, kind: str) -> str:
    found = find_condition(story.job.status.conditions, kind)
    assert found is not None, [one.type for one in story.job.status.conditions]
    return found.reason


def env_of(story: JobStory, role: str) -> dict[str, str]:
    job = story.kube_job(role)
    assert job is not None
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return {one["name"]: one.get("value", "") for one in env}


async def test_from_creation_to_succeeded_in_eight_writes() -> None:
    story = await checked()
    assert BASE_REVISION in env_of(story, "train")[PINNED_ENV]
    assert DATASET_DIGEST in env_of(story, "train")[PINNED_ENV]
    assert PINNED_ENV not in env_of(story, "check")
    story.wait(5)
    story.end_pod("train", 0, a_published_report(story.job))
    await story.settle()
    status = story.job.status
    assert status.phase.value == "Succeeded"
    assert status.artifact is not None
    assert status.artifact.digest == "sha256:" + "e" * 64
    assert status.metrics == {"json_validity": "0.99"}
    writes = [
        f"{write.verb} {write.resource.kind}{write.subresource and '/'}{write.subresource}"
        for write in story.kube.writes
    ]
    assert writes == [
        "patch FineTuneJob",
        "create ConfigMap",
        "create Job",
        "patch FineTuneJob/status",
        "create Job",
        "patch FineTuneJob/status",
        "patch FineTuneJob/status",
        "patch FineTuneJob/status",
    ]
    await story.run_pass()
    assert len(story.kube.writes) == 8  # a pass that finds nothing new writes nothing


async def test_a_new_job_has_its_first_job_after_three_writes_and_not_one_read() -> None:
    story = JobStory()
    story.apply()
    await story.run_pass()
    kinds = [write.resource.kind for write in story.kube.writes]
    assert kinds == ["FineTuneJob", "ConfigMap", "Job", "FineTuneJob"]
    assert story.kube.reads == []
    await story.run_pass()
    read = [(verb, resource.kind) for verb, resource, _, _ in story.kube.reads]
    assert read == [("get", "Job"), ("get", "Job"), ("list", "ConfigMap")]  # no controller has begun: there are no pods


async def test_bad_data_ends_the_job_before_a_gpu_is_asked_for() -> None:
    story = JobStory()
    story.apply({"resources": {"gpus": 1}})
    await story.settle()
    failed = a_report_of(story.job, "check", exit_class=ExitClass.INVALID_DATASET, message="train.jsonl:3: no output")
    story.end_pod("check", EXIT_CODES[ExitClass.INVALID_DATASET], failed)
    await story.settle()
    assert reason(story, "Failed") == "InvalidDataset"
    assert story.kube_job("train") is None
    assert "nvidia.com/gpu" not in str(story.kube_job("check"))


async def test_infrastructure_is_counted_and_a_preemption_is_not() -> None:
    story = await checked()
    for code in (143, KILLED, 143, 143, KILLED):
        story.wait(30)
        story.end_pod("train", code)
        await story.settle()
        await story.settle()
        assert reason(story, "Trained") in {"Preparing", "Training"}
    assert [attempt.reason for attempt in story.job.status.attempts][-2:] == ["Preempted", "Infrastructure"]
    story.end_pod("train", KILLED)
    await story.settle()
    assert reason(story, "Failed") == "BackoffLimitExceeded"


async def test_a_trainer_killed_for_its_memory_is_not_started_again() -> None:
    story = await checked()
    story.end_pod("train", 137, reason="OOMKilled")
    await story.settle()
    assert reason(story, "Failed") == "OutOfMemory"
    assert story.kube_job("train") is None


async def test_a_name_that_is_taken_is_left_alone() -> None:
    story = JobStory()
    story.apply()
    uid = story.job.metadata.uid
    name = child_name("tune", uid, "check")
    foreign = story.kube.add(
        JOBS, {"metadata": {"name": name, "namespace": "default", "labels": {LABEL_UID: uid}}, "spec": {}}
    )
    await story.settle()
    assert reason(story, "Scheduled") == "NameConflict"
    assert story.kube.find(JOBS, "default", name) == foreign


async def test_a_request_whose_name_is_taken_is_a_conflict_too() -> None:
    story = JobStory()
    story.apply()
    await story.settle()
    (request,) = story.kube.all(CONFIG_MAPS)
    other = JobStory()
    other.apply()
    meta = {"name": request["metadata"]["name"], "namespace": "default"}
    taken = other.kube.add(CONFIG_MAPS, {"metadata": meta, "data": {"mine": "1"}})
    await other.settle()
    assert reason(other, "Scheduled") == "NameConflict"
    assert other.kube.all(CONFIG_MAPS) == [taken]


async def test_a_train_job_that_somebody_deletes_is_made_again_and_counted() -> None:
    story = await checked()
    for count in (1, 2):
        job = story.kube_job("train")
        assert job is not None
        story.kube.remove(JOBS, "default", job["metadata"]["name"])
        await story.settle()
        assert story.job.status.children_deleted == count
        assert BASE_REVISION in env_of(story, "train")[PINNED_ENV]
    job = story.kube_job("train")
    assert job is not None
    story.kube.remove(JOBS, "default", job["metadata"]["name"])
    await story.settle()
    assert reason(story, "Failed") == "ChildDeleted"


async def test_a_request_that_somebody_deletes_is_made_again() -> None:
    story = await checked()
    (request,) = story.kube.all(CONFIG_MAPS)
    before = story.kube_job("train")
    story.kube.remove(CONFIG_MAPS, "default", request["metadata"]["name"])
    await story.settle()
    assert [one["data"] for one in story.kube.all(CONFIG_MAPS)] == [request["data"]]
    assert story.kube_job("train") == before


async def test_a_suspended_job_is_taken_away_and_goes_on_as_it_was() -> None:
    story = await checked()
    pinned = env_of(story, "train")[PINNED_ENV]
    story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"suspend": True}})
    await story.settle()
    assert story.kube_job("train") is None
    assert story.job.status.phase.value == "Suspended"
    story.restart()
    story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"suspend": False}})
    await story.settle()
    assert env_of(story, "train")[PINNED_ENV] == pinned
    assert story.job.status.children_deleted == 0
    assert not [one for one in story.kube.all(CONFIG_MAPS) if one["metadata"].get("annotations")]


async def test_a_pod_that_still_saves_holds_up_the_next_one() -> None:
    story = await checked()
    pod = story.pod("train")
    story.kube.edit(PODS, "default", pod["metadata"]["name"], {"metadata": {"finalizers": ["kubelet"]}})
    story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"suspend": True}})
    await story.settle()
    story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"suspend": False}})
    await story.settle()
    assert story.kube_job("train") is None
    story.kube.edit(PODS, "default", pod["metadata"]["name"], {"metadata": {"finalizers": []}})
    await story.settle()
    assert story.kube_job("train") is not None


async def test_a_queue_admits_the_jobs_and_a_change_of_queue_moves_them() -> None:
    story = JobStory()
    story.apply({"runtime": {"queueName": "ml"}})
    await story.settle()
    assert story.job.status.phase.value == "Queued"
    story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"runtime": {"queueName": "other"}}})
    await story.settle()
    job = story.kube_job("check")
    assert job is not None
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "other"
    assert job["spec"]["suspend"]
    story.kube.edit(JOBS, "default", job["metadata"]["name"], {"spec": {"suspend": False}})
    story.control()
    story.end_pod("check", 0, a_report_of(story.job, "check"))
    await story.settle()
    assert story.job.status.phase.value == "Queued"


async def test_a_job_suspended_by_hand_without_a_queue_is_resumed() -> None:
    story = await checked()
    job = story.kube_job("train")
    assert job is not None
    story.kube.edit(JOBS, "default", job["metadata"]["name"], {"spec": {"suspend": True}})
    story.kube.remove(PODS, "default", story.pod("train")["metadata"]["name"])
    await story.settle()
    resumed = story.kube_job("train")
    assert resumed is not None
    assert resumed["spec"]["suspend"] is False


async def test_progress_is_asked_for_every_ten_seconds_and_shown() -> None:
    story = await checked()
    pod = story.pod("train")["metadata"]["name"]
    story.wait(20)
    told = Progress(at=to_rfc3339(story.clock.now()), phase="Training", status=some_progress(40), resumed_from_step=20)
    story.kube.pods["default", pod, PROGRESS_PORT, PROGRESS_PATH] = told.to_json().encode()
    decision = await story.settle()
    assert decision is not None
    assert decision.look_again_s == 10.0
    assert story.job.status.progress == some_progress(40)
    assert story.job.status.attempts[-1].resumed_from_step == 20


async def test_a_stalled_trainer_is_stopped_and_after_its_restarts_for_good() -> None:
    story = await checked()
    for stall in range(1, 4):
        pod = story.pod("train")["metadata"]["name"]
        told = Progress(at=to_rfc3339(story.clock.now()), phase="Training", status=some_progress(stall))
        story.kube.pods["default", pod, PROGRESS_PORT, PROGRESS_PATH] = told.to_json().encode()
        story.wait(11)
        await story.settle()
        story.wait(901)
        await story.settle()
        assert story.kube.find(PODS, "default", pod) is None
    await story.settle()
    assert reason(story, "Failed") == "BackoffLimitExceeded"
    assert story.kube_job("train") is None


async def test_a_pod_that_never_answered_is_not_taken_for_stalled() -> None:
    story = await checked()
    story.wait(5000)
    await story.settle()
    assert reason(story, "Trained") == "Preparing"


async def test_a_report_that_went_with_its_pod_is_asked_for_once_more() -> None:
    story = await checked()
    story.end_pod("train", 0, a_published_report(story.job))
    story.kube.remove(PODS, "default", story.pod("train")["metadata"]["name"])
    await story.settle()
    assert story.job.status.phase.value != "Succeeded"
    story.end_pod("train", 0, a_published_report(story.job))
    await story.settle()
    assert story.job.status.phase.value == "Succeeded"


async def test_a_deleted_job_leaves_nothing() -> None:
    story = await checked()
    story.kube.remove(FINE_TUNE_JOBS, "default", "tune")
    await story.settle()
    assert story.is_gone
    assert not [*story.kube.all(JOBS), *story.kube.all(CONFIG_MAPS), *story.kube.all(PODS)]


async def test_children_go_after_the_ttl_and_a_settled_job_is_not_read_before() -> None:
    story = await checked({"runtime": {"ttlSecondsAfterFinished": 3600}})
    story.end_pod("train", 0, a_published_report(story.job))
    await story.settle()
    story.wait(1000)
    story.kube.reads.clear()
    await story.settle()
    assert story.kube.reads == []
    story.wait(2700)
    await story.settle()
    assert not [*story.kube.all(JOBS), *story.kube.all(CONFIG_MAPS)]
    assert story.job.status.phase.value == "Succeeded"


async def test_a_train_job_has_a_runtime_of_its_own() -> None:
    story = await checked({"runtime": {"engine": "TrainJob"}})
    assert story.kube_job("train") is None
    (runtime,) = story.kube.all(TRAINING_RUNTIMES)
    (job,) = story.kube.all(TRAIN_JOBS)
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"suspend": True}})
    await story.settle()
    assert not [*story.kube.all(TRAIN_JOBS), *story.kube.all(TRAINING_RUNTIMES)]
    story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"suspend": False}})
    await story.settle()
    (again,) = story.kube.all(TRAINING_RUNTIMES)
    assert again["spec"] == runtime["spec"]


async def test_a_train_job_is_refused_where_it_is_not_served() -> None:
    story = JobStory()
    story.kube.unserved.add(TRAIN_JOBS)
    story.apply({"runtime": {"engine": "TrainJob"}})
    await story.settle()
    found = find_condition(story.job.status.conditions, "Accepted")
    assert found is not None
    assert found.message.startswith("spec.runtime.engine 'TrainJob' is not supported in this version; this cluster")
    assert not story.kube.all(JOBS)


def shape(story: JobStory) -> dict[str, Any]:
    """What must be the same, however often a pass died: objects without what a server gives them, and the status."""
    jobs = {one["metadata"]["name"]: one["spec"] for one in story.kube.all(JOBS)}
    status = story.job.status.model_copy(update={"conditions": (), "attempts": ()})
    conditions = [(one.type, one.status, one.reason) for one in story.job.status.conditions]
    return {"jobs": jobs, "requests": len(story.kube.all(CONFIG_MAPS)), "status": status, "conditions": conditions}


async def told(dies_at: int | None = None, *, is_done: bool = False) -> tuple[JobStory, int]:
    """Tell the whole story, with a suspension in it; the n-th write is lost with the operator, before it or after."""
    story = JobStory()
    count = 0

    async def settle() -> None:
        nonlocal count
        for _ in range(12):
            before = len(story.kube.writes)
            if dies_at is not None and count <= dies_at:
                arm(story, dies_at - count, is_done=is_done)
            try:
                await story.run_pass()
            except NotReady:
                story.restart()
            count += len(story.kube.writes) - before
            story.kube._faults.clear()
            story.control()
            if len(story.kube.writes) == before:
                return

    story.apply()
    await settle()
    story.end_pod("check", 0, a_report_of(story.job, "check"))
    await settle()
    for suspend in (True, False):
        story.kube.edit(FINE_TUNE_JOBS, "default", "tune", {"spec": {"suspend": suspend}})
        await settle()
    story.end_pod("train", 0, a_published_report(story.job))
    await settle()
    return story, count


def arm(story: JobStory, after_writes: int, *, is_done: bool) -> None:
    """Have one write fail, so many writes from now."""
    left = after_writes
    inside = story.kube._meet_around

    def meet(verb: str, resource: Any, do: Any) -> Any:
        nonlocal left
        if verb in {"create", "apply", "patch", "delete"}:
            left -= 1
            if left == -1:
                if is_done:
                    inside(verb, resource, do)
                raise NotReady("the operator died here")
        return inside(verb, resource, do)

    story.kube._meet_around = meet  # type: ignore[method-assign]  # the n-th write of a pass, whatever it is


WRITES = 15  # of the story without a fault


async def test_the_undisturbed_story_has_so_many_writes() -> None:
    story, writes = await told()
    assert (writes, story.job.status.phase.value) == (WRITES, "Succeeded")


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(WRITES))
async def test_a_restart_around_every_write_ends_the_same(number: int, is_done: bool) -> None:
    (golden, _), (story, _) = await told(), await told(number, is_done=is_done)
    assert shape(story) == shape(golden)
