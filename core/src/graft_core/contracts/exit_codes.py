"""How a trainer child ends, and what that means: one table for the Job controller's podFailurePolicy and for the local shell.

code  class             restarted                   meaning
0     Succeeded         -                           report.json says the rest, gates that failed included
10    InvalidSpec       no                          the request can't be carried out as written
11    InvalidDataset    no                          bad records, leak, empty split
12    PolicyDenied      no                          licence, revision or base model refused
13    OutOfMemory       no                          even the smallest micro-batch does not fit
14    Diverged          no                          loss is NaN, infinite or exploding
15    Bug               no                          an unexpected exception; the log has the traceback
16    CorruptObject     no                          stored bytes do not match their digest
75    Infrastructure    yes, counted                store, hub or disk out of reach (EX_TEMPFAIL of sysexits.h)
143   Preempted         yes, not counted            SIGTERM; a checkpoint was saved
137   Killed            yes, counted                SIGKILL, most often the kernel's OOM killer or the node
else  Infrastructure    yes, counted                died without saying why
"""

from enum import StrEnum
from typing import Final

__all__ = ["EXIT_CODES", "ExitClass", "exit_class_of", "is_restart_counted", "is_restartable"]


class ExitClass(StrEnum):
    """CamelCase, as conditions show it."""

    SUCCEEDED = "Succeeded"
    INVALID_SPEC = "InvalidSpec"
    INVALID_DATASET = "InvalidDataset"
    POLICY_DENIED = "PolicyDenied"
    OUT_OF_MEMORY = "OutOfMemory"
    DIVERGED = "Diverged"
    BUG = "Bug"
    CORRUPT_OBJECT = "CorruptObject"
    INFRASTRUCTURE = "Infrastructure"
    PREEMPTED = "Preempted"
    KILLED = "Killed"


EXIT_CODES: Final[dict[ExitClass, int]] = {
    ExitClass.SUCCEEDED: 0,
    ExitClass.INVALID_SPEC: 10,
    ExitClass.INVALID_DATASET: 11,
    ExitClass.POLICY_DENIED: 12,
    ExitClass.OUT_OF_MEMORY: 13,
    ExitClass.DIVERGED: 14,
    ExitClass.BUG: 15,
    ExitClass.CORRUPT_OBJECT: 16,
    ExitClass.INFRASTRUCTURE: 75,
    ExitClass.PREEMPTED: 143,
    ExitClass.KILLED: 137,
}
"""Exit code by class."""

_BY_CODE: Final = {code: kind for kind, code in EXIT_CODES.items()}
_RESTARTABLE: Final = frozenset({ExitClass.INFRASTRUCTURE, ExitClass.PREEMPTED, ExitClass.KILLED})


def exit_class_of(code: int) -> ExitClass:
    """Classify an exit code; a negative one is a signal number, as subprocess reports it."""
    return _BY_CODE.get(128 - code if code < 0 else code, ExitClass.INFRASTRUCTURE)


def is_restartable(kind: ExitClass) -> bool:
    """Say whether another run may help."""
    return kind in _RESTARTABLE


def is_restart_counted(kind: ExitClass) -> bool:
    """Say whether a restart after it counts against runtime.maxRestarts."""
    return kind in _RESTARTABLE and kind is not ExitClass.PREEMPTED
