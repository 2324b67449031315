"""Row 4 of `modelrelease`: what takes a candidate back."""

from graft_core.api.v1alpha1.rollout import OnFailure
from graft_operator.reconcile.analysis import FAIL, StepVerdict
from graft_operator.reconcile.release_pass import ReleasePass
from graft_operator.reconcile.steps import find_inconclusive
from graft_operator.reconcile.trial import Trial

__all__ = ["find_abort_cause", "is_interrupted"]


def find_abort_cause(
    this: ReleasePass, candidate: Trial, verdict: StepVerdict | None, *, is_frozen: bool
) -> tuple[str, str] | None:
    """Return reason and message where the candidate must go."""
    if this.spec.abort:
        return "Aborted", "spec.abort is true"
    if verdict is not None and verdict.verdict is FAIL:
        return "AnalysisFailed", verdict.message
    if is_frozen:
        return None
    if candidate.unready_since is not None:
        cause = _unhealthy(this, candidate, candidate.unready_since)
        if cause is not None:
            return cause
    return _overdue(this, candidate) or _undecided(this, candidate, verdict)


def is_interrupted(this: ReleasePass, candidate: Trial) -> bool:
    """Say whether an abort has written the candidate's weight as 0 and then died, so that it must be finished."""
    was = this.status.candidate
    return (
        bool(this.requested)
        and not this.requested.get(candidate.revision)
        and was is not None
        and was.weight_since is not None
    )


def _unhealthy(this: ReleasePass, candidate: Trial, since: str) -> tuple[str, str] | None:
    grace_s = this.seen.policy.unready_grace_s
    age_s = this.age_s(since, "status.candidate.unreadySince")
    if age_s <= grace_s:
        this.wait(grace_s - age_s + 1)
        return None
    return "Unhealthy", f"not ready for over {grace_s:.0f} s: {this.arm_message(candidate.revision)}"


def _overdue(this: ReleasePass, candidate: Trial) -> tuple[str, str] | None:
    """A candidate that never got ready, or whose weight the gateway never acknowledged."""
    if candidate.ready_at is None:
        age_s, what = this.age_s(candidate.since, "status.candidate.since"), this.arm_message(candidate.revision)
    elif candidate.weight_since is None and candidate.paused_since is None and not this.spec.paused:
        age_s = this.age_s(candidate.step_since or candidate.since, "status.candidate.stepSince")
        what = "the gateway does not acknowledge its weight"
    else:
        return None
    deadline_s = this.rollout.progress_deadline_seconds
    if age_s <= deadline_s:
        this.wait(deadline_s - age_s + 1)
        return None
    return "ProgressDeadlineExceeded", f"no progress within progressDeadlineSeconds {deadline_s}: {what}"


def _undecided(this: ReleasePass, candidate: Trial, verdict: StepVerdict | None) -> tuple[str, str] | None:
    """A step without a verdict by its deadline, or without figures past their grace, where spec.rollout.onFailure is Rollback."""
    if verdict is None or this.rollout.on_failure is OnFailure.PAUSE:
        return None
    why = find_inconclusive(this, candidate, verdict)
    return ("Inconclusive", why) if why else None
