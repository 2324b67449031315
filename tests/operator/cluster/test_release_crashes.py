"""The operator dies before, or right after, each of its writes; another one ends where it would have ended."""

from collections.abc import Awaitable, Callable
from typing import Self, cast

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


async def prepare(version: Version, act: str) -> "Remembering":
    """Bring a story to where the act begins; the operator that does so does not die."""
    story = Remembering(version)
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


class Remembering(ReleaseStory):
    """A story that keeps how it stood before each write of its operator."""

    def __init__(self, version: Version) -> None:
        super().__init__(version)
        self.before: list[Remembering] = []
        """A story for each write, as it stood when the pass began that made it."""
        self.writer = CrashingCluster(self.kube, 0, is_done=False)

    def twin(self) -> Self:
        """Return a story that stands where this one stands, without its memories."""
        kept, self.before = self.before, []
        try:
            return super().twin()
        finally:
            self.before = kept

    async def run_pass(self) -> None:
        """Run one pass."""
        if self.writer.at:
            await super().run_pass()
            return
        here = self.twin()
        await super().run_pass()
        self.before += [here] * (self.writer.count - len(self.before))


async def tell(act: str, story: ReleaseStory) -> ReleaseStory:
    """Tell an act to its end, and what comes after it."""
    await ACTS[act](story)
    for _ in range(12):
        await story.step()
    return story


async def tell_with_death(act: str, story: Remembering, at: int, *, is_done: bool) -> ReleaseStory:
    """Have the operator die at that write, and another one go on."""
    story.writer.at, story.writer.is_done = at, is_done
    with pytest.raises(Crash):
        await ACTS[act](story)
    story.start(story.kube)
    story.pass_time()
    return await tell(act, story)


@pytest.mark.slow
@pytest.mark.no_cover  # thousands of passes: what they reach, the unit tests have covered
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("version", ["weights", "unsplit", "knative"])
async def test_a_death_at_any_write_changes_nothing_about_the_end(version: Version, act: str) -> None:
    golden = await prepare(version, act)
    golden.start(cast("Cluster", golden.writer))
    await tell(act, golden)
    wanted = golden.fingerprint()
    assert len(golden.before) >= 3
    for at, before in enumerate(golden.before, 1):
        for is_done in (False, True):
            story = await tell_with_death(act, before.twin(), at, is_done=is_done)
            where = f"{'after' if is_done else 'before'} write {at} of {len(golden.before)}"
            assert story.fingerprint() == wanted, where
            assert story.kserve.losses == golden.kserve.losses, where
