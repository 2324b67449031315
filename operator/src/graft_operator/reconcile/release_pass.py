"""One pass over one ModelRelease: what was seen, what is being decided, and the traffic split that follows from it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypeVar

from graft_core.api.base import unchecked
from graft_core.api.v1alpha1.modelrelease import AnalysisStatus, ArmStatus, DrainingStatus
from graft_core.api.v1alpha1.names import FINALIZER
from graft_core.api.v1alpha1.rollout import OnDrift
from graft_operator.reconcile import history
from graft_operator.reconcile.analysis import Judge
from graft_operator.reconcile.decision import (
    AddFinalizer,
    CreateArm,
    ModelReleaseAction,
    ModelReleaseDecision,
    RemoveArm,
    SetWeights,
)
from graft_operator.reconcile.draft import Draft, parse_time, seconds_between
from graft_operator.reconcile.observed import Arm, ObservedModelRelease, Target
from graft_operator.reconcile.phases import modelrelease_phase
from graft_operator.reconcile.trial import Trial

__all__ = ["MAX_LOOKS", "POLL_S", "ReleasePass", "changed"]

POLL_S: Final = 5.0
"""Seconds until figures or weights are looked at again where nothing tells of their change."""
_draining: Final = unchecked(DrainingStatus)
MAX_LOOKS: Final = 32
"""Entries of status.analysis: the API's bound."""


class ReleasePass:
    """Working state of one pass; `finish` turns it into a decision."""

    def __init__(self, observed: ObservedModelRelease, now: datetime, judge: Judge) -> None:
        self.seen = observed
        self.now = now
        self.judge = judge
        release = observed.release
        self.metadata = release.metadata
        self.spec = release.spec
        self.rollout = release.spec.rollout
        self.steps = self.rollout.steps
        self.status = status = release.status
        self.draft = Draft(status, release.metadata.generation, now)
        self.arms: dict[str, Arm] = {}
        self.in_force: dict[str, int] = {}
        """Percent that the gateway acknowledged, of revisions that have any."""
        self.ready: list[str] = []
        """Revisions whose arm can answer."""
        for arm in observed.arms:
            self.arms[arm.revision] = arm
            if arm.weight_observed:
                self.in_force[arm.revision] = arm.weight_observed
            if arm.ready and not arm.terminating:
                self.ready.append(arm.revision)
        self.requested = _without_zeros(observed.traffic.requested)
        self.stable: ArmStatus | None = status.stable
        candidate = status.candidate
        self.candidate = None if candidate is None else Trial.of(candidate)
        self.draining: DrainingStatus | None = status.draining
        self.history = status.history
        self.analysis = status.analysis
        self.creations: dict[str, CreateArm] = {}
        self.split: SetWeights | None = None
        self.again_s: float | None = None
        self.removals: dict[str, RemoveArm] = {}
        self.is_abort = False

    # -- what is there

    def is_known(self, revision: str) -> bool:
        """Say whether the status knows the revision as the stable one, the candidate, or the one that drains."""
        stable, candidate, draining = self.stable, self.candidate, self.draining
        return (
            (stable is not None and stable.revision == revision)
            or (candidate is not None and candidate.revision == revision)
            or (draining is not None and draining.revision == revision)
        )

    def arm_message(self, revision: str) -> str:
        """Say why the revision's arm is not ready."""
        arm = self.arms.get(revision)
        if arm is not None and arm.terminating:
            return "it is being removed"
        return (arm.message if arm is not None else "") or "it is starting"

    def serves(self, weights: Mapping[str, int]) -> bool:
        """Say whether the gateway acknowledged exactly these weights."""
        return self.in_force == _without_zeros(weights)

    def age_s(self, stamp: str | None, path: str) -> float:
        """Seconds since a time stamp of the status; 0 for none."""
        return 0.0 if stamp is None else seconds_between(parse_time(stamp, path), self.now)

    def stamp(self) -> str:
        """Write the time of the pass as statuses hold it."""
        return self.draft.stamp

    # -- what is decided

    def wait(self, seconds: float) -> None:
        """Look again by then."""
        if self.again_s is None or seconds < self.again_s:
            self.again_s = seconds if seconds > 0 else 0.0

    def create_arm(self, revision: str, target: Target | None) -> None:
        """Make the arm where there is none; one that still terminates is waited for."""
        arm = self.arms.get(revision)
        if arm is None:
            self.creations[revision] = CreateArm(revision, target if target and target.revision == revision else None)
        elif arm.terminating:
            self.wait(POLL_S)

    def remove_arm(self, revision: str) -> None:
        """Remove the arm if its weight was observed 0 and nothing asks for more."""
        arm = self.arms.get(revision)
        if arm is not None and not arm.terminating and arm.weight_observed == 0:
            self.removals[revision] = RemoveArm(revision, arm.resource_version)

    def drain(self, revision: str, digest: str) -> None:
        """Make a losing arm the draining one; an older one, at weight 0 by now, goes at once."""
        if self.draining is not None and self.draining.revision != revision:
            self.remove_arm(self.draining.revision)
        if revision not in self.arms:
            self.draining = None
            return
        weight = self.in_force.get(revision, 0)
        self.draining = _draining(
            revision=revision, digest=digest, weight=weight, since=self.stamp() if weight == 0 else None
        )

    def give_up_candidate(
        self, outcome: Literal["RolledBack", "Superseded"], reason: str, message: str, candidate: Trial
    ) -> None:
        """Take the candidate back: weight 0 in this pass, drained and removed in later ones."""
        self.record(candidate.revision, candidate.digest, outcome, reason, message)
        self.drain(candidate.revision, candidate.digest)
        self.candidate = None
        self.is_abort = True

    def record(self, revision: str, digest: str, outcome: history.Outcome, reason: str, message: str) -> None:
        """Add to the history."""
        self.history = history.add(
            self.history, revision, digest, outcome, reason=reason, message=message, at=self.stamp()
        )

    def note_looks(self, looks: tuple[AnalysisStatus, ...]) -> None:
        """Put the looks of a step in the place of its earlier ones."""
        if looks:
            step = looks[0].step
            kept = [look for look in self.analysis if look.step != step]
            kept += looks
            self.analysis = tuple(kept if len(kept) <= MAX_LOOKS else kept[-MAX_LOOKS:])

    def finish(self, weights: Mapping[str, int] | None) -> ModelReleaseDecision:
        """Close the pass.

        Args:
            weights: Percent by revision as it should be; None leaves the split as it is written.

        Returns:
            The decision; weights come before removals, so that an arm loses its traffic first.
        """
        if weights is not None:
            self._split(weights)
        draft, was = self.draft, self.status.__dict__
        candidate = None if self.candidate is None else self.candidate.to_status(was["candidate"])
        # Asked one by one, as most passes change none of them.
        if self.stable is not was["stable"]:
            draft.put_one("stable", self.stable)
        if candidate is not was["candidate"]:
            draft.put_one("candidate", candidate)
        if self.draining is not was["draining"]:
            draft.put_one("draining", self.draining)
        if self.history is not was["history"]:
            draft.put_one("history", self.history)
        if self.analysis is not was["analysis"]:
            draft.put_one("analysis", self.analysis)
        if self.seen.url != was["url"]:
            draft.put_one("url", self.seen.url)
        status = draft.finish(modelrelease_phase(draft.by_type))
        return ModelReleaseDecision(status, self._actions(weights), tuple(draft.events), self.again_s)

    def _actions(self, weights: Mapping[str, int] | None) -> tuple[ModelReleaseAction, ...]:
        actions: list[ModelReleaseAction] = []
        if FINALIZER not in self.metadata.finalizers:
            actions.append(AddFinalizer())
        if self.creations:
            actions += self.creations.values()
        if self.split is not None:
            actions.append(self.split)
        if self.removals:
            asked = self.requested if weights is None else weights
            actions += [removal for revision, removal in self.removals.items() if not asked.get(revision)]
        return tuple(actions)

    def _split(self, weights: Mapping[str, int]) -> None:
        """Ask for the weights, unless a person's edit is to be kept; nothing keeps a candidate from being taken back."""
        wanted = _without_zeros(weights)
        if self.requested == wanted:
            self._say_split(wanted)
            return
        if not self.is_abort and self._is_drift(wanted):
            # Figures from a split that nobody decided are no evidence: the step's window begins anew.
            if self.candidate is not None:
                self.candidate.weight_since = self.stamp() if self.serves(wanted) else None
            text = f"weights were found {_told(self.requested)}, expected {_told(wanted)}"
            if self.rollout.on_drift is OnDrift.PAUSE:
                text += "; kept, as spec.rollout.onDrift is Pause: set them back, or set it to Restore"
                self.draft.warn("TrafficSplit", "False", "DriftPaused", text)
                return
            self.draft.tell("Drifted", f"{text}; restored", is_warning=True)
        self._say_split(wanted)
        everyone = {**dict.fromkeys(self.arms, 0), **wanted}
        self.split = SetWeights(everyone, self.seen.traffic.resource_version)
        self.wait(POLL_S)

    def _is_drift(self, wanted: Mapping[str, int]) -> bool:
        """Say whether the split was in force as it should be, and somebody changed it since.

        Weights that this machine itself may ask for next are no drift: a pass may have died between them and its status.
        """
        said = self.draft.find("TrafficSplit")
        if said is not None and said.reason == "DriftPaused" and self.rollout.on_drift is OnDrift.PAUSE:
            return True
        was, old = self.status.candidate, self.status.stable
        if old is None:
            return False
        if was is None:
            in_force = old.weight == 100 and said is not None and said.status == "True"
            return in_force and wanted == {old.revision: 100}
        if was.weight_since is None or self.candidate is None:
            return False
        weight = self.steps[min(was.step, len(self.steps) - 1)].weight
        if self.requested == {old.revision: 100 - weight, was.revision: weight}:
            return False
        asked, following = self.requested.get(was.revision), was.step + 1
        return asked != 100 and not (following < len(self.steps) and asked == self.steps[following].weight)

    def _say_split(self, wanted: Mapping[str, int]) -> None:
        if self.in_force == wanted:
            if wanted:
                self.draft.condition("TrafficSplit", "True", "Serving", f"the gateway serves {_told(wanted)}")
            return
        self.wait(POLL_S)
        self.draft.condition("TrafficSplit", "False", "Shifting", f"the gateway is to serve {_told(wanted)}")


ModelT = TypeVar("ModelT", ArmStatus, DrainingStatus)


def changed(model: ModelT, **values: object) -> ModelT:
    """Copy with other values; the same object where none differs, so that an unchanged status is not written."""
    fields = model.__dict__
    for name, value in values.items():
        if fields[name] != value:
            return model.with_fields(values)
    return model


def _told(weights: Mapping[str, int]) -> str:
    if len(weights) == 1:  # nearly always, and no sooner sorted and joined than said
        [(revision, weight)] = weights.items()
        return f"{revision} {weight} %"
    if len(weights) == 2:  # the stable arm and the candidate
        (one, percent), (other, rest) = weights.items()
        if one < other:
            return f"{one} {percent} %, {other} {rest} %"
        return f"{other} {rest} %, {one} {percent} %"
    return ", ".join([f"{revision} {weight} %" for revision, weight in sorted(weights.items())]) or "nothing"


def _without_zeros(weights: Mapping[str, int]) -> Mapping[str, int]:
    return weights if all(weights.values()) else {revision: weight for revision, weight in weights.items() if weight}
