"""The only place that asks for the time.

Deadlines and waits use `monotonic`, which no clock jump moves; time stamps that people read use `now` (UTC, aware).
"""

import time
from datetime import UTC, datetime
from typing import Final, Protocol

__all__ = ["Clock", "SystemClock", "from_rfc3339", "to_rfc3339"]


_PAIRS: Final = tuple(f"{number:02}" for number in range(60))


class Clock(Protocol):
    """What the rest of Graft may know of time."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()


def to_rfc3339(at: datetime) -> str:
    """Format as Kubernetes does: UTC with microseconds (metav1.MicroTime) and a `Z`."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    # A third of what isoformat costs, which goes through C's printf: every pass that changes something writes the time.
    return (
        f"{str(utc.year).zfill(4)}-{_PAIRS[utc.month]}-{_PAIRS[utc.day]}"
        f"T{_PAIRS[utc.hour]}:{_PAIRS[utc.minute]}:{_PAIRS[utc.second]}.{str(utc.microsecond).zfill(6)}Z"
    )


def from_rfc3339(text: str) -> datetime:
    """Parse an RFC 3339 time stamp into an aware UTC time.

    Raises:
        ValueError: The text is not RFC 3339, or has no offset.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"time stamp {text!r} has no offset; expected RFC 3339 such as '2026-01-31T09:00:00Z'")
    return at.astimezone(UTC)
