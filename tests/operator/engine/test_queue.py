"""The work queue: one pass a key at a time, none lost, a turn for everybody, failures with pauses."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_operator.engine.queue import Pace, WorkQueue
from tests.fakes.clock import FakeClock


def make(pace: Pace | None = None, draw: float = 0.0) -> tuple[WorkQueue[str], FakeClock]:
    clock = FakeClock()
    return WorkQueue(clock, pace or Pace(), lambda: draw), clock


def test_a_key_waits_once_however_often_it_is_marked() -> None:
    queue, _ = make()
    for key in "aabab":
        queue.mark(key)
    assert [queue.take(), queue.take(), queue.take()] == ["a", "b", None]
    assert queue.running == 2


def test_a_mark_while_it_runs_means_one_more_pass_after_it_at_the_end_of_the_line() -> None:
    queue, _ = make()
    queue.mark("a")
    assert queue.take() == "a"
    queue.mark("a")
    queue.mark("a")
    queue.mark("b")
    assert queue.take() == "b"
    assert queue.take() is None
    queue.done("a", None)
    assert queue.take() == "a"
    queue.done("a", None)
    assert queue.take() is None


def test_a_mark_that_the_pass_under_way_has_made_moot_means_none() -> None:
    queue, clock = make()
    queue.mark("a")
    assert queue.take() == "a"
    queue.mark("a", 0.0, lambda: True)
    queue.done("a", 5.0)
    assert queue.take() is None
    clock.advance(5.0)
    assert queue.take() == "a"
    queue.mark("a", 0.0, lambda: True)
    queue.mark("a", 0.0, lambda: False)
    queue.done("a", None)
    assert queue.take() == "a"


def test_no_more_run_than_there_are_places() -> None:
    queue, _ = make(Pace(max_running=2))
    for key in "abc":
        queue.mark(key)
    assert [queue.take(), queue.take(), queue.take()] == ["a", "b", None]
    assert queue.due_s() is None
    queue.done("a", None)
    assert queue.due_s() == 0.0
    assert queue.take() == "c"


def test_what_is_due_later_comes_later_and_the_earliest_time_counts() -> None:
    queue, clock = make()
    queue.mark("a", 60)
    queue.mark("a", 10)
    queue.mark("a", 30)
    assert queue.take() is None
    assert queue.due_s() == 10
    clock.jump(3600)  # the wall clock is nobody's business
    assert queue.take() is None
    clock.advance(10)
    assert queue.take() == "a"
    queue.done("a", 5)
    assert queue.due_s() == 5
    queue.mark("a")
    assert queue.take() == "a"


def test_a_failure_is_followed_by_a_longer_pause_each_time_until_one_goes_through() -> None:
    queue, clock = make(draw=0.999)
    queue.mark("a")
    waits: list[float] = []
    for _ in range(12):
        assert queue.take() == "a"
        waits.append(queue.failed("a", 0.2))
        assert queue.take() is None
        clock.advance(waits[-1])
    assert waits[:3] == pytest.approx([0.2, 0.4, 0.8], rel=1e-2)
    assert waits[-1] == pytest.approx(30, rel=1e-2)
    assert queue.take() == "a"
    queue.done("a", None)
    queue.mark("a")
    assert queue.take() == "a"
    assert queue.failed("a", 0.2) == pytest.approx(0.2, rel=1e-2)


def test_a_failure_may_have_a_bound_of_its_own() -> None:
    queue, clock = make(draw=0.999)
    queue.mark("a")
    wait_s = 0.0
    for _ in range(20):
        assert queue.take() == "a"
        wait_s = queue.failed("a", 0.02, longest_s=1.0)
        clock.advance(wait_s)
    assert wait_s == pytest.approx(1.0, rel=1e-2)


def test_a_mark_brings_a_failed_key_forward_but_not_before_the_server_said() -> None:
    queue, clock = make()
    queue.mark("a")
    queue.take()
    queue.failed("a", 20.0)
    queue.mark("a")
    assert queue.take() == "a"
    queue.failed("a", 0.2, at_least_s=60.0)
    queue.mark("a")
    assert queue.take() is None
    clock.advance(59.9)
    queue.mark("a")
    assert queue.take() is None
    clock.advance(0.2)
    assert queue.take() == "a"


def test_a_key_that_is_marked_all_the_time_is_put_off_and_others_are_not() -> None:
    queue, clock = make(Pace(max_running=1, burst=5, per_s=2))
    turns: Counter[str] = Counter()
    waited: list[float] = []
    marked = 0.0
    for step in range(1000):  # 10 s; "hot" is marked 100 times a second, the others now and then
        queue.mark("hot")
        if step % 50 == 0:
            queue.mark(f"calm-{step}")
            marked = clock.monotonic()
        while (key := queue.take()) is not None:
            turns[key] += 1
            if key != "hot":
                waited.append(clock.monotonic() - marked)
            queue.done(key, None)
        clock.advance(0.01)
    assert 5 + 2 * 9 <= turns["hot"] <= 5 + 2 * 10 + 1
    assert len(waited) == 20
    assert max(waited) == 0.0


def test_a_forgotten_key_gets_no_pass_even_if_one_was_under_way() -> None:
    queue, clock = make()
    queue.mark("a")
    queue.mark("b", 5)
    assert queue.take() == "a"
    queue.forget("a")
    queue.forget("b")
    queue.done("a", 1.0)
    clock.advance(10)
    assert queue.take() is None
    assert queue.due_s() is None
    queue.mark("a")  # another object of that name
    assert queue.take() == "a"


@given(seed=st.integers(0, 10_000))
def test_no_mark_is_lost_and_no_key_runs_twice_at_a_time(seed: int) -> None:
    draw = random.Random(seed)
    clock = FakeClock()
    queue: WorkQueue[int] = WorkQueue(clock, Pace(max_running=3, burst=4, per_s=2), draw.random)
    running: set[int] = set()
    wanted: set[int] = set()

    def take() -> None:
        while (key := queue.take()) is not None:
            assert key not in running
            running.add(key)
            wanted.discard(key)
            assert len(running) <= 3

    def finish(key: int) -> None:
        running.discard(key)
        if draw.random() < 0.3:
            queue.failed(key, 0.2, draw.choice([0.0, 0.0, 3.0]))
            wanted.add(key)
        else:
            queue.done(key, draw.choice([None, 0.0, 1.0]))

    for _ in range(60):
        key = draw.randrange(6)
        queue.mark(key, draw.choice([0.0, 0.0, 0.5]))
        wanted.add(key)
        take()
        if running and draw.random() < 0.7:
            finish(draw.choice(sorted(running)))
        clock.advance(draw.choice([0.0, 0.01, 0.3]))
    for _ in range(200):
        take()
        for key in sorted(running):
            running.discard(key)
            queue.done(key, None)
        due_s = queue.due_s()
        clock.advance(due_s or 0.0)
    assert wanted == set()
    assert (queue.depth, queue.running, queue.due_s()) == (0, 0, None)
