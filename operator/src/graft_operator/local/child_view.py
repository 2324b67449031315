"""A child's record and run folder → what the reconciler sees of it."""

from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from graft_core.clock import from_rfc3339
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import TrainReport
from graft_operator.local.child_record import ChildRecord
from graft_operator.local.progress import resumed_step
from graft_operator.reconcile.observed import (
    ChildState,
    Failed,
    Pending,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)

__all__ = ["state_of"]


def state_of(record: ChildRecord, folder: Path, now: datetime) -> ChildState:
    """Say what a child is doing.

    Args:
        record: As the database keeps it.
        folder: Its run folder; progress and report are read from there.
        now: Aware.

    Returns:
        Its state.
    """
    since = from_rfc3339(record.since)
    match record.phase:
        case "waiting" if record.attempt == 0 or from_rfc3339(record.not_before) <= now:
            return Suspended("queue")
        case "waiting":
            text = f"attempt {record.attempt} ended {record.last_end}; the next begins at {record.not_before}"
            return Pending(since, "BackOff", text)
        case "starting":
            return Pending(since, "Starting")
        case "running":
            return Running(since, resumed_step(folder, record.progress_offset), record.last_end)
        case "stopping":
            return Terminating()
        case "suspended":
            return Suspended("spec")
        case "ended":
            return _end_of(record, folder, since)


def _end_of(record: ChildRecord, folder: Path, at: datetime) -> ChildState:
    report = _report_in(folder)
    kind = record.exit_class or ExitClass.INFRASTRUCTURE
    if kind is ExitClass.SUCCEEDED and report is not None:
        return Succeeded(at, report)
    if kind is ExitClass.SUCCEEDED:
        return Failed(ExitClass.BUG, "it ended with exit code 0 but left no readable report.json", "", record.restarts)
    if report is not None and report.exit_class is kind:
        return Failed(kind, report.message, report.path, record.restarts)
    return Failed(kind, record.note or _describe(kind, record), "", record.restarts)


def _report_in(folder: Path) -> TrainReport | None:
    try:
        return TrainReport.model_validate_json((folder / "report.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _describe(kind: ExitClass, record: ChildRecord) -> str:
    times = f" after {record.restarts} restarts" if record.restarts else ""
    return f"the {record.role} child ended {kind}{times}; `graft logs ftj/{record.owner.partition('/')[2]} --role {record.role}` shows why"
