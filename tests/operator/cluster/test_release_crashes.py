"""The operator dies before, or right after, each of its writes; another one ends where it would have ended."""

from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_operator.ports import Cluster
from tests.fakes.kserve import Version
from tests.operator.cluster.release_story import Crash, CrashingCluster, ReleaseStory

Story = Callable[[ReleaseStory], Awaitable[None]]


def is_settled(release: ModelRelease) -> bool:
    status = release.status
    return status.candidate is None and status.draining is None and status.phase in {"Released", "RolledBack"}


async def to_first_release(story: ReleaseStory) -> None:
    await story.until(is_settled)


async def to_promotion(story: ReleaseStory) -> None:
    await story.until(lambda r: is_settled(r) and len(r.status.history) > 1)


async def to_rollback(story: ReleaseStory) -> None:
    def holds(release: ModelRelease) -> bool:
        if release.status.candidate is not None:
            story.failing.add(release.status.candidate.revision)
        return is_settled(release) and len(release.status.history) > 1

    await story.until(holds)
    for _ in range(6):
        await story.step()


async def to_the_end(story: ReleaseStory) -> None:
    await story.until_gone()


async def prepare(version: Version, act: str) -> ReleaseStory:
    """Bring a story to where the act begins; the operator that does so does not die."""
    story = ReleaseStory(version)
    if act != "first":
        await story.until(is_settled)
        story.publish("tune-2", "f")
    if act == "delete":
        await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 10)
        story.delete()
    return story


ACTS: dict[str, Story] = {
    "first": to_first_release,
    "promote": to_promotion,
    "abort": to_rollback,
    "delete": to_the_end,
}


async def tell(version: Version, act: str, at: int, *, is_done: bool) -> tuple[ReleaseStory, int]:
    """Tell an act with one death in it; returns the writes of the one who died."""
    story = await prepare(version, act)
    crashing = CrashingCluster(story.kube, at, is_done=is_done)
    story.start(cast("Cluster", crashing))
    try:
        await ACTS[act](story)
    except Crash:
        story.start(story.kube)
        story.pass_time()
        await ACTS[act](story)
    for _ in range(12):
        await story.step()
    return story, crashing.count


@pytest.mark.slow
@pytest.mark.no_cover  # thousands of passes: what they reach, the unit tests have covered
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("version", ["weights", "unsplit", "knative"])
async def test_a_death_at_any_write_changes_nothing_about_the_end(version: Version, act: str) -> None:
    golden, count = await tell(version, act, -1, is_done=False)
    wanted = golden.fingerprint()
    assert count >= 3
    for at in range(1, count + 1):
        for is_done in (False, True):
            story, _ = await tell(version, act, at, is_done=is_done)
            where = f"{'after' if is_done else 'before'} write {at} of {count}"
            assert story.fingerprint() == wanted, where
            assert story.kserve.losses == golden.kserve.losses, where
