"""The status of a pass while it is being decided: collects changes and gives the old object back where there were none.

A condition that changes its status or reason is told as an event too, so that events follow from the status and are never repeated.
"""

from datetime import datetime
from typing import Generic

from graft_core.api.conditions import Condition, ConditionStatus
from graft_core.clock import from_rfc3339, to_rfc3339
from graft_core.errors import Corrupt
from graft_operator.reconcile.decision import Event, StatusT

__all__ = ["Draft", "clip", "parse_time", "seconds_between"]

MESSAGE_BYTES = 640
"""UTF-8 bytes of a condition's message: with at most ten conditions they take a fifth of a status of 32 KiB."""


class Draft(Generic[StatusT]):
    """Changes to one status; lives for one pass."""

    def __init__(self, status: StatusT, *, generation: int, now: datetime) -> None:
        self.old: StatusT = status
        self._conditions = {condition.type: condition for condition in status.conditions}
        self._is_changed = False
        self._now = now
        self._stamp = ""
        self.events: list[Event] = []
        self._generation = generation
        self._changes: dict[str, object] = {}

    def put(self, **values: object) -> None:
        """Set fields of the status by their Python names."""
        for name, value in values.items():
            old = getattr(self.old, name)
            if old is value or old == value:
                self._changes.pop(name, None)
            else:
                self._changes[name] = value

    def condition(
        self, kind: str, status: ConditionStatus, reason: str, message: str, *, is_warning: bool = False
    ) -> None:
        """Set a condition; a change of its status or reason becomes an event."""
        old = self._conditions.get(kind)
        if self._says(old, status, reason, message):
            return
        text, reason = clip(message, MESSAGE_BYTES), _camel(reason)
        if self._says(old, status, reason, text):
            return
        is_moved = old is None or old.status != status
        self._conditions[kind] = Condition(
            type=kind,
            status=status,
            reason=reason,
            message=text,
            observed_generation=self._generation,
            last_transition_time=self.stamp if old is None or is_moved else old.last_transition_time,
        )
        self._is_changed = True
        if old is None or is_moved or old.reason != reason:
            self.tell(reason, text, is_warning=is_warning)

    @property
    def stamp(self) -> str:
        """The time of the pass, as statuses hold it."""
        # Kept by hand: until Python 3.12 cached_property takes a lock, a tenth of a pass.
        if not self._stamp:
            self._stamp = to_rfc3339(self._now)
        return self._stamp

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions as they stand, in the order of their first appearance."""
        return tuple(self._conditions.values())

    def find(self, kind: str) -> Condition | None:
        """Return the condition of this type as it stands."""
        return self._conditions.get(kind)

    def _says(self, old: Condition | None, status: ConditionStatus, reason: str, message: str) -> bool:
        return (
            old is not None
            and old.status == status
            and old.reason == reason
            and old.message == message
            and old.observed_generation == self._generation
        )

    def tell(self, reason: str, message: str, *, is_warning: bool = False) -> None:
        """Add an event; what two conditions say alike is told once."""
        for event in self.events:
            if event.reason == reason and event.message == message:
                return
        self.events.append(Event("Warning" if is_warning else "Normal", reason, message))

    def finish(self, phase: str) -> StatusT:
        """Return the new status, or the old object where nothing changed."""
        if self._is_changed:
            self._changes["conditions"] = self.conditions
        self.put(phase=phase, observed_generation=self._generation)
        if not self._changes:
            return self.old
        changed: StatusT = self.old.model_copy(update=self._changes)
        return changed


def _camel(reason: str) -> str:
    """Keep what the API allows as a reason; those of pods and stores come from elsewhere."""
    if reason.isalpha() and reason.isascii() and reason[0].isupper():
        return reason[:64]
    letters = "".join(char for char in reason if char.isascii() and char.isalpha())[:64]
    return letters[:1].upper() + letters[1:] or "Unknown"


def clip(text: str, max_bytes: int) -> str:
    """Cut a text so that its UTF-8 form fits, at a character's end."""
    # A character takes four bytes at most, so that most texts need no encoding to know that they fit.
    if len(text) * 4 <= max_bytes:
        return text
    raw = text.encode("utf-8", errors="replace")
    if len(raw) <= max_bytes:
        return text
    return raw[: max_bytes - 3].decode("utf-8", errors="ignore") + "…"


def parse_time(text: str, path: str) -> datetime:
    """Read a time stamp that Graft or the API server wrote.

    Args:
        text: RFC 3339.
        path: Where it stands, for the message.

    Returns:
        An aware time.

    Raises:
        Corrupt: It is not RFC 3339.
    """
    try:
        return from_rfc3339(text)
    except ValueError as err:
        raise Corrupt(f"{path} holds {text!r}; expected RFC 3339. Delete the object and apply it again") from err


def seconds_between(earlier: datetime, later: datetime) -> float:
    """Seconds from one time to another, never below 0: a clock that jumped back must not lengthen a wait."""
    return max(0.0, (later - earlier).total_seconds())
