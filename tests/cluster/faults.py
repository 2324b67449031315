"""What a fault proxy can do to a request, and what it remembers of one."""

from dataclasses import dataclass, field
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Action", "Delay", "DropAfter", "DropBefore", "Duplicate", "Hold", "Refuse", "Seen", "is_uncounted"]

WRITES = {"POST", "PUT", "PATCH", "DELETE"}

REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
"""The server's own words for a status."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer in the server's place; it never sees the request."""

    status: int
    retry_after_s: int | None = None
    message: str = "refused by the fault proxy"

    def body(self) -> dict[str, Any]:
        """A Status object."""
        reason = REASONS.get(self.status, "")
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return {**status, "reason": reason, "code": self.status, "message": self.message}


@dataclass(frozen=True, slots=True)
class DropBefore:
    """Cut the connection: the server never sees the request, and the client cannot know."""


@dataclass(frozen=True, slots=True)
class DropAfter:
    """Let the server do it, then cut the connection: the client cannot know that it was done."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Send it twice, as a network that repeats does; the client gets the second answer."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Let it wait on its way there."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Let it wait on its way there until the test sets the event."""

    until: Event


Action = Refuse | DropBefore | DropAfter | Duplicate | Delay | Hold


@dataclass(slots=True)
class Seen:
    """One request as it passed."""

    number: int
    """1, 2, … of counted writes; 0 for all else."""
    method: str
    path: str
    """Without the query."""
    query: dict[str, str]
    body: Any = None
    """Of a write, parsed."""
    status: int | None = None
    """What the client was answered; None when it was not."""
    headers: dict[str, str] = field(default_factory=dict)
    """As sent, without the token."""

    @property
    def is_write(self) -> bool:
        """Does it change anything, dry runs aside?"""
        return self.method in WRITES and "dryRun" not in self.query

    @property
    def is_watch(self) -> bool:
        """Is it a stream?"""
        return self.query.get("watch", "").lower() in {"1", "true"}

    def __str__(self) -> str:
        """As a line of a log."""
        return f"#{self.number} {self.method} {self.path} -> {self.status}"


def is_uncounted(seen: Seen) -> bool:
    """Is this a write whose moment depends on the clock and not on what is to be done: leases, events, questions?"""
    last = seen.path.rsplit("/", 1)[-1]
    kinds = {"leases", "events"} & set(seen.path.split("/"))
    return bool(kinds) or last.endswith(("reviews", "token"))


def query_of(url: str) -> dict[str, str]:
    """The query's parameters, the last of each name."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}
