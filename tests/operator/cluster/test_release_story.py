"""A release's life on a cluster, under each strategy: made, rolled out, promoted, taken back, changed half-way, deleted."""

from collections.abc import Callable

import pytest

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from tests.fakes.kserve import Version
from tests.operator.cluster.release_story import ReleaseStory

VERSIONS: tuple[Version, ...] = ("weights", "unsplit", "before", "knative")
ROLLOUTS: tuple[Version, ...] = ("weights", "unsplit", "knative")
"""What is different once the first arm is there."""
STRATEGIES = {"weights": "KServeWeights", "unsplit": "Slots", "before": "Slots", "knative": "Knative"}


def is_released(release: ModelRelease) -> bool:
    return release.status.phase == "Released" and release.status.draining is None


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_first_release_serves_under_the_strategy_that_was_found_out(version: Version) -> None:
    story = ReleaseStory(version)
    release = await story.until(is_released)
    assert release.status.traffic_strategy == STRATEGIES[version]
    assert release.status.stable is not None
    assert release.status.stable.weight == 100
    assert release.status.url
    assert "shop-probe" not in story.services
    assert story.kserve.losses == []


async def released(version: Version, spec: dict[str, object] | None = None) -> tuple[ReleaseStory, str]:
    story = ReleaseStory(version, spec)
    release = await story.until(is_released)
    assert release.status.stable is not None
    return story, release.status.stable.revision


def serves(revision: str) -> Callable[[ModelRelease], bool]:
    def holds(release: ModelRelease) -> bool:
        status = release.status
        return is_released(release) and status.stable is not None and status.stable.revision == revision

    return holds


async def begun(story: ReleaseStory, *, weight: int = 0) -> str:
    release = await story.until(
        lambda r: (
            r.status.candidate is not None
            and r.status.candidate.weight >= max(weight, 0)
            and (not weight or r.status.candidate.weight == weight)
        )
    )
    assert release.status.candidate is not None
    return release.status.candidate.revision


@pytest.mark.parametrize("version", ROLLOUTS)
async def test_a_second_revision_goes_through_its_steps_and_is_promoted(version: Version) -> None:
    story, first = await released(version)
    story.publish("tune-2", "f")
    second = await begun(story)
    assert second != first
    seen: list[int] = []

    def note(release: ModelRelease) -> bool:
        weight = release.status.candidate.weight if release.status.candidate else 100
        if weight not in seen:
            seen.append(weight)
        return serves(second)(release)

    release = await story.until(note)
    assert seen == sorted(seen)
    assert {10, 50, 100} <= set(seen)
    assert [(entry.revision, entry.outcome) for entry in release.status.history] == [
        (first, "Promoted"),
        (second, "Promoted"),
    ]
    assert story.kserve.losses == []
    assert len([name for name in story.services if name != "shop-probe"]) == 1


@pytest.mark.parametrize("version", ROLLOUTS)
async def test_a_candidate_that_fails_is_taken_back_and_the_stable_arm_serves_alone(version: Version) -> None:
    story, first = await released(version)
    story.publish("tune-2", "f")
    second = await begun(story)
    story.failing.add(second)
    release = await story.until(lambda r: r.status.phase == "RolledBack" and r.status.draining is None)
    assert release.status.stable is not None
    assert (release.status.stable.revision, release.status.stable.weight) == (first, 100)
    assert release.status.history[-1].reason == "AnalysisFailed"
    for _ in range(10):
        await story.step()
    assert story.kserve.losses == []
    assert all("canary" not in body["spec"] for body in story.services.values())
    assert all("canaryTrafficPercent" not in body["spec"]["predictor"] for body in story.services.values())


@pytest.mark.parametrize("version", ROLLOUTS)
async def test_a_person_may_abort_in_mid_rollout(version: Version) -> None:
    story, first = await released(version)
    story.publish("tune-2", "f")
    await begun(story, weight=10)
    story.edit({"abort": True})
    release = await story.until(lambda r: r.status.candidate is None and r.status.draining is None)
    assert release.status.stable is not None
    assert release.status.stable.revision == first
    assert release.status.history[-1].reason == "Aborted"
    assert story.kserve.losses == []


@pytest.mark.slow
@pytest.mark.no_cover  # thousands of passes: what they reach, the unit tests have covered
@pytest.mark.parametrize("version", ROLLOUTS)
async def test_another_spec_in_mid_rollout_begins_anew_from_the_first_step(version: Version) -> None:
    story, first = await released(version)
    story.publish("tune-2", "f")
    second = await begun(story, weight=50)
    story.publish("tune-3", "d")
    release = await story.until(lambda r: r.status.candidate is not None and r.status.candidate.revision != second)
    assert release.status.candidate is not None
    third = release.status.candidate.revision
    release = await story.until(serves(third))
    assert [(entry.revision, entry.outcome) for entry in release.status.history] == [
        (first, "Promoted"),
        (second, "Superseded"),
        (third, "Promoted"),
    ]
    assert story.kserve.losses == []


@pytest.mark.parametrize("version", ROLLOUTS)
async def test_deleting_in_mid_rollout_gives_the_stable_arm_all_traffic_first(version: Version) -> None:
    story, _ = await released(version)
    story.publish("tune-2", "f")
    await begun(story, weight=10)
    story.delete()
    await story.until_gone()
    assert {name for name in story.services if name != "shop-probe"} == set()
    assert story.routes == {}
    # What KServe and the gateway were made to drop was the stable arm, at the very end.
    assert len(story.kserve.losses) <= 1


@pytest.mark.slow
@pytest.mark.no_cover  # thousands of passes: what they reach, the unit tests have covered
@pytest.mark.parametrize("version", ROLLOUTS)
async def test_a_person_may_go_back_to_an_earlier_revision(version: Version) -> None:
    story, first = await released(version)
    story.publish("tune-2", "f")
    await story.until(lambda r: is_released(r) and len(r.status.history) == 2)
    story.edit({"rollbackTo": first})
    release = await story.until(serves(first))
    assert release.status.stable is not None
    assert story.kserve.losses == []


@pytest.mark.parametrize("version", ROLLOUTS)
async def test_a_candidate_that_is_never_ready_is_taken_back_with_the_reason(version: Version) -> None:
    story, first = await released(
        version, {"rollout": {"steps": [{"weight": 10}], "progressDeadlineSeconds": 15, "scaleDownDelaySeconds": 1}}
    )
    story.publish("tune-2", "f")
    second = await begun(story)
    story.kserve.dead.add(second)
    release = await story.until(lambda r: r.status.phase == "RolledBack" and r.status.draining is None)
    assert release.status.stable is not None
    assert release.status.stable.revision == first
    assert story.kserve.losses == []


@pytest.mark.parametrize("version", ROLLOUTS)
async def test_a_settled_release_is_not_written_to(version: Version) -> None:
    story, _ = await released(version)
    for _ in range(3):
        await story.step()
    before = len(story.kube.writes)
    for _ in range(5):
        await story.step(60)
    assert story.kube.writes[before:] == []
