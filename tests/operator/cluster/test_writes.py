"""How much is written, exactly: nothing without news, and two writes for a pass that moves a rollout on. A job's writes: test_job_shell."""

import pytest

from tests.fakes.kserve import Version
from tests.operator.cluster.release_story import ReleaseStory
from tests.operator.cluster.test_release_story import is_released

MOVED = {"weights": "InferenceService", "unsplit": "HTTPRoute", "knative": "InferenceService"}


async def written(story: ReleaseStory) -> list[str]:
    """Let everybody act once; return what the operator wrote."""
    before = len(story.kube.writes)
    await story.step()
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
    # The first makes the arm; then come both steps and the promotion. What else is written is one status, for what was observed.
    moves = [writes for writes in passes[1:] if len(writes) > 1]
    assert moves == [[f"patch {MOVED[version]}", "patch ModelRelease/status"]] * 3
    assert {tuple(writes) for writes in passes if len(writes) == 1 and "ModelRelease" in writes[0]} == {
        ("patch ModelRelease/status",)
    }
