"""The watch after a promotion: a Fail within it goes back to the revision before."""

from graft_core.api.v1alpha1.modelrelease import ArmStatus
from graft_operator.reconcile.analysis import FAIL, WATCH_STEP, Question
from graft_operator.reconcile.draft import parse_time
from graft_operator.reconcile.history import is_rolled_back, previous_promoted
from graft_operator.reconcile.release_pass import POLL_S, ReleasePass

__all__ = ["watch_promotion"]


def watch_promotion(this: ReleasePass) -> None:
    """Judge the stable arm while its promotion is young and there is no candidate; a Fail is recorded, and the goal then is the revision before.

    Its figures are held against the checks' absolute bounds, and against what the old stable arm showed at the last step.
    """
    stable = this.stable
    if stable is None or stable.promoted_at is None or not this.rollout.analysis.checks:
        return
    age_s = this.age_s(stable.promoted_at, "status.stable.promotedAt")
    left_s = this.rollout.watch_after_promotion_seconds - age_s
    # At the very moment of the promotion there can be no figures yet.
    if age_s == 0 or left_s <= 0 or is_rolled_back(this.history, stable.revision):
        return
    previous = previous_promoted(this.history, stable.revision)
    if previous is None:
        return
    this.wait(min(left_s, POLL_S))
    found = this.judge(_question(this, stable, stable.promoted_at), this.now)
    this.note_looks(found.looks)
    if found.verdict is not FAIL:
        return
    message = f"within watchAfterPromotionSeconds: {found.message}"
    if previous.revision not in this.seen.known:
        text = (
            f"{message}; revision {previous.revision} is no longer kept, so there is no way back. Apply a better model"
        )
        this.draft.warn("AnalysisHealthy", "False", "NoWayBack", text)
        return
    this.draft.warn("AnalysisHealthy", "False", "Fail", message)
    this.record(stable.revision, stable.digest, "RolledBack", "WatchFailed", message)


def _question(this: ReleasePass, stable: ArmStatus, promoted_at: str) -> Question:
    return Question(
        step=WATCH_STEP,
        checks=this.rollout.analysis.checks,
        since=parse_time(promoted_at, "status.stable.promotedAt"),
        candidate_revision=stable.revision,
        candidate=this.seen.windows.get(stable.revision),
        stable_revision="",
        stable=None,
        stale_after_s=this.seen.policy.stale_after_s,
        recorded={look.metric: float(look.stable) for look in this.analysis if look.stable and look.step != WATCH_STEP},
    )
