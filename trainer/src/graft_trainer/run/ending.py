"""How a child ends: any exception to an exit class, a message for a person, and the field or line it is about.

exception                                            exit class
DatasetError                                         InvalidDataset
Preempted, Diverged, OutOfMemory, BaseModelRefused   by name (PolicyDenied for the last)
WorkerFailed                                         the worker's own
Corrupt                                              CorruptObject
Unavailable, NotReady, disk and network errors       Infrastructure
InvalidInput (NotSupported too), Conflict            InvalidSpec
MemoryError                                          OutOfMemory
everything else                                      Bug, without its text: it may quote data; the log has the places
"""

from graft_core.contracts.exit_codes import ExitClass
from graft_core.errors import Conflict, Corrupt, GraftError, InvalidInput, NotReady, Unavailable
from graft_trainer.data.faults import DatasetError
from graft_trainer.modeling.faults import BaseModelRefused, Diverged, OutOfMemory, Preempted
from graft_trainer.run.workers import WorkerFailed

__all__ = ["Ending", "ending_of"]

Ending = tuple[ExitClass, str, str]
"""Exit class, message, path."""

_BY_TYPE: tuple[tuple[type[Exception], ExitClass], ...] = (
    (DatasetError, ExitClass.INVALID_DATASET),
    (Preempted, ExitClass.PREEMPTED),
    (Diverged, ExitClass.DIVERGED),
    (OutOfMemory, ExitClass.OUT_OF_MEMORY),
    (BaseModelRefused, ExitClass.POLICY_DENIED),
    (Corrupt, ExitClass.CORRUPT_OBJECT),
    (Unavailable, ExitClass.INFRASTRUCTURE),
    (NotReady, ExitClass.INFRASTRUCTURE),
    (InvalidInput, ExitClass.INVALID_SPEC),
    (Conflict, ExitClass.INVALID_SPEC),
)

_POLICY_REASONS = frozenset(
    {"LicenseDenied", "LicenceDenied", "ModelChanged", "ModelRefused", "PolicyDenied", "RevisionDenied"}
)


def ending_of(error: BaseException) -> Ending:
    """Classify; the table is in the module's docstring."""
    if isinstance(error, WorkerFailed):
        return error.end.exit_class, error.end.message, error.end.path
    if isinstance(error, GraftError):
        kind = next((kind for cls, kind in _BY_TYPE if isinstance(error, cls)), ExitClass.BUG)
        if error.reason in _POLICY_REASONS:
            kind = ExitClass.POLICY_DENIED
        path = error.path if isinstance(error, InvalidInput) else ""
        # Reasons such as DatasetChanged say more than the class does.
        prefix = "" if error.reason in {kind.value, type(error).__name__, "InvalidInput"} else f"{error.reason}: "
        return kind, prefix + str(error), path
    if isinstance(error, MemoryError):
        return ExitClass.OUT_OF_MEMORY, "out of memory; lower training.maxLength or give the job more memory", ""
    if isinstance(error, OSError):
        return ExitClass.INFRASTRUCTURE, f"{type(error).__name__}: {error.strerror or 'input or output failed'}", ""
    return ExitClass.BUG, f"unexpected {type(error).__name__}; the log has where it happened", ""
