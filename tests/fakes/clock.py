"""A clock that moves when a test says so."""

from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """Wall clock and monotonic clock, moved by hand; together, or the wall clock alone."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """Wall-clock time."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since some start."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock; no time passes."""
        self._now += timedelta(seconds=seconds)
