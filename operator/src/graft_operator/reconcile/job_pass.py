"""One pass over one FineTuneJob: what was seen, what is being decided, and the clock of its active time."""

from datetime import datetime
from typing import Final

from graft_core.api.v1alpha1.names import FINALIZER
from graft_operator.reconcile.decision import (
    AddFinalizer,
    DeleteChild,
    FineTuneJobAction,
    FineTuneJobDecision,
    StopChild,
    StopReason,
)
from graft_operator.reconcile.draft import Draft, parse_time, seconds_between
from graft_operator.reconcile.observed import (
    Absent,
    Child,
    Failed,
    Foreign,
    ObservedFineTuneJob,
    Pending,
    Role,
    Running,
    Suspended,
    Terminating,
)
from graft_operator.reconcile.phases import finetunejob_phase

__all__ = ["FRESH_LOOK_S", "JobPass"]

STOP_GRACE_S: Final = 60.0
"""From SIGTERM to SIGKILL: time for a checkpoint of a large adapter and its optimiser to reach a slow disk."""
FRESH_LOOK_S: Final = 1.0
"""Seconds until a thing is looked at again that may change any moment."""


class JobPass:
    """One pass over one job: what was seen, and what is being decided."""

    def __init__(self, observed: ObservedFineTuneJob, now: datetime) -> None:
        self.seen = observed
        self.now = now
        self.job = observed.job
        self.spec = observed.job.spec
        self.meta = observed.job.metadata
        self.status = observed.job.status
        self.draft = Draft(self.status, generation=self.meta.generation, now=now)
        self.children: tuple[tuple[Role, Child], ...] = (("check", observed.check), ("train", observed.train))
        self.has_train = not isinstance(observed.train.state, Absent)

    def decide(self, *actions: FineTuneJobAction, again_s: float | None = None) -> FineTuneJobDecision:
        """Close the pass."""
        status = self.draft.finish(finetunejob_phase(self.draft.by_type))
        return FineTuneJobDecision(status, actions, tuple(self.draft.events), again_s)

    def go_on(self, *actions: FineTuneJobAction, again_s: float | None = None) -> FineTuneJobDecision:
        """Close the pass of a job that lives: its finalizer is seen to, and its deadline is looked at in time."""
        needs = () if FINALIZER in self.meta.finalizers else (AddFinalizer(),)
        deadline_s = self.spec.runtime.active_deadline_seconds
        if deadline_s is not None and not self.spec.suspend:
            # A little over, so that the pass finds the deadline exceeded and not just reached.
            left_s = max(0.0, deadline_s - self.active_s()) + FRESH_LOOK_S
            again_s = left_s if again_s is None else min(again_s, left_s)
        return self.decide(*needs, *actions, again_s=again_s)

    def fail(self, reason: str, message: str) -> FineTuneJobDecision:
        """End the job; whatever still lives is stopped."""
        stops = self.stops(StopReason.END)
        self.end()
        self.draft.warn("Failed", "True", reason, message)
        return self.decide(*stops, again_s=self.spec.runtime.ttl_seconds_after_finished)

    def end(self) -> None:
        """Stop the clock for good."""
        self.stop_clock()
        self.draft.put(finished_at=self.draft.stamp)

    def stops(self, reason: StopReason) -> tuple[StopChild, ...]:
        """Stop every child that lives and was not told yet."""
        return tuple(
            StopChild(role, child.name, STOP_GRACE_S, reason, child.resource_version)
            for role, child in self.children
            if isinstance(child.state, Pending | Running)
            or (isinstance(child.state, Suspended) and (child.state.by == "queue" or reason is StopReason.END))
            or (isinstance(child.state, Failed) and child.state.is_retried)
        )

    def deletes(self) -> tuple[DeleteChild, ...]:
        """Delete every child of ours that is there."""
        return tuple(
            DeleteChild(role, child.name, STOP_GRACE_S, child.resource_version)
            for role, child in self.children
            if not isinstance(child.state, Absent | Foreign | Terminating)
        )

    def active_s(self) -> float:
        """Active time up to now."""
        since = self.status.active_since
        running_s = 0.0 if since is None else seconds_between(parse_time(since, "status.activeSince"), self.now)
        return self.status.active_seconds + running_s

    def start_clock(self) -> None:
        """Start an active stretch, if none is under way."""
        if self.status.active_since is None:
            self.draft.put(active_since=self.draft.stamp)

    def stop_clock(self) -> None:
        """Fold the active stretch into the sum."""
        if self.status.active_since is not None:
            self.draft.put(active_seconds=int(self.active_s()), active_since=None)
