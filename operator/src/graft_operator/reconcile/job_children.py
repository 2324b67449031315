"""Rows 8 to 18 of `finetunejob`: the check child, then the train child."""

from typing import Final

from graft_core.contracts.exit_codes import ExitClass, is_restartable
from graft_core.contracts.train_report import TrainReport
from graft_core.contracts.train_request import Pinned
from graft_operator.reconcile.decision import CreateChild, FineTuneJobDecision, ResumeChild, StopChild, StopReason
from graft_operator.reconcile.draft import parse_time, seconds_between
from graft_operator.reconcile.job_pass import FRESH_LOOK_S, STOP_GRACE_S, JobPass
from graft_operator.reconcile.observed import (
    Absent,
    ArtifactAbsent,
    ArtifactCorrupt,
    ArtifactUnreachable,
    Failed,
    Pending,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)
from graft_operator.reconcile.progress import note_attempt, note_progress

__all__ = [
    "check_failed",
    "check_missing",
    "check_unfinished",
    "train_failed",
    "train_missing",
    "train_running",
    "train_succeeded",
    "train_waiting",
]

PENDING_SHOWN_AFTER_S: Final = 60.0
"""A pending reason younger than that is the ordinary start of a child."""
UNREACHABLE_RETRY_S: Final = (5.0, 300.0)
"""Shortest and longest wait for a store that does not answer; in between, as long as it has been out of reach."""


def check_missing(this: JobPass) -> FineTuneJobDecision | None:
    """Row 8."""
    if this.has_train or not isinstance(this.seen.check.state, Absent):
        return None
    _say_preparing(this)
    create = CreateChild("check", this.seen.check.name, None, this.spec.runtime.max_restarts)
    return this.go_on(create)


def check_unfinished(this: JobPass) -> FineTuneJobDecision | None:
    """Row 9."""
    if this.has_train:
        return None
    match this.seen.check.state:
        case Running() | Terminating():
            _say_preparing(this)
            return this.go_on()
        case Suspended(by="spec"):
            _say_preparing(this)
            return this.go_on(ResumeChild("check", this.seen.check.name))
        case Suspended():
            return _queued(this)
        case Pending() as pending:
            _say_preparing(this)
            return this.go_on(again_s=_say_pending(this, pending))
        case _:
            return None


def check_failed(this: JobPass) -> FineTuneJobDecision | None:
    """Rows 10 and 11."""
    state = this.seen.check.state
    if this.has_train:
        return None
    if isinstance(state, Failed):
        reason = "Infrastructure" if is_restartable(state.exit_class) else state.exit_class.value
        return this.fail(reason, _failure(state, "the check"))
    if isinstance(state, Succeeded):
        before, found = this.status.dataset, state.report.dataset
        if before is not None and found is not None and before.digest != found.digest:
            return this.fail(
                "DatasetChanged",
                f"the data set is now {found.digest}, and was {before.digest} when it was checked first; "
                "apply a new FineTuneJob for the new data",
            )
    return None


def train_missing(this: JobPass) -> FineTuneJobDecision | None:
    """Rows 12 and 13."""
    check = this.seen.check.state
    if this.has_train or not isinstance(check, Succeeded):
        return None
    pinned = _pins(check.report)
    if pinned is None:
        return this.fail(
            ExitClass.BUG.value,
            "the check passed without saying which data set and base model it saw; this is a bug, please report it with the child's log",
        )
    most = this.spec.runtime.max_restarts
    if this.status.train_seen:
        deleted = this.status.children_deleted + 1
        if deleted > most:
            return this.fail(
                "ChildDeleted",
                f"the train child {this.seen.train.name!r} was deleted {deleted} times, over spec.runtime.maxRestarts {most}",
            )
        this.draft.put(children_deleted=deleted)
        this.draft.tell(
            "ChildDeleted",
            f"the train child {this.seen.train.name!r} is gone, not by us; it is made again ({deleted} of at most {most})",
            is_warning=True,
        )
    this.draft.put(train_seen=True, dataset=check.report.dataset)
    _say_starting(this)
    return this.go_on(CreateChild("train", this.seen.train.name, pinned, most))


def train_waiting(this: JobPass) -> FineTuneJobDecision | None:
    """Row 14."""
    this.draft.put(train_seen=True)
    check = this.seen.check.state
    if isinstance(check, Succeeded) and check.report.dataset is not None:
        this.draft.put(dataset=check.report.dataset)
    match this.seen.train.state:
        case Suspended(by="spec"):
            _say_starting(this)
            return this.go_on(ResumeChild("train", this.seen.train.name))
        case Suspended():
            return _queued(this)
        case Terminating():
            return this.go_on()
        case Pending() as pending:
            if this.draft.find("Scheduled") is None:
                _say_starting(this)
            return this.go_on(again_s=_say_pending(this, pending))
        case _:
            return None


def train_running(this: JobPass) -> FineTuneJobDecision | None:
    """Row 15."""
    running = this.seen.train.state
    if not isinstance(running, Running):
        return None
    note_attempt(this, running)
    doing = note_progress(this, running, this.seen.progress)
    this.draft.condition("Scheduled", "True", "Running", "the train child runs")
    this.draft.condition("Trained", "False", doing, f"{doing.lower()}; see status.progress")
    watchdog_s = this.seen.policy.watchdog_s
    age_s = this.seen.progress_age_s
    up_s = seconds_between(running.since, this.now)
    idle_s = up_s if age_s is None else min(age_s, up_s)
    if idle_s < watchdog_s:
        return this.go_on(again_s=watchdog_s - idle_s)
    this.draft.tell(
        "Stalled",
        f"no progress for {idle_s:.0f} s, over the watchdog's {watchdog_s:.0f} s; the train child is stopped and goes on from "
        "its newest checkpoint, counted as an infrastructure failure",
        is_warning=True,
    )
    child = this.seen.train
    stop = StopChild("train", child.name, STOP_GRACE_S, StopReason.WATCHDOG, child.resource_version)
    return this.go_on(stop)


def train_failed(this: JobPass) -> FineTuneJobDecision | None:
    """Row 16."""
    state = this.seen.train.state
    if not isinstance(state, Failed):
        return None
    if is_restartable(state.exit_class):
        message = f"{_failure(state, 'the train child')}; {state.restarts} restarts of spec.runtime.maxRestarts {this.spec.runtime.max_restarts} are used up"
        return this.fail("BackoffLimitExceeded", message)
    return this.fail(state.exit_class.value, _failure(state, "the train child"))


def train_succeeded(this: JobPass) -> FineTuneJobDecision | None:
    """Rows 17 and 18; an artifact that verifies was row 6."""
    state = this.seen.train.state
    if not isinstance(state, Succeeded):
        return None
    this.draft.condition("Scheduled", "True", "Finished", "the train child did its work")
    this.draft.condition("Trained", "True", "Trained", "training and evaluation are done")
    match this.seen.artifact:
        case ArtifactUnreachable(message=message):
            text = f"{message}; trying again until spec.runtime.activeDeadlineSeconds, if there is one"
            this.draft.warn("Published", "Unknown", "StoreUnreachable", text)
            return this.go_on(again_s=_back_off_s(this))
        case ArtifactAbsent(looked_at=looked_at) | ArtifactCorrupt(looked_at=looked_at) if looked_at < state.at:
            return this.go_on(again_s=FRESH_LOOK_S)
        case ArtifactCorrupt(message=message):
            return this.fail("ArtifactCorrupt", f"the artifact does not verify: {message}")
        case _:
            text = "the train child succeeded, and the store holds no manifest of this job; was the output removed?"
            return this.fail("ArtifactMissing", text)


def _say_preparing(this: JobPass) -> None:
    this.draft.condition("Trained", "False", "Preparing", "the check looks at data, licence, base model and limits")


def _say_starting(this: JobPass) -> None:
    this.draft.condition("Scheduled", "Unknown", "Starting", "the train child is being started")


def _say_pending(this: JobPass, pending: Pending) -> float | None:
    """Show why a child does not start, once it has not for a while; return when that will be."""
    left_s = PENDING_SHOWN_AFTER_S - seconds_between(pending.since, this.now)
    if left_s > 0:
        return left_s
    message = pending.message or "no reason was given"
    this.draft.warn("Scheduled", "False", pending.reason, f"pending for over a minute: {message}")
    return None


def _queued(this: JobPass) -> FineTuneJobDecision:
    this.draft.condition("Scheduled", "False", "Queued", "the queue has not admitted the child yet")
    return this.go_on()


def _failure(state: Failed, who: str) -> str:
    where = f" ({state.path})" if state.path and state.path not in state.message else ""
    return f"{state.message or f'{who} ended with {state.exit_class.value} and left no report; see its log'}{where}"


def _pins(report: TrainReport) -> Pinned | None:
    if report.dataset is None or report.base_revision is None:
        return None
    return Pinned(dataset_digest=report.dataset.digest, base_revision=report.base_revision, labels=report.labels)


def _back_off_s(this: JobPass) -> float:
    """Wait as long as the store has been out of reach, within bounds: doubling, without a counter to remember."""
    since = this.draft.find("Published")
    shortest_s, longest_s = UNREACHABLE_RETRY_S
    if since is None:
        return shortest_s
    out_s = seconds_between(parse_time(since.last_transition_time, "status.conditions"), this.now)
    return min(longest_s, max(shortest_s, out_s))
