"""`phase`, derived from the conditions for people to read; machines read the conditions."""

from collections.abc import Mapping
from typing import Final

from graft_core.api.conditions import Condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJobPhase
from graft_core.api.v1alpha1.modelrelease import ModelReleasePhase

__all__ = ["finetunejob_phase", "modelrelease_phase"]

_TRAINED = {phase.value: phase for phase in FineTuneJobPhase}
_PROGRESSING = {phase.value: phase for phase in ModelReleasePhase}
# By names of their own: what an enum's class is asked for goes through its metaclass, at the cost of a call.
_DEGRADED: Final = ModelReleasePhase.DEGRADED
_RELEASED: Final = ModelReleasePhase.RELEASED
_ROLLED_BACK: Final = ModelReleasePhase.ROLLED_BACK
_PENDING: Final = ModelReleasePhase.PENDING


def finetunejob_phase(by_type: Mapping[str, Condition]) -> FineTuneJobPhase:
    """Sum the conditions of a FineTuneJob up in a word."""
    if _is_true(by_type, "Complete"):
        return FineTuneJobPhase.SUCCEEDED
    if _is_true(by_type, "Failed"):
        is_gates = by_type["Failed"].reason == "GatesFailed"
        return FineTuneJobPhase.GATES_FAILED if is_gates else FineTuneJobPhase.FAILED
    if _is_true(by_type, "Suspended"):
        return FineTuneJobPhase.SUSPENDED
    accepted, scheduled, trained = by_type.get("Accepted"), by_type.get("Scheduled"), by_type.get("Trained")
    if accepted is not None and accepted.status == "False":
        return FineTuneJobPhase.PENDING
    if scheduled is not None and scheduled.status == "False":
        return FineTuneJobPhase.QUEUED if scheduled.reason == "Queued" else FineTuneJobPhase.PENDING
    if trained is None:
        return FineTuneJobPhase.PENDING
    return (
        FineTuneJobPhase.PUBLISHING
        if trained.status == "True"
        else _TRAINED.get(trained.reason, FineTuneJobPhase.PENDING)
    )


def modelrelease_phase(by_type: Mapping[str, Condition]) -> ModelReleasePhase:
    """Sum the conditions of a ModelRelease up in a word."""
    ready, progressing, released = by_type.get("Ready"), by_type.get("Progressing"), by_type.get("Released")
    if ready is not None and ready.reason == "Degraded":
        return _DEGRADED
    if progressing is not None and progressing.reason in _PROGRESSING:
        return _PROGRESSING[progressing.reason]
    if released is not None and released.status == "True":
        return _RELEASED
    if released is not None and released.reason == "RolledBack":
        return _ROLLED_BACK
    return _PENDING


def _is_true(by_type: Mapping[str, Condition], kind: str) -> bool:
    found = by_type.get(kind)
    return found is not None and found.status == "True"
