"""What is remembered of one trainer child, and what its end means: pure, so that every row can be tested without a process.

    phase       when                                             next
    waiting     slot free and back-off over                      starting
    starting    the supervisor was started                       running
    running     exit 0 or a class that is never restarted        ended
    running     Preempted                                        waiting, not counted
    running     Killed, Infrastructure                           waiting and counted, or ended after max_restarts
    stopping    reason Suspend, and it did not finish            suspended
    stopping    reason Watchdog                                  as Infrastructure
    stopping    reason End, and it did not finish                ended
    stopping    reason Delete                                    forgotten by the shell
    suspended   resumed                                          waiting

Restart classes are those of `graft_core.contracts.exit_codes`.
"""

import random
from datetime import datetime, timedelta
from typing import Literal

from graft_core.clock import to_rfc3339
from graft_core.contracts.exit_codes import ExitClass, exit_class_of, is_restart_counted, is_restartable
from graft_operator.local.process_record import ProcessRecord

__all__ = ["ChildPhase", "ChildRecord", "after_exit"]

ChildPhase = Literal["waiting", "starting", "running", "stopping", "suspended", "ended"]


class ChildRecord(ProcessRecord):
    """One child, as the database keeps it."""

    name: str
    role: Literal["check", "train"]
    phase: ChildPhase = "waiting"
    since: str
    """When the phase began."""
    restarts: int = 0
    """Those that count against max_restarts."""
    max_restarts: int
    stop: Literal["", "Suspend", "Watchdog", "End", "Delete"] = ""
    grace_s: float = 30.0
    last_end: str = ""
    """Exit class of the attempt before."""
    exit_class: ExitClass | None = None
    """Where ended."""
    note: str = ""
    """What the shell knows of the end, e.g. the memory that was used."""
    progress_offset: int = 0
    """Bytes of progress.jsonl that are of earlier attempts."""

    @property
    def key(self) -> str:
        """Key of the record."""
        return self.name

    def moved(self, phase: ChildPhase, now: datetime, **changes: object) -> "ChildRecord":
        """Return the record in another phase, with its version raised."""
        return self.model_copy(
            update={"phase": phase, "since": to_rfc3339(now), "version": self.version + 1, **changes}
        )


def after_exit(record: ChildRecord, code: int | None, now: datetime, backoff_s: tuple[float, float]) -> ChildRecord:
    """Say what follows the end of an attempt; a stop for deletion is the shell's to finish.

    Args:
        record: The child as it was.
        code: Exit code; None: killed together with its supervisor.
        now: Aware.
        backoff_s: First and longest wait before the next attempt.

    Returns:
        The record, ended, suspended or waiting.
    """
    kind = ExitClass.KILLED if code is None else exit_class_of(code)
    if record.exit_class is ExitClass.OUT_OF_MEMORY and kind is not ExitClass.SUCCEEDED:
        kind = ExitClass.OUT_OF_MEMORY  # killed by the shell itself, for its memory
    if kind is ExitClass.SUCCEEDED or (not is_restartable(kind)):
        return record.moved("ended", now, exit_class=kind, stop="")
    if record.stop == "Suspend":
        return record.moved("suspended", now, last_end=str(kind), stop="")
    if record.stop == "End":
        return record.moved("ended", now, exit_class=kind, stop="", note="stopped by its operator")
    if record.stop == "Watchdog":
        kind = ExitClass.INFRASTRUCTURE
    restarts = record.restarts + is_restart_counted(kind)
    if restarts > record.max_restarts:
        return record.moved("ended", now, exit_class=kind, stop="", restarts=record.restarts)
    wait = _backoff_s(restarts, backoff_s)
    return record.moved(
        "waiting",
        now,
        last_end=str(kind),
        stop="",
        restarts=restarts,
        not_before=to_rfc3339(now + timedelta(seconds=wait)),
    )


def _backoff_s(restarts: int, bounds: tuple[float, float]) -> float:
    first, longest = bounds
    ceiling: float = min(longest, first * 2.0 ** max(0, restarts - 1))
    return ceiling * (0.5 + random.random() / 2)
