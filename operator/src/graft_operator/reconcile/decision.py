"""What a pass decided: the whole new status, the actions in order, what a person would want told, and when to look again.

A shell applies the actions in order and stops at the first that fails, writes the status once and only where it differs (and only where all
actions were applied), then emits the events. Every action is idempotent and aimed at a name that follows from the object, so a pass may die
anywhere and be run again. Actions that would hurt on a stale view carry the `resource_version` they were decided on: the shell refuses
them with `Conflict` where the thing has changed since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Literal, NamedTuple, TypeVar

from graft_core.api.v1alpha1.finetunejob import FineTuneJobStatus
from graft_core.api.v1alpha1.modelrelease import ModelReleaseStatus
from graft_core.contracts.train_request import Pinned
from graft_operator.reconcile.observed import Role, Target

__all__ = [
    "Action",
    "AddFinalizer",
    "CreateArm",
    "CreateChild",
    "Decision",
    "DeleteChild",
    "Event",
    "FineTuneJobAction",
    "FineTuneJobDecision",
    "ModelReleaseAction",
    "ModelReleaseDecision",
    "RemoveArm",
    "RemoveFinalizer",
    "ResumeChild",
    "SetWeights",
    "StopChild",
    "StopReason",
    "Upkeep",
]


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Put Graft's finalizer on the object; first of its pass, before anything is made that must be cleaned up."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Take Graft's finalizer off; the object is gone after that."""


@dataclass(frozen=True, slots=True)
class CreateChild:
    """Make a child under this name; where it is there already and ours, that is success.

    The shell renders its TrainRequest with `render_train_request(job, pinned=…)` and holds it to `child_limits(job)`.
    """

    role: Role
    name: str
    pinned: Pinned | None
    """What the check saw; set for the train child."""
    max_restarts: int
    """Counted restarts (`exit_codes.is_restart_counted`) after which the child is Failed."""


@dataclass(frozen=True, slots=True)
class ResumeChild:
    """Let a child go on that was stopped with `StopReason.SUSPEND`; it continues from its newest complete checkpoint."""

    role: Role
    name: str


class StopReason(StrEnum):
    """What becomes of a child that is stopped."""

    SUSPEND = "Suspend"
    """It is seen as Suspended(by="spec") and not restarted until it is resumed; not counted as a restart."""
    WATCHDOG = "Watchdog"
    """It counts as one infrastructure failure, and is restarted as after any other."""
    END = "End"
    """It is never restarted; seen as Failed."""


@dataclass(frozen=True, slots=True)
class StopChild:
    """SIGTERM to the child's whole process group, SIGKILL after `grace_s`; its records stay."""

    role: Role
    name: str
    grace_s: float
    reason: StopReason
    resource_version: str


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Stop the child where it lives, then remove its records."""

    role: Role
    name: str
    grace_s: float
    resource_version: str


@dataclass(frozen=True, slots=True)
class CreateArm:
    """Make an arm at weight 0; where it is there already, that is success.

    With a target the shell renders and keeps its config (`render_arm(release, …)`); without one it takes the config that
    it kept for that revision.
    """

    revision: str
    target: Target | None


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Split the traffic: percent by revision, every arm named, summing to 100; all 0 or empty closes the route (nothing can answer)."""

    weights: Mapping[str, int]
    resource_version: str
    """Of the traffic split that was seen."""


@dataclass(frozen=True, slots=True)
class RemoveArm:
    """Drain and stop the arm; its weight was observed 0."""

    revision: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Upkeep:
    """A write of the cluster shell's own that no row decides: to ask KServe something, to end what it began, to tidy up."""

    task: str
    """CamelCase, as the shell knows it."""
    subject: str
    """Name of the object."""


FineTuneJobAction = AddFinalizer | RemoveFinalizer | CreateChild | ResumeChild | StopChild | DeleteChild
ModelReleaseAction = AddFinalizer | RemoveFinalizer | CreateArm | SetWeights | RemoveArm | Upkeep
Action = FineTuneJobAction | ModelReleaseAction


class Event(NamedTuple):
    """One line for a person; emitted after the status landed."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


StatusT = TypeVar("StatusT", FineTuneJobStatus, ModelReleaseStatus)
ActionT = TypeVar("ActionT", FineTuneJobAction, ModelReleaseAction)


@dataclass(slots=True)
class Decision(Generic[StatusT, ActionT]):
    """The outcome of one `decide`."""

    status: StatusT
    """Whole new status; the very object that was read where nothing changed."""
    actions: tuple[ActionT, ...] = ()
    """In order; none in the steady state."""
    events: tuple[Event, ...] = ()
    """What a person would want told."""
    look_again_s: float | None = None
    """Seconds until time alone may change the decision; None: only when something changes."""


@dataclass(slots=True)
class FineTuneJobDecision(Decision[FineTuneJobStatus, FineTuneJobAction]):
    """The outcome of one pass over a FineTuneJob."""


@dataclass(slots=True)
class ModelReleaseDecision(Decision[ModelReleaseStatus, ModelReleaseAction]):
    """The outcome of one pass over a ModelRelease."""
