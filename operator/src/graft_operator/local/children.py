"""Trainer children: made, restarted by the rules of `exit_codes`, stopped, found again after a crash.

Every step is written down before it is taken and once it was: intent (starting, attempt n), start, pid with start time. A crash between
any two of them is met by `recover`: the folder's lock says whether attempt n lives, its exit record how it ended; neither means that it
never started or was killed.
"""

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.clock import Clock, from_rfc3339, to_rfc3339
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import Conflict
from graft_core.telemetry.logs import get_log
from graft_operator.local.child_record import ChildRecord, after_exit
from graft_operator.local.child_view import state_of
from graft_operator.local.database import Database
from graft_operator.local.files import write_text
from graft_operator.local.processes import Processes
from graft_operator.local.supervised import Supervised
from graft_operator.reconcile.decision import CreateChild, DeleteChild, ResumeChild, StopChild
from graft_operator.reconcile.observed import (
    Absent,
    Child,
    Foreign,
    Role,
)
from graft_operator.render.limits import child_limits
from graft_operator.settings import LocalSettings

__all__ = ["Children"]

_LOG = get_log(__name__)

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
        self._processes = processes
        self._clock = clock
        self._settings = settings
        self._kept = Supervised("children", ChildRecord, self._folder, database, processes, clock, changed)
        self._is_closing = False

    def folder(self, uid: str, role: str) -> Path:
        """Return the run folder of a child."""
        return self._settings.state / "runs" / uid / role

    def recover(self) -> None:
        """Adopt what lives, classify what ended, restart what never began; once, before the first pass."""
        for record in self._kept.all():
            folder = self._folder(record)
            if record.phase in {"starting", "running", "stopping"}:
                self._recover_one(record, folder)
        self._fill_slots()

    def observe(self, name: str, uid: str, role: Role) -> Child:
        """Say what lies under a child's name."""
        record = self._kept.get(name)
        if record is None:
            return Child(name, Absent())
        if record.uid != uid:
            return Child(name, Foreign(record.owner), str(record.version))
        if record.phase in {"ended", "suspended"} and not self.folder(uid, role).exists():
            return Child(name, Absent())  # somebody removed the run folder: there is nothing left to go on from
        return Child(name, state_of(record, self.folder(uid, role), self._clock.now()), str(record.version))

    def is_live(self, uid: str, role: str) -> bool:
        """Say whether the child's log may still grow."""
        return any(r.uid == uid and r.role == role and r.phase not in {"ended", "suspended"} for r in self._kept.all())

    def running(self) -> tuple[ChildRecord, ...]:
        """Return the children whose progress is worth a look."""
        return tuple(r for r in self._kept.all() if r.phase == "running")

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
        old = self._kept.get(action.name)
        folder = self.folder(uid, role)
        if old is not None and old.uid != uid:
            raise Conflict(f"child {action.name!r} belongs to {old.owner}")
        if old is not None and (old.phase not in {"ended", "suspended"} or folder.exists()):
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "request.json", request.to_json())
        now = to_rfc3339(self._clock.now())
        self._kept.put(
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
        record = self._kept.get(action.name)
        now = self._clock.now()
        if record is not None and record.phase == "suspended":
            self._kept.put(record.moved("waiting", now, not_before=to_rfc3339(now)))
            self._fill_slots()
        elif record is not None and record.stop == "Suspend":
            self._kept.put(record.model_copy(update={"stop": ""}))

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
            self._kept.stop(record.moved("stopping", now, stop=reason, grace_s=action.grace_s), action.grace_s)
        elif reason == "Suspend":
            self._kept.put(record.moved("suspended", now))
        elif reason == "End":
            self._kept.put(record.moved("ended", now, exit_class=ExitClass.PREEMPTED, note="stopped before it started"))
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
            self._kept.stop(record.moved("stopping", now, stop="Delete", grace_s=action.grace_s), action.grace_s)
        else:
            self._forget(record)
        self._fill_slots()

    def forget_job(self, uid: str) -> None:
        """Remove what is left of a job that is gone."""
        shutil.rmtree(self._settings.state / "runs" / uid, ignore_errors=True)

    def all(self) -> tuple[ChildRecord, ...]:
        """Return every child."""
        return self._kept.all()

    async def close(self, *, now: bool) -> None:
        """End the living children so that they save; they go on with the next `graft up`.

        Args:
            now: Kill instead.
        """
        self._is_closing = True
        self._kept.cancel_all()
        living = [r for r in self._kept.all() if r.pid and r.phase in {"running", "stopping"}]
        await self._kept.end_all(living, self._settings.stop_grace_s, now=now)

    def _checked(self, name: str, version: str) -> ChildRecord | None:
        record = self._kept.get(name)
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
                self._kept.stop(adopted, adopted.grace_s)
                return
            self._kept.put(
                adopted if record.phase == "running" else adopted.moved("running", from_rfc3339(record.since))
            )
            self._watch(adopted)
        elif record.phase == "starting" and self._processes.exit_code(folder, record.attempt) is None:
            self._launch(record)
        else:
            self._ended(record.name, record.attempt)

    def _fill_slots(self) -> None:
        if self._is_closing:
            return
        for role, most in (("check", self._settings.max_checks), ("train", self._settings.max_training)):
            mine = [r for r in self._kept.all() if r.role == role]
            free = most - sum(r.phase in {"starting", "running", "stopping"} for r in mine)
            for record in sorted((r for r in mine if r.phase == "waiting"), key=lambda r: (r.since, r.name)):
                wait = (from_rfc3339(record.not_before) - self._clock.now()).total_seconds()
                if wait > 0:
                    self._kept.later(record.name, wait, self._fill_slots)
                elif free > 0:
                    free -= 1
                    self._begin(record)

    def _begin(self, record: ChildRecord) -> None:
        progress = self._folder(record) / "progress.jsonl"
        offset = progress.stat().st_size if progress.exists() else 0
        starting = record.moved(
            "starting", self._clock.now(), attempt=record.attempt + 1, progress_offset=offset, pid=0
        )
        self._kept.put(starting)
        self._launch(starting)

    def _launch(self, record: ChildRecord) -> None:
        folder = self._folder(record)
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
            self._kept.put(after_exit(failed, code, self._clock.now(), self._settings.backoff_s))
            return
        running = record.moved("running", self._clock.now(), pid=pid, started=started)
        self._kept.put(running)
        self._watch(running)

    def _watch(self, record: ChildRecord) -> None:
        folder, name, attempt = self._folder(record), record.name, record.attempt
        self._processes.when_ended(folder, (record.pid, record.started), lambda: self._ended(name, attempt))
        if record.memory_bytes is not None:
            self._kept.later(name, MEMORY_LOOK_S, lambda: self._look_at_memory(name, attempt))

    def _ended(self, name: str, attempt: int) -> None:
        record = self._kept.get(name)
        if (
            record is None
            or record.attempt != attempt
            or record.phase not in {"starting", "running", "stopping"}
            or self._is_closing
        ):
            return
        self._kept.cancel(name)
        folder = self._folder(record)
        if self._processes.find(folder, attempt) is not None:
            self._recover_one(record, folder)  # an earlier start of the same attempt was there first, and lives
            return
        if record.stop == "Delete":
            self._forget(record)
        else:
            code = self._processes.exit_code(folder, attempt)
            ended = after_exit(record, code, self._clock.now(), self._settings.backoff_s)
            _LOG.info("child_ended", child=name, attempt=attempt, code=code, next=ended.phase)
            self._kept.put(ended)
        self._fill_slots()

    def _look_at_memory(self, name: str, attempt: int) -> None:
        record = self._kept.get(name)
        if record is None or record.attempt != attempt or record.phase != "running" or record.memory_bytes is None:
            return
        used = self._processes.memory_bytes((record.pid, record.started))
        if used <= record.memory_bytes:
            self._kept.later(name, MEMORY_LOOK_S, lambda: self._look_at_memory(name, attempt))
            return
        note = f"it used {used >> 20} MiB, more than the {record.memory_bytes >> 20} MiB of spec.resources.memory; raise that or lower batchSize"
        self._kept.put(record.model_copy(update={"exit_class": ExitClass.OUT_OF_MEMORY, "note": note}))
        self._kept.signal(record, signal.SIGKILL)

    def _folder(self, record: ChildRecord) -> Path:
        return self.folder(record.uid, record.role)

    def _forget(self, record: ChildRecord) -> None:
        shutil.rmtree(self._folder(record), ignore_errors=True)
        self._kept.drop(record)
