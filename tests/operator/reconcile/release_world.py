"""A double of gateway, arms and metrics around `decide_modelrelease`.

It applies actions as a shell would, with delays, deaths and stale views, and watches the invariants. Time is its own; nothing is random
in it: hypothesis chooses what happens next.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from graft_core.api.v1alpha1.modelrelease import ModelRelease, ModelReleaseSpec, Verdict
from graft_core.api.v1alpha1.names import FINALIZER
from graft_core.clock import to_rfc3339
from graft_core.errors import Conflict
from graft_operator.reconcile.acceptance import KeptRefusals
from graft_operator.reconcile.analysis import Question, StepVerdict, judge_thresholds
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateArm,
    ModelReleaseAction,
    ModelReleaseDecision,
    RemoveArm,
    RemoveFinalizer,
    SetWeights,
    Upkeep,
)
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.observed import (
    Arm,
    ObservedModelRelease,
    Traffic,
    Wanted,
    Window,
)
from graft_operator.reconcile.phases import modelrelease_phase
from graft_operator.reconcile.support import LOCAL_SHELL
from tests.builders import NOW, a_release
from tests.operator.reconcile.upkeep import check_status, difference
from tests.operator.reconcile.views import a_window

__all__ = ["ReleaseWorld"]


@dataclass
class ArmDouble:
    """One predictor."""

    digest: str
    made_at: datetime
    is_ready: bool = False
    is_terminating: bool = False
    weight: int = 0
    version: int = 1


@dataclass
class ReleaseWorld:
    """Gateway, arms and metrics of one release."""

    release: ModelRelease
    target: Wanted
    behaviour: dict[str, str] = field(default_factory=dict[str, str])
    """By revision: healthy, failing (bad figures), dead (never ready); healthy unless told."""
    now: datetime = NOW
    arms: dict[str, ArmDouble] = field(default_factory=dict[str, ArmDouble])
    requested: dict[str, int] = field(default_factory=dict[str, int])
    version: int = 1
    has_metrics: bool = True
    is_gone: bool = False
    refusals: KeptRefusals = field(default_factory=lambda: KeptRefusals(LOCAL_SHELL))
    known: dict[str, str] = field(default_factory=dict[str, str])
    earned: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Highest weight that a Pass allowed, by (revision, candidate's birth)."""

    @classmethod
    def new(cls, spec: dict[str, Any], target: Wanted) -> "ReleaseWorld":
        """Build a world with a release that was just applied."""
        return cls(a_release(spec), target)

    # -- the shell's side

    def observe(self) -> ObservedModelRelease:
        """Look at everything."""
        status = self.release.status
        since = status.candidate.weight_since if status.candidate else None
        if since is None and status.stable is not None:
            since = status.stable.promoted_at
        windows = {
            revision: self._window(revision, datetime.fromisoformat(since))
            for revision in self.arms
            if since is not None and self.has_metrics
        }
        arms = tuple(
            Arm(revision, arm.digest, arm.is_ready, arm.weight, "", arm.is_terminating, str(arm.version))
            for revision, arm in self.arms.items()
        )
        return ObservedModelRelease(
            release=self.release,
            target=self.target,
            arms=arms,
            traffic=Traffic(dict(self.requested), str(self.version)),
            windows=windows,
            known=dict(self.known),
            url="http://127.0.0.1:8080",
            spec_refusals=self.refusals.of(self.release),
        )

    def run_pass(
        self, view: ObservedModelRelease | None = None, *, dies_after: int | None = None
    ) -> ModelReleaseDecision:
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
        """Invariant 6: after its own actions and status, the same moment decides nothing more."""
        twin = replace(
            self,
            arms={revision: replace(arm) for revision, arm in self.arms.items()},
            known=dict(self.known),
            earned=dict(self.earned),
        )
        twin.run_pass()
        if twin.is_gone:
            return
        status = twin.release.status
        again = twin._decide(twin.observe())
        assert again.actions == ()
        assert again.status == status, difference(status, again.status)

    def tick(self, seconds: float) -> None:
        """Let time pass: the gateway follows, arms load or go."""
        self.now += timedelta(seconds=seconds)
        for revision, arm in list(self.arms.items()):
            if arm.is_terminating and arm.weight == 0:
                del self.arms[revision]
                continue
            ready = self.behaviour.get(revision) != "dead" and not arm.is_terminating
            self._change(arm, is_ready=ready, weight=self.requested.get(revision, 0))

    # -- what a person or a fault does

    def edit(self, **fields: Any) -> None:
        """Change the spec."""
        spec = ModelReleaseSpec.model_validate({**self.release.spec.model_dump(by_alias=True), **fields})
        metadata = self.release.metadata.model_copy(update={"generation": self.release.metadata.generation + 1})
        self._store(self.release.model_copy(update={"spec": spec, "metadata": metadata}))

    def delete(self) -> None:
        """Ask for the object's deletion."""
        if self.release.metadata.deletion_timestamp is None:
            stamp = {"deletion_timestamp": to_rfc3339(self.now)}
            self._store(self.release.model_copy(update={"metadata": self.release.metadata.model_copy(update=stamp)}))

    def flap(self, revision: str) -> None:
        """Make an arm unready for now."""
        if revision in self.arms:
            self._change(self.arms[revision], is_ready=False)

    def lose_arm(self, revision: str) -> None:
        """Make an arm vanish, as when somebody deletes it."""
        self.arms.pop(revision, None)

    # -- inside

    def _decide(self, view: ObservedModelRelease) -> ModelReleaseDecision:
        verdicts: list[tuple[Question, Verdict]] = []

        def judge(question: Question, now: datetime) -> StepVerdict:
            found = judge_thresholds(question, now)
            verdicts.append((question, found.verdict))
            return found

        decision = decide_modelrelease(view, self.now, judge)
        # Nobody edits weights in this world, so a pass that tells of it means its own.
        assert "Drifted" not in {event.reason for event in decision.events}
        check_status(decision.status, modelrelease_phase({found.type: found for found in decision.status.conditions}))
        self._check_weights(view, decision, verdicts)
        return decision

    def _check_weights(
        self, view: ObservedModelRelease, decision: ModelReleaseDecision, verdicts: list[tuple[Question, Verdict]]
    ) -> None:
        steps = view.release.spec.rollout.steps
        asked = next((a for a in decision.actions if isinstance(a, SetWeights)), None)
        was = view.release.status.candidate
        for question, verdict in verdicts:
            if was is None or question.step < 0:
                continue
            key = (question.candidate_revision, was.since)
            if verdict is Verdict.PASS:
                weights = [*(step.weight for step in steps), 100]
                self.earned[key] = max(self.earned.get(key, 0), weights[question.step + 1])
            if verdict is Verdict.FAIL:  # invariant 5
                has = asked.weights if asked is not None else view.traffic.requested
                assert not has.get(question.candidate_revision)
        if asked is None:
            return
        total = sum(asked.weights.values())
        is_closing = view.release.metadata.deletion_timestamp is not None or decision.status.stable is None
        assert total == 100 or (total == 0 and is_closing)  # invariant 2
        if view.release.metadata.deletion_timestamp is None:
            self._check_rise(view, decision, asked)

    def _check_rise(self, view: ObservedModelRelease, decision: ModelReleaseDecision, asked: SetWeights) -> None:
        """Invariants 1 and 2."""
        candidate, stable = decision.status.candidate, decision.status.stable
        if candidate is None:
            assert stable is None or asked.weights.get(stable.revision) == 100
            return
        weight = asked.weights.get(candidate.revision, 0)
        history = view.release.status.history
        is_way_back = view.release.spec.rollback_to == candidate.revision or any(
            entry.revision == candidate.revision and entry.outcome == "Promoted" for entry in history
        )
        if stable is None or is_way_back:
            return
        first = view.release.spec.rollout.steps[0].weight
        allowed = max(first, self.earned.get((candidate.revision, candidate.since), 0))
        assert weight <= allowed
        assert asked.weights.get(stable.revision, 0) == 100 - weight

    def _apply(self, action: ModelReleaseAction) -> None:
        assert not isinstance(action, Upkeep)  # no row decides on it
        match action:
            case AddFinalizer():
                self._finalizers((FINALIZER,))
            case RemoveFinalizer():
                self._finalizers(())
                self.is_gone = self.release.metadata.deletion_timestamp is not None
            case CreateArm(revision=revision, target=target):
                digest = target.digest if target is not None else self.known[revision]
                self.known[revision] = digest
                if revision not in self.arms:
                    self.arms[revision] = ArmDouble(digest, self.now)
                elif self.arms[revision].is_terminating:
                    raise Conflict(revision)
            case SetWeights(weights=weights, resource_version=version):
                if version != str(self.version):
                    raise Conflict("traffic")
                self.requested = {revision: weight for revision, weight in weights.items() if weight}
                self.version += 1
            case RemoveArm(revision=revision, resource_version=version):
                arm = self.arms.get(revision)
                if arm is None or str(arm.version) != version:
                    raise Conflict(revision)
                assert arm.weight == 0  # invariant 3
                self._change(arm, is_terminating=True, is_ready=False)
        living = [arm for arm in self.arms.values() if not arm.is_terminating]
        assert len(living) <= 3  # invariant 4
        assert sum(1 for arm in self.arms.values() if arm.weight) <= 2

    def _write(self, view: ObservedModelRelease, decision: ModelReleaseDecision) -> None:
        if view.release.metadata.resource_version != self.release.metadata.resource_version:
            raise Conflict("status")
        if decision.status is not view.release.status:
            self._store(self.release.model_copy(update={"status": decision.status}))

    def _finalizers(self, finalizers: tuple[str, ...]) -> None:
        metadata = self.release.metadata.model_copy(update={"finalizers": finalizers})
        # The shell goes on with the version that its own write made.
        self.release = self.release.model_copy(update={"metadata": metadata})

    def _store(self, release: ModelRelease) -> None:
        version = str(int(self.release.metadata.resource_version) + 1)
        metadata = release.metadata.model_copy(update={"resource_version": version})
        self.release = release.model_copy(update={"metadata": metadata})

    def _change(self, arm: ArmDouble, **fields: Any) -> None:
        if any(getattr(arm, name) != value for name, value in fields.items()):
            arm.version += 1
            for name, value in fields.items():
                setattr(arm, name, value)

    def _window(self, revision: str, since: datetime) -> Window:
        held_s = max(0.0, (self.now - since).total_seconds())
        count = float(int(held_s * self.arms[revision].weight / 10))
        errors = float(int(count / 2)) if self.behaviour.get(revision) == "failing" else 0.0
        return a_window(revision, since, self.now, ok=count - errors, errors=errors)
