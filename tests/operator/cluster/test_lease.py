"""One writer at a time, by the pure core over random schedules, and by the election over a double of the API server."""

import pytest

from graft_core.errors import NotReady
from graft_operator.cluster.lease import Election, Fence, Record, Seen, Step, Timing, decide_lease, observe_lease
from graft_operator.ports import LEASES
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.operator.cluster.lease_world import LeaseWorld

TIMING = Timing()


@pytest.mark.parametrize("block", range(10))
def test_no_write_lands_from_a_replica_that_does_not_hold_the_lease(block: int) -> None:
    worlds = [LeaseWorld(seed).run() for seed in range(block * 50, block * 50 + 50)]
    assert [world.seed for world in worlds if world.split] == []
    assert sum(world.landed for world in worlds) > 50 * 50
    assert sum(world.refused for world in worlds) > 50 * 10
    assert any(len(world.leaders) > 2 for world in worlds)


@pytest.mark.parametrize(
    "timing",
    [Timing(deadline_s=25.0), Timing(duration_s=6.0)],
    ids=["a fence that shuts too late", "a take-over that comes too early"],
)
def test_the_world_would_show_a_split_brain(timing: Timing) -> None:
    assert any(LeaseWorld(seed, timing).run().split for seed in range(60))


@pytest.mark.parametrize(
    ("record", "age_s", "step"),
    [
        (None, 0.0, Step.CREATE),
        (Record("me", "1"), 99.0, Step.RENEW),
        (Record("", "1"), 0.0, Step.TAKE_OVER),
        (Record("other", "1"), 14.9, Step.WAIT),
        (Record("other", "1"), 15.1, Step.TAKE_OVER),
    ],
)
def test_a_step_follows_from_the_record_and_how_long_it_stood_still(
    record: Record | None, age_s: float, step: Step
) -> None:
    assert decide_lease(Seen(record, 100.0), 100.0 + age_s, "me", TIMING) is step


def test_a_record_ages_only_while_it_does_not_move() -> None:
    first = observe_lease(None, Record("other", "1"), 10.0)
    assert observe_lease(first, Record("other", "1"), 20.0) is first
    assert observe_lease(first, Record("other", "2"), 20.0).at == 20.0


class Contender:
    """A replica over the double, with a clock of its own."""

    def __init__(self, kube: FakeKube, name: str) -> None:
        self.clock = FakeClock()
        self.fence = Fence(self.clock, TIMING)
        self.election = Election(
            kube, self.fence, self.clock, namespace="graft", name="operator", identity=name, timing=TIMING
        )


def holder(kube: FakeKube) -> str:
    found = kube.find(LEASES, "graft", "operator")
    assert found is not None
    return str(found["spec"]["holderIdentity"])


async def test_the_first_leads_and_the_second_takes_over_only_after_the_lease_stood_still() -> None:
    kube = FakeKube()
    one, two = Contender(kube, "one"), Contender(kube, "two")
    assert await one.election.look() is Step.CREATE
    assert await two.election.look() is Step.WAIT
    for _ in range(20):  # renewed: two never sees it stand still
        one.clock.advance(2)
        two.clock.advance(2)
        assert await one.election.look() is Step.RENEW
        assert await two.election.look() is Step.WAIT
    two.clock.advance(15.5)
    assert await two.election.look() is Step.TAKE_OVER
    assert holder(kube) == "two"
    # One's own clock stood still while it was frozen; its next look tells it all the same.
    assert await one.election.look() is Step.WAIT
    assert not one.election.is_leading


async def test_a_leader_that_cannot_renew_stops_writing_before_another_may_start() -> None:
    kube = FakeKube()
    one = Contender(kube, "one")
    await one.election.look()
    one.clock.advance(9.9)
    one.fence.check()
    one.clock.advance(0.2)
    with pytest.raises(NotReady, match="does not lead") as caught:
        one.fence.check()
    assert caught.value.reason == "NotLeading"


async def test_a_renewal_whose_answer_was_lost_does_not_open_the_fence_but_is_found_again() -> None:
    kube = FakeKube()
    one = Contender(kube, "one")
    kube.fail("create", NotReady("cut"), is_done=True)
    with pytest.raises(NotReady, match="cut"):
        await one.election.look()
    assert not one.election.is_leading
    assert await one.election.look() is Step.RENEW
    assert one.election.is_leading


async def test_a_lease_that_is_given_back_is_taken_at_once() -> None:
    kube = FakeKube()
    one, two = Contender(kube, "one"), Contender(kube, "two")
    await one.election.look()
    await two.election.look()
    await one.election.release()
    assert not one.election.is_leading
    assert holder(kube) == ""
    assert await two.election.look() is Step.TAKE_OVER
    await one.election.release()  # not its own any more: left alone
    assert holder(kube) == "two"


async def test_run_tells_who_leads_and_outlives_an_api_server_that_does_not_answer() -> None:
    kube = FakeKube()
    one = Contender(kube, "one")
    told: list[bool] = []
    waits = 0

    class Over(Exception):
        pass

    async def wait(seconds: float) -> None:
        nonlocal waits
        waits += 1
        one.clock.advance(seconds)
        if waits == 2:
            for _ in range(24):
                kube.fail("get", NotReady("gone"), LEASES)
        if waits == 30:
            raise Over

    one.election._wait = wait
    with pytest.raises(Over):
        await one.election.run(told.append)
    assert told == [True, False, True]
