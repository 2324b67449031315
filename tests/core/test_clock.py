"""Time stamps as Kubernetes writes them, and clocks."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from graft_core.clock import SystemClock, from_rfc3339, to_rfc3339


def test_time_stamps_are_utc_with_microseconds() -> None:
    at = datetime(2026, 1, 31, 16, 0, tzinfo=timezone(timedelta(hours=7)))
    assert to_rfc3339(at) == "2026-01-31T09:00:00.000000Z"
    assert from_rfc3339("2026-01-31T09:00:00Z") == at
    assert from_rfc3339(to_rfc3339(at)) == at


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        from_rfc3339("2026-01-31T09:00:00")


def test_the_systems_clocks_go_forward() -> None:
    clock = SystemClock()
    before, start = clock.now(), clock.monotonic()
    assert before.tzinfo is UTC
    assert clock.now() >= before
    assert clock.monotonic() >= start
