"""A double of children and artifact store around `decide_finetunejob`.

It applies actions as a shell would, with delays, deaths and stale views, and watches the invariants. Time is its own; nothing is random
in it: hypothesis chooses what happens next.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.names import FINALIZER
from graft_core.clock import to_rfc3339
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import Progress
from graft_core.errors import Conflict
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateChild,
    DeleteChild,
    FineTuneJobAction,
    FineTuneJobDecision,
    RemoveFinalizer,
    ResumeChild,
    StopChild,
    StopReason,
)
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.observed import (
    Absent,
    ArtifactAbsent,
    ArtifactFound,
    ArtifactState,
    Child,
    ChildState,
    Failed,
    ObservedFineTuneJob,
    Pending,
    Role,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)
from graft_operator.reconcile.phases import finetunejob_phase
from tests.builders import NOW, a_finetunejob, a_manifest, a_report, some_progress
from tests.operator.reconcile.upkeep import check_status, difference

__all__ = ["JobWorld"]


@dataclass
class ChildDouble:
    """One child: what it does with time."""

    state: ChildState
    version: int = 1
    worked_s: float = 0.0
    attempt_s: float = 0.0
    restarts: int = 0


@dataclass
class JobWorld:
    """Children and artifact store of one job."""

    job: FineTuneJob
    fate: dict[Role, str] = field(default_factory=dict[Role, str])
    """By role: succeeds (unless told), hangs, or the name of an exit class it ends with."""
    manifest_gates: tuple[Any, ...] = ()
    now: datetime = NOW
    children: dict[Role, ChildDouble] = field(default_factory=dict[Role, ChildDouble])
    artifact: ArtifactState = field(default_factory=lambda: ArtifactAbsent(NOW))
    progress: Progress | None = None
    progress_at: datetime | None = None
    is_gone: bool = False
    slowness: float = 1.0
    """Times longer than twenty seconds that a training takes."""

    @classmethod
    def new(cls, spec: dict[str, Any]) -> "JobWorld":
        """Build a world with a job that was just applied."""
        return cls(a_finetunejob(spec, finalizers=()))

    def observe(self) -> ObservedFineTuneJob:
        """Look at everything."""
        if isinstance(self.artifact, ArtifactAbsent):
            self.artifact = ArtifactAbsent(self.now)
        age_s = None if self.progress_at is None else (self.now - self.progress_at).total_seconds()
        return ObservedFineTuneJob(
            job=self.job,
            check=self._child("check"),
            train=self._child("train"),
            artifact=self.artifact,
            progress=self.progress,
            progress_age_s=age_s,
        )

    def run_pass(
        self, view: ObservedFineTuneJob | None = None, *, dies_after: int | None = None
    ) -> FineTuneJobDecision:
        """Decide on a view (a fresh one unless told), apply, write; dies before the status if told to."""
        view = view or self.observe()
        decision = self._decide(view)
        try:
            for action in decision.actions[:dies_after]:
                self._apply(action)
            if dies_after is None and not self.is_gone:
                self._write(view, decision)
        except Conflict:
            pass
        return decision

    def check_idempotent(self) -> None:
        """Invariant 6."""
        twin = replace(self, children={role: replace(child) for role, child in self.children.items()})
        twin.run_pass()
        if twin.is_gone:
            return
        status = twin.job.status
        again = twin._decide(twin.observe())
        assert again.actions == ()
        assert again.status == status, difference(status, again.status)

    def tick(self, seconds: float) -> None:
        """Let time pass: children start, work, end and are restarted."""
        self.now += timedelta(seconds=seconds)
        for role, child in list(self.children.items()):
            match child.state:
                case Terminating():
                    del self.children[role]
                case Pending():
                    self._become(child, Running(self.now, int(child.worked_s)))
                    child.attempt_s = 0.0
                case Running():
                    child.worked_s += seconds
                    child.attempt_s += seconds
                    self._work(role, child)
                case _:
                    pass

    def kill_child(self, role: Role) -> None:
        """A person deletes the child's record."""
        self.children.pop(role, None)

    def edit(self, **fields: Any) -> None:
        """Change the fields that may change."""
        spec = self.job.spec.model_copy(update=fields)
        metadata = self.job.metadata.model_copy(update={"generation": self.job.metadata.generation + 1})
        self._store(self.job.model_copy(update={"spec": spec, "metadata": metadata}))

    def delete(self) -> None:
        """Ask for the object's deletion."""
        if self.job.metadata.deletion_timestamp is None:
            stamp = {"deletion_timestamp": to_rfc3339(self.now)}
            self._store(self.job.model_copy(update={"metadata": self.job.metadata.model_copy(update=stamp)}))

    # -- inside

    def _decide(self, view: ObservedFineTuneJob) -> FineTuneJobDecision:
        decision = decide_finetunejob(view, self.now)
        check_status(decision.status, finetunejob_phase({found.type: found for found in decision.status.conditions}))
        before = view.job.status
        if before.finished_at is not None:  # invariant 8
            assert decision.status is before
            assert all(isinstance(a, StopChild | DeleteChild | RemoveFinalizer) for a in decision.actions)
        for action in decision.actions:
            if isinstance(action, CreateChild) and action.role == "train":
                assert isinstance(view.check.state, Succeeded)
                assert action.pinned is not None
        return decision

    def _child(self, role: Role) -> Child:
        child = self.children.get(role)
        if child is None:
            return Child(f"tune-{role}", Absent())
        return Child(f"tune-{role}", child.state, str(child.version))

    def _work(self, role: Role, child: ChildDouble) -> None:
        fate = self.fate.get(role, "succeeds")
        if role == "train" and fate != "hangs":
            step = int(child.worked_s)
            self.progress = Progress(at=to_rfc3339(self.now), phase="Training", status=some_progress(step))
            self.progress_at = self.now
        if fate == "hangs" or child.attempt_s < 20 * (self.slowness if role == "train" else 1):
            return
        if fate == "succeeds":
            if role == "train":
                self.artifact = ArtifactFound(a_manifest(*self.manifest_gates), "file:///store/x/")
            self._become(child, Succeeded(self.now, a_report(role=role)))
        else:
            self._fail(child, ExitClass(fate))

    def _fail(self, child: ChildDouble, kind: ExitClass) -> None:
        if kind is ExitClass.INFRASTRUCTURE and child.restarts < self.job.spec.runtime.max_restarts:
            child.restarts += 1
            self._become(child, Pending(self.now, "BackOff"))
        else:
            self._become(child, Failed(kind, "it broke", restarts=child.restarts))

    def _apply(self, action: FineTuneJobAction) -> None:
        match action:
            case AddFinalizer():
                self._finalizers((FINALIZER,))
            case RemoveFinalizer():
                self._finalizers(())
                self.is_gone = self.job.metadata.deletion_timestamp is not None
            case CreateChild(role=role):
                self.children.setdefault(role, ChildDouble(Pending(self.now, "Starting")))
            case ResumeChild(role=role):
                child = self.children.get(role)
                if child is not None and isinstance(child.state, Suspended):
                    self._become(child, Pending(self.now, "Starting"))
            case StopChild(role=role, reason=reason, resource_version=version):
                child = self._at(role, version)
                if reason is StopReason.SUSPEND:
                    self._become(child, Suspended("spec"))
                elif reason is StopReason.WATCHDOG:
                    self._fail(child, ExitClass.INFRASTRUCTURE)
                else:
                    self._become(child, Failed(ExitClass.PREEMPTED))
            case DeleteChild(role=role, resource_version=version):
                self._become(self._at(role, version), Terminating())

    def _at(self, role: Role, version: str) -> ChildDouble:
        child = self.children.get(role)
        if child is None or str(child.version) != version:
            raise Conflict(role)
        return child

    def _become(self, child: ChildDouble, state: ChildState) -> None:
        child.state = state
        child.version += 1

    def _write(self, view: ObservedFineTuneJob, decision: FineTuneJobDecision) -> None:
        if view.job.metadata.resource_version != self.job.metadata.resource_version:
            raise Conflict("status")
        if decision.status is not view.job.status:
            self._store(self.job.model_copy(update={"status": decision.status}))

    def _finalizers(self, finalizers: tuple[str, ...]) -> None:
        metadata = self.job.metadata.model_copy(update={"finalizers": finalizers})
        self.job = self.job.model_copy(update={"metadata": metadata})

    def _store(self, job: FineTuneJob) -> None:
        version = str(int(self.job.metadata.resource_version) + 1)
        metadata = job.metadata.model_copy(update={"resource_version": version})
        self.job = job.model_copy(update={"metadata": metadata})
