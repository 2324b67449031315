"""ModelRelease as a pure machine: one stable arm, one candidate that must prove itself, one arm that drains. The first row that matches wins.

    row  when                                                        then
    1    being deleted                                               candidate 0 → observed 0 → arms removed → finalizer off (Orphan leaves the service)
    2    the service is somebody else's                              Accepted=False/Conflict, nothing touched
    3    arms that no status knows                                   adopted if they serve alone or are wanted; else weight 0, then removed
    4    candidate, and abort, Fail, unhealthy or a deadline         weight 0 now; observed 0; warm for scaleDownDelay; removed; RolledBack
    5    stable not ready while the candidate is                     frozen, Degraded; a person decides (spec.abort, spec.rollbackTo)
    6    wanted refused, or a spec field not supported               ArtifactVerified or Accepted=False; a candidate is taken back
    7    wanted not there yet                                        waited for
    8    no stable arm                                               first release: made, ready, 100 at once
    9    wanted = stable, candidate present                          the candidate is taken back
    10   wanted = stable                                             Released; drift repaired; a Fail in the watch goes back to the previous revision
    11   wanted was rolled back before                               RolledBack, waits for another spec or attempt
    12   wanted ≠ candidate                                          the candidate is taken back, then begun anew
    13   wanted, no candidate                                        made at weight 0
    14   candidate not ready                                         waited for; progressDeadline is row 4's
    15   paused                                                      weights held, figures still read, row 4 alive
    16   shadow                                                      refused by row 6 in this version
    17   observed weight ≠ the step's                                asked for; the window begins when it is observed
    18   verdict Continue, too early, too few, or no fresh figures   held; figures missing for long: Inconclusive, by onFailure
    19   verdict Pass, steps left                                    next step
    20   verdict Pass at the last step                               weight 100; observed: the candidate is stable, the old arm drains

The artifact was verified when `reconcile.target` resolved it, so row 13 only makes the arm. `rollbackTo` makes that revision the wanted one
without steps; so does a Fail within the watch after promotion. An automatic deadline of row 4 does not fire while row 5 holds: it would
roll back into a broken arm. A candidate whose weight is found written as 0 in mid-step is one whose abort died half-way: it is finished.
A step's deadline, progressDeadlineSeconds after its minDuration, stands still while paused; by then undecided means Inconclusive.
"""

from datetime import datetime
from typing import Final

from graft_core.api.v1alpha1.modelrelease import ArmStatus
from graft_core.api.v1alpha1.names import FINALIZER
from graft_operator.reconcile import rollout
from graft_operator.reconcile.acceptance import find_spec_refusals
from graft_operator.reconcile.analysis import Judge, judge_thresholds
from graft_operator.reconcile.decision import (
    ModelReleaseAction,
    ModelReleaseDecision,
    RemoveArm,
    RemoveFinalizer,
    SetWeights,
)
from graft_operator.reconcile.goal import Goal, NoGoal, find_goal
from graft_operator.reconcile.observed import NotYet, ObservedModelRelease, Target
from graft_operator.reconcile.release_pass import POLL_S, ReleasePass
from graft_operator.reconcile.watch import watch_promotion

__all__ = ["decide_modelrelease"]

CONFLICT_RETRY_S: Final = 60.0
"""Seconds until a foreign service is looked at again; only a person can free it."""


def decide_modelrelease(
    observed: ObservedModelRelease, now: datetime, judge: Judge = judge_thresholds
) -> ModelReleaseDecision:
    """Decide the next pass of one release.

    Args:
        observed: What the shell saw; the object was read before its arms and the traffic split.
        now: Aware wall-clock time of the pass.
        judge: Says whether a step may go on.

    Returns:
        Status, actions, events and when to look again. After the actions are applied and the status is written, the same view decides
        nothing more. `Corrupt` is raised where a time stamp in the status is none, and never anything else.
    """
    this = ReleasePass(observed, now, judge)
    if this.metadata.deletion_timestamp is not None:
        return _delete(this)
    if observed.foreign:
        return _leave_alone(this)
    is_accepted = _accept(this)
    _say_verified(this)
    if this.stable is None and this.candidate is None:
        _adopt_serving(this)
    rollout.refresh(this)
    if this.candidate is None:
        watch_promotion(this)
    return _go_on(this, is_accepted=is_accepted)


def _go_on(this: ReleasePass, *, is_accepted: bool) -> ModelReleaseDecision:
    """Decide with the candidate there is; where one was given up, promoted or begun, once more with what is there now.

    That ends: what was given up is not begun again in the same pass, and a candidate of this pass has met no deadline.
    """
    goal: Goal | NoGoal = (
        find_goal(this.spec, this.seen.target, this.stable, this.history, this.seen.known)
        if is_accepted
        else NoGoal("NotAccepted", "the spec is not accepted, see the condition Accepted", is_final=True)
    )
    _settle(this, goal)
    candidate = this.candidate
    decision = (
        rollout.decide_without_candidate(this, goal)
        if candidate is None
        else rollout.decide_candidate(this, candidate, goal)
    )
    return decision if decision is not None else _go_on(this, is_accepted=is_accepted)


def _delete(this: ReleasePass) -> ModelReleaseDecision:
    """Row 1."""
    if FINALIZER not in this.metadata.finalizers:
        return ModelReleaseDecision(this.status)
    stable = this.stable.revision if this.stable is not None and this.stable.revision in this.arms else None
    others = [arm for arm in this.seen.arms if arm.revision != stable]
    is_orphan = this.spec.deletion_policy == "Orphan"
    if not this.seen.arms or (is_orphan and not others):
        return ModelReleaseDecision(this.status, (RemoveFinalizer(),))
    # The candidate goes first, while the stable arm still answers everybody; then the stable arm.
    keeps = stable is not None and (is_orphan or any(arm.weight_observed for arm in others))
    wanted = {stable: 100} if keeps and stable is not None else {}
    actions: list[ModelReleaseAction] = []
    if this.requested != wanted:
        weights = {arm.revision: wanted.get(arm.revision, 0) for arm in this.seen.arms}
        actions.append(SetWeights(weights, this.seen.traffic.resource_version))
    actions += [
        RemoveArm(arm.revision, arm.resource_version)
        for arm in this.seen.arms
        if not arm.terminating and arm.weight_observed == 0 and not wanted.get(arm.revision)
    ]
    return ModelReleaseDecision(this.status, tuple(actions), look_again_s=POLL_S)


def _leave_alone(this: ReleasePass) -> ModelReleaseDecision:
    """Row 2."""
    text = f"the service belongs to {this.seen.foreign}, the older one; nothing of it is touched. Give this release another name"
    this.draft.warn("Accepted", "False", "Conflict", text)
    this.wait(CONFLICT_RETRY_S)
    return this.finish(None)


def _accept(this: ReleasePass) -> bool:
    found = this.seen.spec_refusals
    if found is None:
        found = find_spec_refusals(this.spec, this.seen.capabilities)
    refusals = (*found, *this.seen.refusals)
    if not refusals:
        this.draft.condition("Accepted", "True", "Accepted", "every field of the spec is supported")
        return True
    message = "; ".join(refusal.message for refusal in refusals)
    this.draft.warn("Accepted", "False", refusals[0].reason, message)
    return False


def _adopt_serving(this: ReleasePass) -> None:
    """Row 3, first half: with no status to go by, the arm that has most of the traffic is the stable one."""
    serving = [arm for arm in this.seen.arms if arm.weight_observed and not arm.terminating]
    if not serving:
        return
    arm = max(serving, key=lambda found: (found.weight_observed, found.revision))
    if this.draining is not None and this.draining.revision == arm.revision:
        return
    this.stable = ArmStatus(revision=arm.revision, digest=arm.digest, weight=arm.weight_observed)
    text = f"revision {arm.revision} serves and no status knew it; it is taken as the stable one"
    this.draft.tell("Adopted", text)
    # A pass died between making it and saying so: it can be gone back to like any other that was promoted.
    this.record(arm.revision, arm.digest, "Promoted", "Adopted", text)


def _say_verified(this: ReleasePass) -> None:
    """Tell what is known of the wanted artifact (row 6)."""
    target = this.seen.target
    if isinstance(target, Target):
        text = f"{target.digest} fits base {target.base_model} at {target.base_revision} and passed its gates"
        this.draft.condition("ArtifactVerified", "True", "Verified", text)
    elif isinstance(target, NotYet):
        this.draft.condition("ArtifactVerified", "Unknown", target.reason, target.message)
    else:
        this.draft.warn("ArtifactVerified", "False", target.reason, target.message)


def _settle(this: ReleasePass, goal: Goal | NoGoal) -> None:
    """Let the draining arm drain, repair the stable one, and remove arms that nobody knows (row 3, second half)."""
    if this.stable is not None:
        this.create_arm(this.stable.revision, goal.target if isinstance(goal, Goal) else None)
    wanted = goal.revision if isinstance(goal, Goal) else ""
    draining = this.draining
    if draining is not None and draining.revision != wanted:
        if draining.revision not in this.arms:
            this.draining = None
        elif draining.since is not None:
            left_s = this.rollout.scale_down_delay_seconds - this.age_s(draining.since, "status.draining.since")
            if left_s > 0:
                this.wait(left_s)
            else:
                this.remove_arm(draining.revision)
    if isinstance(goal, NoGoal) and not goal.is_final:
        return  # an unknown arm may turn out to be the one that is waited for
    for revision in this.arms:
        if revision != wanted and not this.is_known(revision):
            this.remove_arm(revision)
