"""Whatever happens in whatever order: no arm is taken away while a gateway serves it, and weights always sum to 100."""

import asyncio
import contextlib
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft_operator.ports import Cluster
from tests.fakes.kserve import Version
from tests.operator.cluster.release_story import Crash, CrashingCluster, ReleaseStory

HAPPENINGS = (
    "pass",
    "pass",
    "pass",
    "tick",
    "tick",
    "tick",
    "wait",
    "publish",
    "abort",
    "go on",
    "deaf",
    "hears",
    "fails",
    "is dead",
    "die",
)


def check(story: ReleaseStory) -> None:
    """Hold what is written, and what the gateway serves, to the invariants."""
    assert story.kserve.losses == []
    for body in story.services.values():
        shares = [one["trafficPercent"] for one in body["spec"].get("canary", [])]
        assert all(0 <= share <= 100 for share in shares)
        assert sum(shares) <= 100
        assert len(shares) <= 1
    own = story.routes.get("shop")
    if own is not None and "shop" not in story.services:
        assert sum(ref["weight"] for ref in own["spec"]["rules"][0]["backendRefs"]) == 100


async def happen(story: ReleaseStory, what: str, number: int) -> None:
    release = story.release
    candidate = release.status.candidate.revision if release is not None and release.status.candidate else ""
    match what:
        case "pass":
            await story.run_pass()
        case "tick" | "wait":
            story.pass_time(1 if what == "tick" else 15)
        case "publish":
            story.publish(f"tune-{number}", f"{number % 16:x}")
        case "abort" | "go on":
            story.edit({"abort": what == "abort"})
        case "deaf" | "hears":
            story.kserve.is_gateway_deaf = what == "deaf"
        case "fails" | "is dead":
            (story.failing if what == "fails" else story.kserve.dead).add(candidate)
        case _:
            await die(story, number)


async def die(story: ReleaseStory, number: int) -> None:
    """Have the operator die in its next pass, at one of its first writes, and another one start."""
    story.start(cast("Cluster", CrashingCluster(story.kube, 1 + number % 3, is_done=bool(number % 2))))
    with contextlib.suppress(Crash):
        await story.run_pass()
    story.start(story.kube)


@pytest.mark.slow
@pytest.mark.no_cover  # thousands of passes: what they reach, the unit tests have covered
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    version=st.sampled_from(["weights", "unsplit", "knative"]),
    happenings=st.lists(st.sampled_from(HAPPENINGS), min_size=20, max_size=70),
)
def test_no_order_of_happenings_takes_an_arm_away_that_is_served(version: Version, happenings: list[str]) -> None:
    async def tell() -> None:
        story = ReleaseStory(version)
        for _ in range(10):
            await story.step()
        for number, what in enumerate(happenings):
            await happen(story, what, number)
            check(story)
        story.kserve.is_gateway_deaf = False
        story.kserve.dead.clear()
        story.edit({"abort": False})
        for _ in range(150):
            await story.step()
            check(story)
        release = story.release
        assert release is not None
        assert release.status.candidate is None
        if release.status.stable is None:
            # The first release was taken back before it served: row 11 waits for another spec.
            outcomes = [entry.outcome for entry in release.status.history]
            assert "RolledBack" in outcomes
            assert "Promoted" not in outcomes
        else:
            assert release.status.stable.weight == 100

    asyncio.run(tell())
