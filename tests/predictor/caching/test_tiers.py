"""Where answers wait: one contract for both tiers, and what only the disk can do."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from graft_predictor.caching import exact
from graft_predictor.caching.base import MAX_ENTRY_CHARS, CachedAnswer, Tier
from graft_predictor.caching.exact import ExactTier
from graft_predictor.caching.memory import MemoryTier
from graft_predictor.engines.base import Usage
from tests.predictor.doubles import SetClock

ANSWER = CachedAnswer("áo khoác", Usage(3, 2), {"a": 0.25})


class Faults:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def open_tier(path: Path, clock: SetClock | None = None, faults: Faults | None = None) -> ExactTier:
    return ExactTier(path, ttl_s=60, clock=clock or SetClock(), on_fault=faults or Faults())


@pytest.fixture(params=["memory", "exact"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    if request.param == "memory":
        yield MemoryTier(2)
        return
    made = open_tier(tmp_path / "a.sqlite3")
    yield made
    made.close()


async def test_what_was_put_is_got(tier: Tier) -> None:
    await tier.put(b"k", ANSWER)

    assert await tier.get(b"k") == ANSWER
    assert await tier.get(b"other") is None


async def test_a_later_answer_replaces_the_earlier(tier: Tier) -> None:
    later = CachedAnswer("later", Usage(1, 1))
    await tier.put(b"k", ANSWER)
    await tier.put(b"k", later)

    assert await tier.get(b"k") == later


async def test_a_huge_answer_is_not_kept(tier: Tier) -> None:
    await tier.put(b"k", CachedAnswer("x" * (MAX_ENTRY_CHARS + 1), Usage(1, 1)))

    assert await tier.get(b"k") is None


async def test_memory_forgets_what_was_used_longest_ago() -> None:
    tier = MemoryTier(2)
    await tier.put(b"1", ANSWER)
    await tier.put(b"2", ANSWER)
    await tier.get(b"1")
    await tier.put(b"3", ANSWER)

    assert [await tier.get(key) is not None for key in (b"1", b"2", b"3")] == [True, False, True]


async def test_an_answer_survives_a_restart_and_expires_in_its_time(tmp_path: Path) -> None:
    clock = SetClock()
    first = open_tier(tmp_path / "a", clock)
    await first.put(b"k", ANSWER)
    first.close()
    second = open_tier(tmp_path / "a", clock)

    clock.forward(59)
    assert await second.get(b"k") == ANSWER
    clock.forward(1)
    assert await second.get(b"k") is None
    second.close()


async def test_what_expired_is_swept_away(tmp_path: Path) -> None:
    clock = SetClock()
    tier = open_tier(tmp_path / "a", clock)
    await tier.put(b"old", ANSWER)
    clock.forward(100)
    for i in range(exact.SWEEP_EVERY):
        tier._upsert(bytes([i % 250]), b"{}", clock.now().timestamp())
    tier.close()

    with sqlite3.connect(tmp_path / "a") as db:
        assert db.execute("SELECT count(*) FROM answers WHERE key = ?", (b"old",)).fetchone() == (0,)
    db.close()


async def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"this is no database at all, but long enough to be looked at" * 50)
    tier = open_tier(tmp_path / "a")
    await tier.put(b"k", ANSWER)

    assert await tier.get(b"k") == ANSWER
    tier.close()


async def test_a_damaged_entry_is_a_miss_and_a_fault(tmp_path: Path) -> None:
    faults = Faults()
    tier = open_tier(tmp_path / "a", faults=faults)
    await tier.put(b"k", ANSWER)
    with sqlite3.connect(tmp_path / "a") as db:
        db.execute("UPDATE answers SET answer = ?", (b"[1]",))
    db.close()

    assert await tier.get(b"k") is None
    assert faults.count == 1
    tier.close()


async def test_a_folder_that_is_gone_fails_open(tmp_path: Path) -> None:
    faults = Faults()
    tier = open_tier(tmp_path / "no" / "a", faults=faults)
    await tier.put(b"k", ANSWER)

    assert await tier.get(b"k") is None
    assert faults.count == 2
    tier.close()


async def test_a_slow_disk_is_waited_for_no_longer_than_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    gate = threading.Event()
    monkeypatch.setattr(exact, "BUDGET_S", 0.01)
    faults = Faults()
    tier = open_tier(tmp_path / "a", faults=faults)
    tier._thread.submit(gate.wait)

    assert await tier.get(b"k") is None
    assert faults.count == 1
    gate.set()
    tier.close()


async def test_more_calls_than_may_wait_are_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "MAX_PENDING", 1)
    faults = Faults()
    tier = open_tier(tmp_path / "a", faults=faults)
    await asyncio.gather(*(tier.get(b"k") for _ in range(3)))

    assert faults.count == 2
    tier.close()


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"text": 1, "usage": 2, "scores": null}'])
def test_bytes_of_something_else_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cached answer|Input|unexpected|JSON|line"):
        CachedAnswer.from_bytes(data)
