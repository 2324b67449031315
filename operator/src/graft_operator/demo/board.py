"""What the demo knows at this moment: one thread writes each part, the views read."""

import threading
from dataclasses import dataclass, field
from typing import Literal

from graft_core.clock import Clock, to_rfc3339
from graft_operator.local.fields import Json

__all__ = ["Act", "ActState", "Board", "Note"]

ActState = Literal["waiting", "running", "ok", "failed"]
MAX_NOTES = 400
"""Notes kept for the views; the story keeps all."""


@dataclass
class Act:
    """One act of the story and how it must end."""

    name: str
    title: str
    expected: str
    state: ActState = "waiting"
    happened: str = ""
    seconds: float = 0.0
    facts: Json = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Note:
    """One line of the log."""

    elapsed_s: float
    at: str
    act: str
    text: str


class Board:
    """Acts, objects, traffic and notes. Lists only grow and dictionaries are replaced whole, so that a reader never sees half a write."""

    def __init__(self, clock: Clock, acts: list[Act]) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self.started_at = to_rfc3339(clock.now())
        self.acts = acts
        self.objects: dict[str, Json] = {}
        self.base_model: Json = {}
        self.traffic: dict[str, Json] = {}
        self.notes: list[Note] = []
        self.changed = threading.Event()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo began."""
        return self._clock.monotonic() - self._started

    def note(self, act: str, text: str) -> None:
        """Add one line to the log."""
        self.notes.append(Note(round(self.elapsed_s, 1), to_rfc3339(self._clock.now()), act, text))
        self.changed.set()

    def put(self, key: str, obj: Json | None) -> None:
        """Set or remove the latest state of an object, by `kind/name`."""
        objects = dict(self.objects)
        if obj is None:
            objects.pop(key, None)
        else:
            objects[key] = obj
        self.objects = objects
        self.changed.set()

    def set_traffic(self, release: str, figures: Json) -> None:
        """Set the latest figures of the traffic that is sent to a release."""
        self.traffic = {**self.traffic, release: figures}
        self.changed.set()
