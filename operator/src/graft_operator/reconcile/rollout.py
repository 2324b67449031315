"""Rows 4 to 20 of `modelrelease`: the candidate's way from weight 0 to stable, or back."""

from collections.abc import Mapping

from graft_core.api.v1alpha1.modelrelease import ArmStatus
from graft_operator.reconcile.aborts import find_abort_cause, is_interrupted
from graft_operator.reconcile.decision import ModelReleaseDecision
from graft_operator.reconcile.goal import Goal, NoGoal
from graft_operator.reconcile.release_pass import POLL_S, ReleasePass, changed
from graft_operator.reconcile.steps import advance, judge_step, step_of
from graft_operator.reconcile.trial import Trial

__all__ = ["decide_candidate", "decide_without_candidate", "refresh"]


def refresh(this: ReleasePass) -> None:
    """Bring what the status says of the arms up to what was observed; a flap or a lost weight ends the step's window."""
    stable, draining, candidate = this.stable, this.draining, this.candidate
    if stable is not None:
        this.stable = changed(stable, weight=this.in_force.get(stable.revision, 0))
    if draining is not None:
        weight = this.in_force.get(draining.revision, 0)
        since = (draining.since or this.stamp()) if weight == 0 else None
        this.draining = changed(draining, weight=weight, since=since)
    if candidate is None:
        return
    weight = candidate.weight = this.in_force.get(candidate.revision, 0)
    if candidate.revision in this.ready:
        candidate.ready_at = candidate.ready_at or this.stamp()
        # After a flap the window begins anew: requests that met an arm on its way down or up are no evidence.
        is_lost = not candidate.promoting and weight != step_of(this, candidate).weight
        if is_lost or candidate.unready_since is not None:
            candidate.weight_since = None
        candidate.unready_since = None
    elif candidate.ready_at is not None:
        candidate.unready_since = candidate.unready_since or this.stamp()
        candidate.weight_since = None


def decide_without_candidate(this: ReleasePass, goal: Goal | NoGoal) -> ModelReleaseDecision | None:
    """Rows 6, 7, 8, 10, 11 and 13: nothing is being tried yet; None where a candidate was begun."""
    _say_ready(this)
    weights = {this.stable.revision: 100} if this.stable is not None else {}
    if isinstance(goal, NoGoal):
        return _idle(this, goal, weights)
    if this.stable is not None and goal.revision == this.stable.revision:
        this.draft.condition("Progressing", "False", "Idle", "the wanted revision serves")
        this.draft.condition("Released", "True", "Released", f"revision {goal.revision} serves")
        return this.finish(weights)
    if this.spec.abort:
        text = "spec.abort is true, so no candidate is started; set it to false"
        return _idle(this, NoGoal("Aborted", text, is_final=True), weights)
    this.draft.condition("Released", "False", "InProgress", f"revision {goal.revision} is wanted")
    if _is_crowded(this, goal.revision):
        this.draft.condition("Progressing", "True", "Progressing", "an earlier arm must leave first")
        this.wait(POLL_S)
        return this.finish(weights)
    _begin(this, goal)
    return None


def decide_candidate(this: ReleasePass, candidate: Trial, goal: Goal | NoGoal) -> ModelReleaseDecision | None:
    """Rows 4 to 20 with a candidate; None where it is one no more."""
    is_frozen = this.stable is not None and this.stable.revision not in this.ready and candidate.revision in this.ready
    verdict = judge_step(this, candidate)
    cause = find_abort_cause(this, candidate, verdict, is_frozen=is_frozen)
    if cause is not None:
        if cause[0] == "AnalysisFailed":
            this.draft.warn("AnalysisHealthy", "False", "Fail", cause[1])
        this.give_up_candidate("RolledBack", *cause, candidate)
        return None
    if is_frozen and not (isinstance(goal, Goal) and goal.skips_steps):
        return _freeze(this)
    if isinstance(goal, NoGoal) or goal.revision != candidate.revision:
        mismatch = _mismatch(goal, this.stable)
        if mismatch is not None:
            this.give_up_candidate("Superseded", *mismatch, candidate)
            return None
    if is_interrupted(this, candidate):
        text = "its weight was found written as 0: an abort that died half-way, or a person's doing"
        this.give_up_candidate("RolledBack", "AbortInterrupted", text, candidate)
        return None
    _say_ready(this)
    if isinstance(goal, NoGoal):
        this.draft.condition("Progressing", "True", "Progressing", f"held: {goal.message}")
        this.draft.condition("Released", "False", goal.reason, goal.message)
        this.wait(POLL_S)
        return this.finish(None)
    this.draft.condition("Released", "False", "InProgress", f"revision {goal.revision} is wanted")
    return advance(this, candidate, goal, verdict)


def _idle(this: ReleasePass, goal: NoGoal, weights: Mapping[str, int]) -> ModelReleaseDecision:
    """Say why nothing is being tried."""
    is_leaving = goal.is_rolled_back and this.draining is not None and this.draining.since is None
    if is_leaving:
        this.draft.warn("Progressing", "True", "RollingBack", goal.message)
    else:
        this.draft.condition("Progressing", "False", "Idle" if goal.is_final else "Waiting", goal.message)
    say = this.draft.warn if goal.is_final else this.draft.condition
    say("Released", "False", goal.reason, goal.message)
    if not goal.is_final:
        this.wait(POLL_S)
    return this.finish(weights)


def _is_crowded(this: ReleasePass, revision: str) -> bool:
    """Say whether a candidate would be one serving or draining arm too many."""
    arm = this.arms.get(revision)
    if arm is not None and arm.terminating:
        return True
    draining = this.draining
    if draining is not None and draining.revision != revision and draining.weight > 0:
        return True
    known = {found.revision for found in (this.stable, draining) if found is not None}
    return bool(set(this.arms) - known - {revision})


def _begin(this: ReleasePass, goal: Goal) -> None:
    """Rows 8 and 13; an arm that still drains is taken as it is."""
    if this.draining is not None and this.draining.revision == goal.revision:
        this.draining = None
    this.analysis = ()
    this.candidate = Trial(
        revision=goal.revision,
        digest=goal.digest,
        weight=this.in_force.get(goal.revision, 0),
        step=0,
        since=this.stamp(),
        step_since=this.stamp(),
        ready_at=this.stamp() if goal.revision in this.ready else None,
    )


def _mismatch(goal: Goal | NoGoal, stable: ArmStatus | None) -> tuple[str, str] | None:
    """Rows 6, 9 and 12: why the candidate is not what is wanted."""
    if isinstance(goal, NoGoal):
        return (goal.reason, goal.message) if goal.is_final else None
    if stable is not None and stable.revision == goal.revision:
        return "SpecTurnedBack", "the running revision is wanted again"
    return "Superseded", f"revision {goal.revision} is wanted now"


def _freeze(this: ReleasePass) -> ModelReleaseDecision:
    """Row 5."""
    stable = this.stable.revision if this.stable is not None else ""
    text = (
        f"the stable revision {stable} is not ready ({this.arm_message(stable)}) while the candidate is; no weight moves. "
        "Set spec.rollbackTo to the candidate's revision to move to it, or spec.abort to take it back"
    )
    this.draft.warn("Ready", "False", "Degraded", text)
    this.wait(POLL_S)
    return this.finish(None)


def _say_ready(this: ReleasePass) -> None:
    if this.stable is None:
        this.draft.condition("Ready", "False", "NoStable", "nothing serves yet")
    elif this.stable.revision in this.ready:
        this.draft.condition("Ready", "True", "Ready", f"revision {this.stable.revision} can answer")
    else:
        text = f"revision {this.stable.revision} is not ready: {this.arm_message(this.stable.revision)}"
        this.draft.warn("Ready", "False", "NotReady", text)
