"""FineTuneJob as a pure machine: check, train, prove, publish. The first row that matches wins.

    row  when                                                        then
    1    being deleted                                               children deleted; finalizer off when none is left, or after 30 s with an event
    2    terminal (Complete or Failed is True)                       the status stays; leftover children stopped; children deleted after the TTL
    3    a field not supported, invalid, or refused by policy        Accepted=False with the paths; no child is made, living ones are suspended
    4    suspend                                                     children suspended (they save), Suspended; the deadline's clock stands still
    5    active time over the deadline                               children stopped, Failed/DeadlineExceeded
    6    a manifest for this uid verifies, or is reported            adopted: Complete, or Failed/GatesFailed where a gate is not Pass
    7    a child's name is taken                                     Scheduled=False/NameConflict, looked at again in a minute
    8    no check child (and no train child)                         created
    9    check pending or running (and no train child)               Preparing; a pending reason older than 60 s is shown
    10   check failed by the user's doing, or the data changed       Failed/<class> with the report's message
    11   check failed by infrastructure, after its restarts          Failed/Infrastructure
    12   check passed, no train child, none ever seen                train child created with the check's pins
    13   check passed, train child was seen before and is gone       created again, counted; more than maxRestarts times: Failed/ChildDeleted
    14   train suspended or pending                                  resumed; Queued; Pending with the reason
    15   train running                                               phase from the progress; no progress for the watchdog time: stopped, counted
    16   train failed                                                Failed/<class>, or Failed/BackoffLimitExceeded for infrastructure
    17   train succeeded, store unreachable                          held with back-off
    18   train succeeded, manifest absent or corrupt, freshly read   Failed/ArtifactMissing or Failed/ArtifactCorrupt

Rows 8 to 11 do not look at a check once a train child is there: a check that somebody deletes does not disturb a training.
Restarts within a child are the shell's (exit classes of `graft_core.contracts.exit_codes`); the rows and their tests share these numbers.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from graft_core.api.conditions import find_condition, is_condition
from graft_core.api.v1alpha1.names import FINALIZER
from graft_core.clock import to_rfc3339
from graft_operator.reconcile import job_children
from graft_operator.reconcile.adoption import adopt
from graft_operator.reconcile.decision import FineTuneJobDecision, RemoveFinalizer, StopReason
from graft_operator.reconcile.draft import parse_time, seconds_between
from graft_operator.reconcile.job_pass import JobPass
from graft_operator.reconcile.observed import Absent, ArtifactFound, ArtifactReported, Foreign, ObservedFineTuneJob
from graft_operator.reconcile.support import find_refusals
from graft_operator.reconcile.validity import find_job_faults, find_policy_faults

__all__ = ["decide_finetunejob"]

DELETE_PATIENCE_S: Final = 30.0
"""A deletion waits that long for the children, then lets go of the object."""
LINGER_S: Final = 30.0
"""A child that published may finish its log and report that long after the job is Complete."""
CONFLICT_RETRY_S: Final = 60.0
"""Seconds until a taken name is tried again; only a person can free it."""

Row = Callable[[JobPass], FineTuneJobDecision | None]


def decide_finetunejob(observed: ObservedFineTuneJob, now: datetime) -> FineTuneJobDecision:
    """Decide the next pass of one job.

    Args:
        observed: What the shell saw; the object was read before its children.
        now: Aware wall-clock time of the pass.

    Returns:
        Status, actions, events and when to look again. After the actions are applied and the status is written, the same view decides
        nothing more. `Corrupt` is raised where a time stamp in the status is none, and never anything else.
    """
    this = JobPass(observed, now)
    return next(decision for row in ROWS if (decision := row(this)) is not None)


def _deleted(this: JobPass) -> FineTuneJobDecision | None:
    """Row 1."""
    if this.meta.deletion_timestamp is None:
        return None
    if FINALIZER not in this.meta.finalizers:
        return FineTuneJobDecision(this.status)
    if all(isinstance(child.state, Absent | Foreign) for _, child in this.children):
        return FineTuneJobDecision(this.status, (RemoveFinalizer(),))
    waited_s = seconds_between(parse_time(this.meta.deletion_timestamp, "metadata.deletionTimestamp"), this.now)
    if waited_s < DELETE_PATIENCE_S:
        return FineTuneJobDecision(this.status, this.deletes(), look_again_s=DELETE_PATIENCE_S - waited_s)
    this.draft.tell(
        "ChildrenLeft",
        f"children did not stop within {DELETE_PATIENCE_S:.0f} s of the deletion; the object goes, look for "
        + ", ".join(child.name for _, child in this.children if not isinstance(child.state, Absent | Foreign)),
        is_warning=True,
    )
    return FineTuneJobDecision(this.status, (*this.deletes(), RemoveFinalizer()), tuple(this.draft.events))


def _finished(this: JobPass) -> FineTuneJobDecision | None:
    """Row 2."""
    conditions = this.status.conditions
    is_complete = is_condition(conditions, "Complete")
    if not is_complete and not is_condition(conditions, "Failed"):
        return None
    ended = find_condition(conditions, "Complete" if is_complete else "Failed")
    at = this.status.finished_at or (ended.last_transition_time if ended is not None else to_rfc3339(this.now))
    age_s = seconds_between(parse_time(at, "status.finishedAt"), this.now)
    ttl_s = this.spec.runtime.ttl_seconds_after_finished
    if ttl_s is not None and age_s >= ttl_s:
        return FineTuneJobDecision(this.status, this.deletes())
    stops = this.stops(StopReason.END)
    waits = [] if ttl_s is None else [ttl_s - age_s]
    if stops and is_complete and age_s < LINGER_S:
        waits.append(LINGER_S - age_s)
        stops = ()
    return FineTuneJobDecision(this.status, stops, look_again_s=min(waits, default=None))


def _refused(this: JobPass) -> FineTuneJobDecision | None:
    """Row 3."""
    refusals = (
        *find_refusals(this.spec, this.seen.capabilities.finetunejob),
        *(() if _is_accepted(this) else find_job_faults(this.job)),
        *find_policy_faults(this.job, this.seen.policy),
    )
    if not refusals:
        this.draft.condition("Accepted", "True", "Accepted", "every field of the spec is supported and allowed")
        return None
    this.stop_clock()
    message = "; ".join(refusal.message for refusal in refusals)
    this.draft.warn("Accepted", "False", refusals[0].reason, message)
    return this.decide(*this.stops(StopReason.SUSPEND))


def _is_accepted(this: JobPass) -> bool:
    """Say whether this very spec was found valid before: checking templates and schemas takes longer than all the rest of a pass."""
    accepted = this.draft.find("Accepted")
    return accepted is not None and accepted.status == "True" and accepted.observed_generation == this.meta.generation


def _suspended(this: JobPass) -> FineTuneJobDecision | None:
    """Row 4; also starts the clock of a job that is not suspended."""
    if this.spec.suspend:
        this.stop_clock()
        this.draft.condition(
            "Suspended",
            "True",
            "SuspendedBySpec",
            "spec.suspend is true; set it to false to go on from the last checkpoint",
        )
        return this.go_on(*this.stops(StopReason.SUSPEND))
    if is_condition(this.status.conditions, "Suspended"):
        this.draft.condition("Suspended", "False", "Resumed", "spec.suspend is false")
    this.start_clock()
    return None


def _overdue(this: JobPass) -> FineTuneJobDecision | None:
    """Row 5."""
    deadline_s = this.spec.runtime.active_deadline_seconds
    if deadline_s is None or this.active_s() <= deadline_s:
        return None
    return this.fail(
        "DeadlineExceeded",
        f"active for {this.active_s():.0f} s, over spec.runtime.activeDeadlineSeconds {deadline_s}; "
        "apply a new FineTuneJob with a longer deadline",
    )


def _published(this: JobPass) -> FineTuneJobDecision | None:
    """Row 6."""
    artifact = this.seen.artifact
    return adopt(this, artifact) if isinstance(artifact, ArtifactFound | ArtifactReported) else None


def _name_taken(this: JobPass) -> FineTuneJobDecision | None:
    """Row 7."""
    for _, child in this.children:
        if isinstance(child.state, Foreign):
            this.draft.warn(
                "Scheduled",
                "False",
                "NameConflict",
                f"the name {child.name!r} is taken by {child.state.owner}, which is not ours and is left alone; "
                "remove or rename it, or apply this job under another name",
            )
            return this.go_on(again_s=CONFLICT_RETRY_S)
    return None


ROWS: Final[tuple[Row, ...]] = (
    _deleted,
    _finished,
    _refused,
    _suspended,
    _overdue,
    _published,
    _name_taken,
    job_children.check_missing,
    job_children.check_unfinished,
    job_children.check_failed,
    job_children.train_missing,
    job_children.train_waiting,
    job_children.train_running,
    job_children.train_failed,
    job_children.train_succeeded,
)
"""Rows 10 and 11, 12 and 13, 17 and 18 share a function each."""
