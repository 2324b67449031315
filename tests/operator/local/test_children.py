"""Trainer children: limits, stops, restarts, and what a restart of `graft up` finds; processes only pretend."""

import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.clock import SystemClock
from graft_core.contracts.base import ObjectRef
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.train_report import Progress, TrainReport
from graft_core.errors import Conflict
from graft_operator.local.children import Children
from graft_operator.local.database import Database
from graft_operator.reconcile.decision import CreateChild, DeleteChild, ResumeChild, StopChild, StopReason
from graft_operator.reconcile.observed import (
    Absent,
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
from graft_operator.render.train_request import render_train_request
from graft_operator.settings import LocalSettings
from tests.operator.local.doubles import PretendedProcesses, a_job, until

PREEMPTED, INFRASTRUCTURE = EXIT_CODES[ExitClass.PREEMPTED], EXIT_CODES[ExitClass.INFRASTRUCTURE]


@dataclass
class Nursery:
    """Children over pretended processes, on a database that outlives them."""

    folder: Path
    processes: PretendedProcesses = field(default_factory=PretendedProcesses)
    changed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = LocalSettings(
            state=self.folder / "s", backoff_s=(0.001, 0.002), trainer_command=("trainer",), stop_grace_s=0.2
        )
        self.settings.state.mkdir()
        self.database = Database(self.settings.state / "objects.db")
        self.children = self.begin()

    def begin(self) -> Children:
        return Children(self.database, self.processes, SystemClock(), self.settings, self.changed.append)

    def restart(self) -> None:
        """`kill -9` of `graft up`, and the next one."""
        self.processes.forget_watchers()
        self.children = self.begin()
        self.children.recover()

    def create(self, uid: str = "u1", role: Role = "train", **spec: Any) -> None:
        job = FineTuneJob.model_validate(a_job(**spec) | {"metadata": {"name": "texts", "uid": uid, "generation": 1}})
        request = render_train_request(job, pinned=None, default_output_uri="file:///out/")
        self.children.create(CreateChild(role, f"{uid}-{role}", None, 2), job, request)

    def state(self, uid: str = "u1", role: Role = "train") -> ChildState:
        return self.children.observe(f"{uid}-{role}", uid, role).state

    def version(self, uid: str = "u1") -> str:
        return self.children.observe(f"{uid}-train", uid, "train").resource_version

    def stop(self, reason: StopReason, grace_s: float = 5.0) -> None:
        self.children.stop(StopChild("train", "u1-train", grace_s, reason, self.version()))

    def report(self, kind: ExitClass, **values: Any) -> None:
        report = TrainReport(
            job=ObjectRef(namespace="default", name="texts", uid="u1"), role="train", exit_class=kind, **values
        )
        (self.children.folder("u1", "train") / "report.json").write_text(report.to_json())


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    found = Nursery(tmp_path)
    yield found
    found.database.close()


async def test_a_child_is_given_its_request_and_nothing_of_grafts_own_settings(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_STATE", "/elsewhere")
    monkeypatch.setenv("AWS_REGION", "eu-1")
    nursery.create()
    (attempt,) = nursery.processes.attempts
    folder = nursery.settings.state / "runs" / "u1" / "train"
    assert attempt.command == ["trainer", "run", "--request", str(folder / "request.json"), "--run-dir", str(folder)]
    assert attempt.env["GRAFT_CHILD"] == "u1/train"
    assert attempt.env["AWS_REGION"] == "eu-1"
    assert attempt.env["CUDA_VISIBLE_DEVICES"] == ""
    assert "GRAFT_STATE" not in attempt.env
    assert '"outputPrefix":"file:///out/default/texts/"' in (folder / "request.json").read_text()
    assert isinstance(nursery.state(), Running)
    assert nursery.children.is_live("u1", "train")


async def test_creating_twice_is_creating_once(nursery: Nursery) -> None:
    nursery.create()
    nursery.create()
    assert len(nursery.processes.attempts) == 1


async def test_the_name_of_another_object_is_not_taken(nursery: Nursery) -> None:
    nursery.create()
    assert nursery.children.observe("u1-train", "u2", "train").state == Foreign("default/texts")
    assert nursery.children.observe("other", "u1", "train").state == Absent()


async def test_trainings_wait_for_one_another_and_checks_do_not(nursery: Nursery) -> None:
    nursery.create("u1")
    nursery.create("u2")
    nursery.create("u3", role="check")
    assert nursery.state("u2") == Suspended("queue")
    assert isinstance(nursery.state("u3", "check"), Running)
    nursery.processes.attempts[0].code, nursery.processes.attempts[0].is_alive = 0, False
    for call in nursery.processes.attempts[0].ended:
        call()
    assert isinstance(nursery.state("u2"), Running)


async def test_a_finished_child_shows_its_report(nursery: Nursery) -> None:
    nursery.create()
    nursery.report(ExitClass.SUCCEEDED, metrics={"accuracy": "0.9"})
    nursery.processes.end(0)
    state = nursery.state()
    assert isinstance(state, Succeeded)
    assert state.report.metrics == {"accuracy": "0.9"}


async def test_success_without_a_report_is_a_bug(nursery: Nursery) -> None:
    nursery.create()
    nursery.processes.end(0)
    assert nursery.state() == Failed(ExitClass.BUG, "it ended with exit code 0 but left no readable report.json", "", 0)


async def test_a_failure_carries_the_reports_words(nursery: Nursery) -> None:
    nursery.create()
    nursery.report(ExitClass.INVALID_DATASET, message="line 7 has no label", path="train.jsonl:7")
    nursery.processes.end(EXIT_CODES[ExitClass.INVALID_DATASET])
    assert nursery.state() == Failed(ExitClass.INVALID_DATASET, "line 7 has no label", "train.jsonl:7", 0)


async def test_infrastructure_restarts_until_it_is_used_up(nursery: Nursery) -> None:
    nursery.create()
    for attempt in (1, 2, 3):
        await until(lambda n=attempt: len(nursery.processes.attempts) == n)  # type: ignore[misc]  # bound per turn
        nursery.processes.end(INFRASTRUCTURE)
    state = nursery.state()
    assert isinstance(state, Failed)
    assert (state.exit_class, state.restarts) == (ExitClass.INFRASTRUCTURE, 2)
    assert "after 2 restarts" in state.message


async def test_a_restarted_child_tells_where_it_went_on_and_why(nursery: Nursery) -> None:
    nursery.create()
    progress = nursery.children.folder("u1", "train") / "progress.jsonl"
    progress.write_text(Progress(at="2026-01-01T00:00:00Z", phase="Training").to_json() + "\n")
    nursery.processes.end(PREEMPTED)
    await until(lambda: len(nursery.processes.attempts) == 2)
    with progress.open("a") as file:
        file.write(Progress(at="2026-01-01T00:00:08Z", phase="Preparing").to_json() + "\n")
        file.write(Progress(at="2026-01-01T00:00:09Z", phase="Training", resumed_from_step=40).to_json() + "\n")
    state = nursery.state()
    assert isinstance(state, Running)
    assert (state.resumed_from_step, state.last_end) == (40, "Preempted")


async def test_while_it_backs_off_a_child_is_pending(nursery: Nursery) -> None:
    nursery.children._settings = nursery.settings.model_copy(update={"backoff_s": (60.0, 60.0)})
    nursery.create()
    nursery.processes.end(INFRASTRUCTURE)
    state = nursery.state()
    assert isinstance(state, Pending)
    assert state.reason == "BackOff"
    assert "attempt 1 ended Infrastructure" in state.message


async def test_suspending_saves_and_resuming_goes_on(nursery: Nursery) -> None:
    nursery.create()
    nursery.stop(StopReason.SUSPEND)
    assert nursery.state() == Terminating()
    assert nursery.processes.attempts[0].signals == [signal.SIGTERM]
    nursery.processes.end(PREEMPTED)
    assert nursery.state() == Suspended("spec")
    nursery.children.resume(ResumeChild("train", "u1-train"))
    assert len(nursery.processes.attempts) == 2


async def test_a_child_that_does_not_stop_is_killed_after_its_grace(nursery: Nursery) -> None:
    nursery.create()
    nursery.stop(StopReason.END, grace_s=0.01)
    await until(lambda: signal.SIGKILL in nursery.processes.attempts[0].signals)
    nursery.processes.end(None)
    state = nursery.state()
    assert isinstance(state, Failed)


async def test_a_stop_on_an_old_view_is_a_conflict(nursery: Nursery) -> None:
    nursery.create()
    with pytest.raises(Conflict, match="changed since"):
        nursery.children.stop(StopChild("train", "u1-train", 5.0, StopReason.SUSPEND, "0"))


async def test_a_waiting_child_is_suspended_without_having_run(nursery: Nursery) -> None:
    nursery.create("u0")
    nursery.create()
    nursery.stop(StopReason.SUSPEND)
    assert nursery.state() == Suspended("spec")


async def test_deleting_stops_and_leaves_nothing(nursery: Nursery) -> None:
    nursery.create()
    nursery.children.delete(DeleteChild("train", "u1-train", 5.0, nursery.version()))
    assert nursery.state() == Terminating()
    nursery.processes.end(PREEMPTED)
    assert nursery.state() == Absent()
    assert not nursery.children.folder("u1", "train").exists()
    nursery.children.delete(DeleteChild("train", "u1-train", 5.0, "1"))  # gone already: fine


async def test_a_run_folder_that_somebody_removed_is_a_child_that_is_gone(nursery: Nursery) -> None:
    nursery.create()
    nursery.processes.end(0)
    nursery.children.forget_job("u1")
    assert nursery.state() == Absent()
    nursery.create()
    assert len(nursery.processes.attempts) == 2


async def test_over_its_memory_a_child_ends_as_out_of_memory(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft_operator.local.children.MEMORY_LOOK_S", 0.001)
    nursery.create(resources={"memory": "64Mi"})
    nursery.processes.used_bytes = 65 << 20
    await until(lambda: signal.SIGKILL in nursery.processes.attempts[0].signals)
    nursery.processes.end(-9)
    state = nursery.state()
    assert isinstance(state, Failed)
    assert state.exit_class is ExitClass.OUT_OF_MEMORY
    assert "65 MiB, more than the 64 MiB of spec.resources.memory" in state.message


async def test_a_system_without_processes_left_counts_as_infrastructure(nursery: Nursery) -> None:
    nursery.children._settings = nursery.settings.model_copy(update={"backoff_s": (60.0, 60.0)})
    nursery.processes.fault = OSError(11, "Resource temporarily unavailable")
    nursery.create()
    assert isinstance(nursery.state(), Pending)


async def test_a_living_child_is_adopted_by_the_next_graft_up(nursery: Nursery) -> None:
    nursery.create()
    nursery.restart()
    assert len(nursery.processes.attempts) == 1
    assert isinstance(nursery.state(), Running)
    nursery.report(ExitClass.SUCCEEDED)
    nursery.processes.end(0)
    assert isinstance(nursery.state(), Succeeded)


async def test_a_child_that_ended_meanwhile_is_classified_by_its_record(nursery: Nursery) -> None:
    nursery.create()
    nursery.processes.forget_watchers()
    nursery.processes.end(EXIT_CODES[ExitClass.POLICY_DENIED])
    nursery.restart()
    state = nursery.state()
    assert isinstance(state, Failed)
    assert state.exit_class is ExitClass.POLICY_DENIED


async def test_a_child_killed_together_with_everything_starts_again(nursery: Nursery) -> None:
    nursery.create()
    nursery.processes.forget_watchers()
    nursery.processes.end(None)
    nursery.restart()
    await until(lambda: len(nursery.processes.attempts) == 2)
    assert [a.number for a in nursery.processes.attempts] == [1, 2]


@pytest.mark.parametrize("was_started", [True, False])
async def test_killed_between_intent_and_record_it_is_one_attempt(nursery: Nursery, *, was_started: bool) -> None:
    nursery.create()
    record = nursery.children.all()[0].model_copy(update={"phase": "starting", "pid": 0})
    nursery.database.put_record("children", record.name, record.model_dump(mode="json"))
    if not was_started:
        nursery.processes.attempts.clear()
    nursery.restart()
    assert [a.number for a in nursery.processes.attempts] == [1]
    assert isinstance(nursery.state(), Running)


async def test_a_stop_under_way_goes_on_after_a_restart(nursery: Nursery) -> None:
    nursery.create()
    nursery.stop(StopReason.SUSPEND)
    nursery.restart()
    assert nursery.processes.attempts[0].signals == [signal.SIGTERM, signal.SIGTERM]
    nursery.processes.end(PREEMPTED)
    assert nursery.state() == Suspended("spec")


async def test_closing_lets_children_save_and_kills_those_that_do_not(nursery: Nursery) -> None:
    nursery.create()
    await nursery.children.close(now=False)
    assert nursery.processes.attempts[0].signals == [signal.SIGTERM, signal.SIGKILL]
    nursery.processes.end(PREEMPTED)
    nursery.restart()
    await until(lambda: len(nursery.processes.attempts) == 2)
    state = nursery.state()
    assert isinstance(state, Running)
    assert state.last_end == "Preempted"
