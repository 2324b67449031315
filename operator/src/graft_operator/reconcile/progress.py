"""What a running train child tells, as the status shows it: attempts and progress, written seldom."""

from typing import Final

from graft_core.api.v1alpha1.finetunejob import AttemptStatus
from graft_core.clock import to_rfc3339
from graft_core.contracts.train_report import Progress
from graft_operator.reconcile.draft import parse_time
from graft_operator.reconcile.job_pass import JobPass
from graft_operator.reconcile.observed import Running

__all__ = ["note_attempt", "note_progress"]

PROGRESS_EVERY_S: Final = 10.0
"""Seconds between two writes of the progress: a status write is a round trip to every watcher."""
MAX_ATTEMPTS: Final = 32
"""Attempts kept, the newest."""


def note_attempt(this: JobPass, running: Running) -> None:
    """Add the attempt that runs now, or where it went on from once it says so; an old view adds nothing."""
    known = this.status.attempts
    newest = known[-1] if known else None
    begun = None if newest is None else parse_time(newest.started_at, "status.attempts")
    if newest is None or begun is None or begun < running.since:
        attempt = AttemptStatus(
            started_at=to_rfc3339(running.since),
            resumed_from_step=running.resumed_from_step,
            reason=running.last_end[:64],
        )
        this.draft.put(attempts=(*known, attempt)[-MAX_ATTEMPTS:])
    elif begun == running.since and newest.resumed_from_step < running.resumed_from_step:
        told = newest.model_copy(update={"resumed_from_step": running.resumed_from_step})
        this.draft.put(attempts=(*known[:-1], told))


def note_progress(this: JobPass, running: Running, progress: Progress | None) -> str:
    """Take the progress over where it is due.

    Args:
        this: The pass.
        running: The attempt that runs; lines of an earlier one say nothing about it.
        progress: The last line, if there is one.

    Returns:
        What the child is doing, as `Trained` shows it.
    """
    if progress is None:
        return "Preparing"  # it begins with data and model, and tells when it is done with them
    at = parse_time(progress.at, "progress.at")
    if at < running.since:
        return "Preparing"
    last = this.status.progress_at
    old = this.status.progress
    is_done = progress.status.step >= progress.status.total_steps > 0 and progress.status != old
    if last is None or (at - parse_time(last, "status.progressAt")).total_seconds() >= PROGRESS_EVERY_S or is_done:
        this.draft.put(progress=progress.status, progress_at=progress.at)
    return progress.phase
