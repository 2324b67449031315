"""Rows 14 to 20 of `modelrelease`: from one step to the next, and to promotion."""

from collections.abc import Mapping
from typing import Final

from graft_core.api.base import unchecked
from graft_core.api.v1alpha1.modelrelease import ArmStatus
from graft_core.api.v1alpha1.rollout import OnFailure, StepSpec
from graft_operator.reconcile.analysis import CONTINUE, INCONCLUSIVE, PASS, Question, StepVerdict
from graft_operator.reconcile.decision import ModelReleaseDecision
from graft_operator.reconcile.draft import parse_time
from graft_operator.reconcile.goal import Goal
from graft_operator.reconcile.release_pass import POLL_S, ReleasePass
from graft_operator.reconcile.trial import Trial

__all__ = ["advance", "find_inconclusive", "judge_step", "step_of"]

_arm: Final = unchecked(ArmStatus)


def step_of(this: ReleasePass, candidate: Trial) -> StepSpec:
    """Return the step under way; the last one where the spec's steps became fewer in mid-rollout."""
    steps, index = this.steps, candidate.step
    return steps[index] if index < len(steps) else steps[-1]


def judge_step(this: ReleasePass, candidate: Trial) -> StepVerdict | None:
    """Ask the judge, and keep what it looked at; None while no window is open."""
    if candidate.weight_since is None or candidate.promoting:
        return None
    since = parse_time(candidate.weight_since, "status.candidate.weightSince")
    if since >= this.now:
        return None  # the window opens in this very moment: there can be no figures yet
    revision, stable = candidate.revision, this.stable.revision if this.stable is not None else ""
    windows = this.seen.windows
    verdict = this.judge(
        Question(
            candidate.step,
            this.rollout.analysis.checks,
            since,
            revision,
            windows.get(revision),
            stable,
            windows.get(stable),
            this.seen.policy.stale_after_s,
        ),
        this.now,
    )
    this.note_looks(verdict.looks)
    return verdict


def find_inconclusive(this: ReleasePass, candidate: Trial, verdict: StepVerdict) -> str:
    """Say why the step can no longer be decided; empty while it can."""
    if verdict.verdict is INCONCLUSIVE:
        missing_s = this.age_s(candidate.data_missing_since, "status.candidate.dataMissingSince")
        if missing_s > this.seen.policy.missing_data_grace_s:
            return f"no usable figures for over {this.seen.policy.missing_data_grace_s:.0f} s: {verdict.message}"
    if this.spec.paused or candidate.paused_since is not None:
        return ""
    deadline_s = step_of(this, candidate).min_duration_seconds + this.rollout.progress_deadline_seconds
    age_s = this.age_s(candidate.step_since or candidate.since, "status.candidate.stepSince")
    if age_s <= deadline_s:
        this.wait(deadline_s - age_s + 1)
        return ""
    obstacle = _find_obstacle(this, candidate, verdict)
    return f"step {candidate.step} is undecided after {deadline_s} s: {obstacle}" if obstacle else ""


def advance(
    this: ReleasePass, candidate: Trial, goal: Goal, verdict: StepVerdict | None
) -> ModelReleaseDecision | None:
    """Go on with a candidate that is wanted.

    Args:
        this: The pass.
        candidate: As refreshed.
        goal: Its revision is the candidate's.
        verdict: Of the step under way; None while no window is open.

    Returns:
        The decision; None where the candidate became the stable arm.
    """
    this.create_arm(candidate.revision, goal.target)
    if candidate.revision not in this.ready:
        text = f"revision {candidate.revision} is not ready: {this.arm_message(candidate.revision)}"
        return _hold(this, candidate, "Progressing", text)
    if goal.skips_steps and not candidate.promoting:
        candidate.promoting, candidate.weight_since, candidate.step_since = True, None, this.stamp()
    if candidate.promoting:
        return _promote(this, candidate, goal)
    if verdict is not None:
        _note_verdict(this, candidate, verdict)
    if this.spec.paused:
        candidate.paused_since = candidate.paused_since or this.stamp()
        return _hold(this, candidate, "Paused", "spec.paused is true; set it to false to go on")
    if candidate.paused_since is not None:
        # The step's deadline begins anew: a pause of a day must not end in a rollback a second after it.
        candidate.paused_since, candidate.step_since = None, this.stamp()
    return _take_step(this, candidate, verdict)


def _promote(this: ReleasePass, candidate: Trial, goal: Goal) -> ModelReleaseDecision | None:
    """Row 20, and row 8 and the ways back, which have no steps."""
    wanted = {candidate.revision: 100}
    if not this.serves(wanted) or this.requested != wanted:
        this.draft.condition("Progressing", "True", "Promoting", f"revision {candidate.revision} gets all traffic")
        return this.finish(wanted)
    old = this.stable
    promoted_at = None if goal.is_way_back else this.stamp()
    this.stable = _arm(revision=candidate.revision, digest=candidate.digest, weight=100, promoted_at=promoted_at)
    if old is not None:
        this.drain(old.revision, old.digest)
    reason, message = "AllStepsPassed", f"{len(this.steps)} steps passed"
    if goal.is_way_back:
        reason, message = "WayBack", "gone back to without steps"
    elif old is None:
        reason, message = "FirstRelease", "there was nothing to compare with"
    this.record(candidate.revision, candidate.digest, "Promoted", reason, message)
    this.draft.tell("Promoted", f"revision {candidate.revision} is stable now: {message}")
    this.candidate = None
    return None


def _take_step(this: ReleasePass, candidate: Trial, verdict: StepVerdict | None) -> ModelReleaseDecision:
    """Rows 17 to 20."""
    step = step_of(this, candidate)
    weights = _weights(this, candidate, step.weight)
    if not this.serves(weights):
        _say_step(this, candidate, step)
        return this.finish(weights)
    if candidate.weight_since is None or verdict is None:
        candidate.weight_since = candidate.weight_since or this.stamp()
        _say_step(this, candidate, step)
        this.wait(POLL_S)
        return this.finish(weights)
    if _find_obstacle(this, candidate, verdict):
        return _wait_for_verdict(this, candidate, verdict, weights)
    candidate.weight_since, candidate.data_missing_since, candidate.step_since = None, None, this.stamp()
    if candidate.step + 1 >= len(this.steps):
        candidate.promoting = True
        this.draft.condition("Progressing", "True", "Promoting", f"revision {candidate.revision} gets all traffic")
        return this.finish({candidate.revision: 100})
    candidate.step += 1
    step = step_of(this, candidate)
    _say_step(this, candidate, step)
    return this.finish(_weights(this, candidate, step.weight))


def _wait_for_verdict(
    this: ReleasePass, candidate: Trial, verdict: StepVerdict, weights: Mapping[str, int]
) -> ModelReleaseDecision:
    """Row 18."""
    if this.rollout.on_failure is OnFailure.PAUSE and find_inconclusive(this, candidate, verdict):
        text = "the step can't be decided, and spec.rollout.onFailure is Pause; see the condition AnalysisHealthy"
        this.draft.warn("Progressing", "Unknown", "Paused", text)
    else:
        _say_step(this, candidate, step_of(this, candidate))
    this.wait(POLL_S)
    return this.finish(weights)


def _find_obstacle(this: ReleasePass, candidate: Trial, verdict: StepVerdict) -> str:
    """Say what is missing for the next step; empty where nothing is."""
    if verdict.verdict is not PASS:
        return verdict.message
    window = this.seen.windows.get(candidate.revision)
    if window is None or candidate.weight_since is None:
        return "no figures"
    step = step_of(this, candidate)
    # A window that began later than the weight (the shell was restarted) has to last as long as any other.
    weight_since = parse_time(candidate.weight_since, "status.candidate.weightSince")
    held_s = (this.now - max(window.since, weight_since)).total_seconds()
    if held_s < step.min_duration_seconds:
        this.wait(step.min_duration_seconds - held_s)
        return f"held {held_s:.0f} of {step.min_duration_seconds} s"
    if window.requests < step.min_requests:
        return f"{window.requests:.0f} of {step.min_requests} requests"
    return ""


def _note_verdict(this: ReleasePass, candidate: Trial, verdict: StepVerdict) -> None:
    is_missing = verdict.verdict is INCONCLUSIVE
    candidate.data_missing_since = (candidate.data_missing_since or this.stamp()) if is_missing else None
    if verdict.verdict is PASS:
        this.draft.condition("AnalysisHealthy", "True", "Pass", verdict.message)
    elif verdict.verdict is CONTINUE:
        this.draft.condition("AnalysisHealthy", "Unknown", "Continue", "not enough samples yet; see status.analysis")
    else:
        this.draft.warn("AnalysisHealthy", "Unknown", "Inconclusive", verdict.message)


def _hold(this: ReleasePass, candidate: Trial, reason: str, message: str) -> ModelReleaseDecision:
    """Rows 14 and 15: keep what the candidate has, never more than its step's weight."""
    this.draft.condition("Progressing", "Unknown" if reason == "Paused" else "True", reason, message)
    this.wait(POLL_S)
    has = this.requested.get(candidate.revision, 0)
    if candidate.promoting:
        return this.finish({candidate.revision: 100} if has == 100 else None)
    return this.finish(_weights(this, candidate, min(has, step_of(this, candidate).weight)))


def _weights(this: ReleasePass, candidate: Trial, weight: int) -> dict[str, int]:
    if this.stable is None:
        return {}
    return {this.stable.revision: 100 - weight, candidate.revision: weight}


def _say_step(this: ReleasePass, candidate: Trial, step: StepSpec) -> None:
    count = len(this.steps)
    number = candidate.step + 1 if candidate.step < count else count
    text = f"step {number} of {count}: revision {candidate.revision} at {step.weight} %"
    this.draft.condition("Progressing", "True", "Progressing", text)
