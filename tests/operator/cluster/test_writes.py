"""How much is written, exactly: nothing without news, and two writes for a step of a rollout. A job's writes: test_job_shell."""

import pytest

from graft_core.api.conditions import find_condition
from tests.fakes.kserve import Version
from tests.operator.cluster.release_story import SPEC, ReleaseStory
from tests.operator.cluster.test_release_story import is_released

MOVED = {"weights": "InferenceService", "unsplit": "HTTPRoute", "knative": "InferenceService"}


async def written(story: ReleaseStory, seconds: float = 1.0) -> list[str]:
    """Let everybody act once; return what the operator wrote."""
    before = len(story.kube.writes)
    await story.step(seconds)
    return [f"{one.verb} {one.resource.kind}{one.subresource and '/status'}" for one in story.kube.writes[before:]]


@pytest.mark.parametrize("version", MOVED)
async def test_a_released_service_costs_no_write_and_a_step_of_its_rollout_moves_with_two(version: Version) -> None:
    story = ReleaseStory(version)
    await story.until(is_released)
    await story.step()
    assert [await written(story) for _ in range(3)] == [[], [], []]
    story.publish("tune-2", "a")
    passes = [await written(story) for _ in range(40)]
    assert passes[-3:] == [[], [], []]
    # The first makes the arm. Then come both steps, each with two writes: the weights, and a status when the gateway has them.
    # The promotion is told of as it begins; the rest is what becomes of the old arm.
    rollout = [writes for writes in passes[1:] if writes]
    move, status = f"patch {MOVED[version]}", "patch ModelRelease/status"
    assert rollout[:6] == [[move], [status], [move], [status], [move, status], [status]]
    assert all(len(writes) == 1 for writes in rollout[6:])
    assert len(rollout) <= 9


async def test_figures_of_a_long_step_are_written_twice_a_minute() -> None:
    steps = [{"weight": 10, "minDurationSeconds": 100, "minRequests": 10}]
    story = ReleaseStory(spec={"rollout": {**SPEC["rollout"], "steps": steps}})
    await story.until(is_released)
    story.publish("tune-2", "a")
    await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight_since is not None)
    passes = [await written(story, 5.0) for _ in range(19)]
    assert [writes for writes in passes if writes] == [["patch ModelRelease/status"]] * 2


async def test_a_gateway_that_takes_long_is_told_of_after_ten_seconds() -> None:
    story = ReleaseStory()
    await story.until(is_released)
    story.kserve.is_gateway_deaf = True
    story.publish("tune-2", "a")
    passes = [await written(story) for _ in range(20)]
    (moved,) = [number for number, writes in enumerate(passes) if writes == ["patch InferenceService"]]
    (told,) = [number for number, writes in enumerate(passes[moved:]) if writes == ["patch ModelRelease/status"]]
    assert told == 10
    assert story.release is not None
    split = find_condition(story.release.status.conditions, "TrafficSplit")
    assert split is not None
    assert split.reason == "Shifting"
