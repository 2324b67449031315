"""Trainer children: made, restarted by the rules of `exit_codes`, stopped, found again after a crash.

Every step is written down before it is taken and once it was: intent (starting, attempt n), start, pid with start time. A crash between
any two of them is met by `recover`: the folder's lock says whether attempt n lives, its exit record how it ended; neither means that it
never started or was killed.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.clock import Clock, from_rfc3339, to_rfc3339
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.train_report import TrainReport
from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import Conflict
from graft_core.telemetry.logs import get_log
from graft_operator.local.child_record import ChildRecord, after_exit
from graft_operator.local.database import Database
from graft_operator.local.files import write_text
from graft_operator.local.processes import Processes
from graft_operator.local.progress import resumed_step
from graft_operator.reconcile.decision import CreateChild, DeleteChild, ResumeChild, StopChild
from graft_operator.reconcile.observed import (
    Absent,
    Child,
    ChildState,
    Failed,
    Foreign,
    Pending,
    Role,
    Running,
    Succeeded,
    Suspended,
    Terminating,
)
from graft_operator.render.limits import child_limits
from graft_operator.settings import LocalSettings

__all__ = ["Children"]

_LOG = get_log(__name__)

_AREA = "children"

_VERBS: Mapping[Role, str] = {"check": "validate", "train": "run"}
"""Command of the trainer by role."""

_HIDDEN_GPUS = {"CUDA_VISIBLE_DEVICES": ""}
"""For a child that asked for no GPU."""

MEMORY_LOOK_S = 1.0
"""How often a child with a memory limit is measured."""


class Children:
    """All trainer children of one state folder."""

    def __init__(
        self,
        database: Database,
        processes: Processes,
        clock: Clock,
        settings: LocalSettings,
        changed: Callable[[str], None],
    ) -> None:
        self._db = database
        self._processes = processes
        self._clock = clock
        self._settings = settings
        self._changed = changed
        self._records = {name: ChildRecord.model_validate(body) for name, body in database.records(_AREA).items()}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._is_closing = False

    def folder(self, uid: str, role: str) -> Path:
        """Return the run folder of a child."""
        return self._settings.state / "runs" / uid / role

    def recover(self) -> None:
        """Adopt what lives, classify what ended, restart what never began; once, before the first pass."""
        for record in list(self._records.values()):
            folder = self.folder(record.uid, record.role)
            if record.phase in {"starting", "running", "stopping"}:
                self._recover_one(record, folder)
        self._fill_slots()

    def observe(self, name: str, uid: str, role: Role) -> Child:
        """Say what lies under a child's name."""
        record = self._records.get(name)
        if record is None:
            return Child(name, Absent())
        if record.uid != uid:
            return Child(name, Foreign(record.owner), str(record.version))
        if record.phase in {"ended", "suspended"} and not self.folder(uid, role).exists():
            return Child(name, Absent())  # somebody removed the run folder: there is nothing left to go on from
        return Child(name, self._state_of(record), str(record.version))

    def is_live(self, uid: str, role: str) -> bool:
        """Say whether the child's log may still grow."""
        return any(
            r.uid == uid and r.role == role and r.phase not in {"ended", "suspended"} for r in self._records.values()
        )

    def running(self) -> tuple[ChildRecord, ...]:
        """Return the children whose progress is worth a look."""
        return tuple(r for r in self._records.values() if r.phase == "running")

    def create(self, action: CreateChild, job: FineTuneJob, request: TrainRequest) -> None:
        """Make a child; one that is there and ours is success.

        Args:
            action: Name, role and restarts.
            job: The child's owner.
            request: What it is given.

        Raises:
            Conflict: The name is taken by another object's child.
        """
        uid, role = job.metadata.uid, action.role
        old = self._records.get(action.name)
        folder = self.folder(uid, role)
        if old is not None and old.uid != uid:
            raise Conflict(f"child {action.name!r} belongs to {old.owner}")
        if old is not None and (old.phase not in {"ended", "suspended"} or folder.exists()):
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "request.json", request.to_json())
        now = to_rfc3339(self._clock.now())
        self._put(
            ChildRecord(
                name=action.name,
                role=role,
                uid=uid,
                owner=f"{job.metadata.namespace}/{job.metadata.name}",
                since=now,
                max_restarts=action.max_restarts,
                not_before=now,
                memory_bytes=child_limits(job).memory_bytes,
                gpus=job.spec.resources.gpus if role == "train" else 0,
            )
        )
        self._fill_slots()

    def resume(self, action: ResumeChild) -> None:
        """Let a suspended child go on; one that is being stopped for suspension will."""
        record = self._records.get(action.name)
        now = self._clock.now()
        if record is not None and record.phase == "suspended":
            self._put(record.moved("waiting", now, not_before=to_rfc3339(now)))
            self._fill_slots()
        elif record is not None and record.stop == "Suspend":
            self._put(record.model_copy(update={"stop": ""}))

    def stop(self, action: StopChild) -> None:
        """Ask a child to end; it saves, and is killed after its grace.

        Raises:
            Conflict: The child changed since the decision.
        """
        record = self._checked(action.name, action.resource_version)
        if record is None or record.phase in {"ended", "stopping"}:
            return
        reason = action.reason.value
        now = self._clock.now()
        if record.phase == "running":
            self._begin_stop(record.moved("stopping", now, stop=reason, grace_s=action.grace_s))
        elif reason == "Suspend":
            self._put(record.moved("suspended", now))
        elif reason == "End":
            self._put(record.moved("ended", now, exit_class=ExitClass.PREEMPTED, note="stopped before it started"))
        self._fill_slots()

    def delete(self, action: DeleteChild) -> None:
        """Stop the child where it lives, then forget it with its folder.

        Raises:
            Conflict: The child changed since the decision.
        """
        record = self._checked(action.name, action.resource_version)
        if record is None:
            return
        if record.phase in {"starting", "running", "stopping"}:
            now = self._clock.now()
            self._begin_stop(record.moved("stopping", now, stop="Delete", grace_s=action.grace_s))
        else:
            self._forget(record)
        self._fill_slots()

    def forget_job(self, uid: str) -> None:
        """Remove what is left of a job that is gone."""
        shutil.rmtree(self._settings.state / "runs" / uid, ignore_errors=True)

    def all(self) -> tuple[ChildRecord, ...]:
        """Return every child."""
        return tuple(self._records.values())

    async def close(self, *, now: bool) -> None:
        """End the living children so that they save; they go on with the next `graft up`.

        Args:
            now: Kill instead.
        """
        self._is_closing = True
        for timer in self._timers.values():
            timer.cancel()
        living = [r for r in self._records.values() if r.pid and r.phase in {"running", "stopping"}]
        for record in living:
            self._signal(record, signal.SIGKILL if now else signal.SIGTERM)
        deadline = self._clock.monotonic() + (2.0 if now else self._settings.stop_grace_s)
        # Several processes, once, at the very end: looking is simpler than waiting for events here.
        while self._clock.monotonic() < deadline and any(self._is_alive(r) for r in living):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the ends of several processes, once, at the very end
        for record in living:
            if self._is_alive(record):
                self._signal(record, signal.SIGKILL)

    def _state_of(self, record: ChildRecord) -> ChildState:
        since = from_rfc3339(record.since)
        match record.phase:
            case "waiting" if record.attempt == 0 or from_rfc3339(record.not_before) <= self._clock.now():
                return Suspended("queue")
            case "waiting":
                return Pending(
                    since,
                    "BackOff",
                    f"attempt {record.attempt} ended {record.last_end}; the next begins at {record.not_before}",
                )
            case "starting":
                return Pending(since, "Starting")
            case "running":
                folder = self.folder(record.uid, record.role)
                return Running(since, resumed_step(folder, record.progress_offset), record.last_end)
            case "stopping":
                return Terminating()
            case "suspended":
                return Suspended("spec")
            case "ended":
                return self._end_of(record, since)

    def _end_of(self, record: ChildRecord, at: datetime) -> ChildState:
        report = self._report_of(record)
        kind = record.exit_class or ExitClass.INFRASTRUCTURE
        if kind is ExitClass.SUCCEEDED and report is not None:
            return Succeeded(at, report)
        if kind is ExitClass.SUCCEEDED:
            return Failed(
                ExitClass.BUG, "it ended with exit code 0 but left no readable report.json", "", record.restarts
            )
        told = report is not None and report.exit_class is kind
        message = report.message if report is not None and told else record.note or _describe(kind, record)
        return Failed(kind, message, report.path if report is not None and told else "", record.restarts)

    def _report_of(self, record: ChildRecord) -> TrainReport | None:
        try:
            return TrainReport.model_validate_json((self.folder(record.uid, record.role) / "report.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _checked(self, name: str, version: str) -> ChildRecord | None:
        record = self._records.get(name)
        if record is not None and str(record.version) != version:
            raise Conflict(
                f"child {name!r} changed since it was looked at (version {record.version!r}, expected {version!r})"
            )
        return record

    def _recover_one(self, record: ChildRecord, folder: Path) -> None:
        found = self._processes.find(folder, record.attempt)
        if found is not None:
            adopted = record.model_copy(update={"pid": found[0], "started": found[1]})
            _LOG.info("child_adopted", child=record.name, pid=found[0], attempt=record.attempt)
            if record.phase == "stopping":
                self._watch(adopted)
                self._begin_stop(adopted)
                return
            self._put(adopted if record.phase == "running" else adopted.moved("running", from_rfc3339(record.since)))
            self._watch(adopted)
        elif record.phase == "starting" and self._processes.exit_code(folder, record.attempt) is None:
            self._launch(record)
        else:
            self._ended(record.name, record.attempt)

    def _fill_slots(self) -> None:
        if self._is_closing:
            return
        for role, most in (("check", self._settings.max_checks), ("train", self._settings.max_training)):
            mine = [r for r in self._records.values() if r.role == role]
            free = most - sum(r.phase in {"starting", "running", "stopping"} for r in mine)
            for record in sorted((r for r in mine if r.phase == "waiting"), key=lambda r: (r.since, r.name)):
                wait = (from_rfc3339(record.not_before) - self._clock.now()).total_seconds()
                if wait > 0:
                    self._later(record.name, wait, self._fill_slots)
                elif free > 0:
                    free -= 1
                    self._begin(record)

    def _begin(self, record: ChildRecord) -> None:
        progress = self.folder(record.uid, record.role) / "progress.jsonl"
        offset = progress.stat().st_size if progress.exists() else 0
        starting = record.moved(
            "starting", self._clock.now(), attempt=record.attempt + 1, progress_offset=offset, pid=0
        )
        self._put(starting)
        self._launch(starting)

    def _launch(self, record: ChildRecord) -> None:
        folder = self.folder(record.uid, record.role)
        command = [
            *self._settings.trainer_command,
            _VERBS[record.role],
            "--request",
            str(folder / "request.json"),
            "--run-dir",
            str(folder),
        ]
        env = {k: v for k, v in os.environ.items() if not k.startswith("GRAFT_")}
        env |= {"GRAFT_CHILD": f"{record.uid}/{record.role}", "PYTHONUNBUFFERED": "1"}
        try:
            pid, started = self._processes.start(
                folder, record.attempt, command, env | ({} if record.gpus else _HIDDEN_GPUS)
            )
        except OSError as error:  # no process or memory left: as if it had started and failed
            failed = record.model_copy(update={"note": f"{command[0]} cannot be started: {error}"})
            code = EXIT_CODES[ExitClass.INFRASTRUCTURE]
            self._put(after_exit(failed, code, self._clock.now(), self._settings.backoff_s))
            return
        running = record.moved("running", self._clock.now(), pid=pid, started=started)
        self._put(running)
        self._watch(running)

    def _watch(self, record: ChildRecord) -> None:
        folder, name, attempt = self.folder(record.uid, record.role), record.name, record.attempt
        self._processes.when_ended(folder, (record.pid, record.started), lambda: self._ended(name, attempt))
        if record.memory_bytes is not None:
            self._later(name, MEMORY_LOOK_S, lambda: self._look_at_memory(name, attempt))

    def _ended(self, name: str, attempt: int) -> None:
        record = self._records.get(name)
        if (
            record is None
            or record.attempt != attempt
            or record.phase not in {"starting", "running", "stopping"}
            or self._is_closing
        ):
            return
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        folder = self.folder(record.uid, record.role)
        if self._processes.find(folder, attempt) is not None:
            self._recover_one(record, folder)  # an earlier start of the same attempt was there first, and lives
            return
        if record.stop == "Delete":
            self._forget(record)
        else:
            code = self._processes.exit_code(folder, attempt)
            ended = after_exit(record, code, self._clock.now(), self._settings.backoff_s)
            _LOG.info("child_ended", child=name, attempt=attempt, code=code, next=ended.phase)
            self._put(ended)
        self._fill_slots()

    def _begin_stop(self, record: ChildRecord) -> None:
        self._put(record)
        self._signal(record, signal.SIGTERM)
        self._later(record.name, record.grace_s, lambda: self._signal(record, signal.SIGKILL))

    def _look_at_memory(self, name: str, attempt: int) -> None:
        record = self._records.get(name)
        if record is None or record.attempt != attempt or record.phase != "running" or record.memory_bytes is None:
            return
        used = self._processes.memory_bytes((record.pid, record.started))
        if used <= record.memory_bytes:
            self._later(name, MEMORY_LOOK_S, lambda: self._look_at_memory(name, attempt))
            return
        note = f"it used {used >> 20} MiB, more than the {record.memory_bytes >> 20} MiB of spec.resources.memory; raise that or lower batchSize"
        self._put(record.model_copy(update={"exit_class": ExitClass.OUT_OF_MEMORY, "note": note}))
        self._signal(record, signal.SIGKILL)

    def _is_alive(self, record: ChildRecord) -> bool:
        return self._processes.is_alive(self.folder(record.uid, record.role))

    def _signal(self, record: ChildRecord, number: signal.Signals) -> None:
        self._processes.signal(self.folder(record.uid, record.role), (record.pid, record.started), number)

    def _later(self, name: str, wait_s: float, call: Callable[[], None]) -> None:
        if (old := self._timers.pop(name, None)) is not None:
            old.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(wait_s, call)

    def _put(self, record: ChildRecord) -> None:
        self._db.put_record(_AREA, record.name, record.model_dump(mode="json"))
        self._records[record.name] = record
        self._changed(record.uid)

    def _forget(self, record: ChildRecord) -> None:
        shutil.rmtree(self.folder(record.uid, record.role), ignore_errors=True)
        self._db.drop_record(_AREA, record.name)
        del self._records[record.name]
        self._changed(record.uid)


def _describe(kind: ExitClass, record: ChildRecord) -> str:
    times = f" after {record.restarts} restarts" if record.restarts else ""
    return f"the {record.role} child ended {kind}{times}; `graft logs ftj/{record.owner.partition('/')[2]} --role {record.role}` shows why"
