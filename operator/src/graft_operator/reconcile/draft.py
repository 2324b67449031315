"""The status of a pass while it is being decided: collects changes and gives the old object back where there were none.

A condition that changes its status or reason is told as an event too, so that events follow from the status and are never repeated.
"""

from datetime import datetime
from functools import lru_cache
from typing import Final, Generic, Literal

from graft_core.api.conditions import Condition, ConditionStatus, make_condition
from graft_core.clock import from_rfc3339, to_rfc3339
from graft_core.errors import Corrupt
from graft_operator.reconcile.decision import Event, StatusT

__all__ = ["Draft", "clip", "parse_time", "seconds_between"]

MESSAGE_BYTES: Final = 640
"""UTF-8 bytes of a condition's message: with at most ten conditions they take a fifth of a status of 32 KiB."""
SHORT: Final = MESSAGE_BYTES // 4
"""Characters that fit whatever they are: none takes more than four bytes."""
_read: Final = lru_cache(maxsize=512)(from_rfc3339)
"""The time stamps of a status stay for hours, and every pass reads them."""


class Draft(Generic[StatusT]):
    """Changes to one status; lives for one pass."""

    def __init__(self, status: StatusT, generation: int, now: datetime) -> None:
        self.old: StatusT = status
        self.by_type = {condition.type: condition for condition in status.conditions}
        """The conditions as they stand."""
        self._is_changed = False
        self._now = now
        self._stamp = ""
        self.events: list[Event] = []
        self._generation = generation
        self._changes: dict[str, object] = {}

    def put(self, **values: object) -> None:
        """Set fields of the status by their Python names."""
        for name, value in values.items():
            self.put_one(name, value)

    def put_one(self, name: str, value: object) -> None:
        """Set one field of the status by its Python name."""
        old = self.old.__dict__[name]
        if old is not value and old != value:
            self._changes[name] = value
        elif name in self._changes:
            del self._changes[name]

    def condition(self, kind: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set a condition; a change of its status or reason becomes an event."""
        old = self.by_type.get(kind)
        if old is not None:
            # Nearly every condition of nearly every pass ends here. A model's fields lie in its __dict__; read one by one, each takes
            # the detour over pydantic's __getattr__.
            said = old.__dict__
            if (
                said["message"] == message
                and said["reason"] == reason
                and said["status"] == status
                and said["observed_generation"] == self._generation
            ):
                return
        self._change(old, kind, status, reason, message, "Normal")

    def warn(self, kind: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set a condition that somebody should know of: its event is a warning."""
        self._change(self.by_type.get(kind), kind, status, reason, message, "Warning")

    def _change(
        self,
        old: Condition | None,
        kind: str,
        status: ConditionStatus,
        reason: str,
        message: str,
        severity: Literal["Normal", "Warning"],
    ) -> None:
        text = message if len(message) <= SHORT else clip(message, MESSAGE_BYTES)
        reason = _camel(reason)
        since, is_news = "", True
        if old is not None:
            said = old.__dict__
            if said["status"] == status:
                since = said["last_transition_time"]
                is_news = said["reason"] != reason
                if not is_news and said["message"] == text and said["observed_generation"] == self._generation:
                    return
        self.by_type[kind] = make_condition(kind, status, reason, text, self._generation, since or self.stamp)
        self._is_changed = True
        if is_news:
            self._tell(severity, reason, text)

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
        return tuple(self.by_type.values())

    def find(self, kind: str) -> Condition | None:
        """Return the condition of this type as it stands."""
        return self.by_type.get(kind)

    def tell(self, reason: str, message: str, *, is_warning: bool = False) -> None:
        """Add an event; what two conditions say alike is told once."""
        self._tell("Warning" if is_warning else "Normal", reason, message)

    def _tell(self, severity: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        for event in self.events:
            if event.reason == reason and event.message == message:
                return
        self.events.append(Event(severity, reason, message))

    def finish(self, phase: str) -> StatusT:
        """Return the new status, or the old object where nothing changed."""
        if self._is_changed:
            self._changes["conditions"] = self.conditions
        old = self.old
        if old.phase != phase:
            self._changes["phase"] = phase
        if old.observed_generation != self._generation:
            self._changes["observed_generation"] = self._generation
        if not self._changes:
            return old
        changed: StatusT = old.with_fields(self._changes)
        return changed


@lru_cache(maxsize=256)
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
        return _read(text)
    except ValueError as err:
        raise Corrupt(f"{path} holds {text!r}; expected RFC 3339. Delete the object and apply it again") from err


def seconds_between(earlier: datetime, later: datetime) -> float:
    """Seconds from one time to another, never below 0: a clock that jumped back must not lengthen a wait."""
    return (later - earlier).total_seconds() if later > earlier else 0.0
