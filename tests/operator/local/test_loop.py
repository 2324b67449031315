"""The loop runs passes by object: to the end of a job without another pass being needed, and again after faults."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from opentelemetry import trace

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.clock import SystemClock, to_rfc3339
from graft_core.contracts.base import ObjectRef
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import Progress, TrainReport
from graft_core.errors import Conflict, NotReady, Unavailable
from graft_operator.local.admission import admit
from graft_operator.local.artifacts import Artifacts
from graft_operator.local.children import Children
from graft_operator.local.database import Database
from graft_operator.local.documents import ObjectKey
from graft_operator.local.events import EventLog
from graft_operator.local.job_shell import JobShell
from graft_operator.local.loop import Loop
from graft_operator.local.objects import ObjectStore
from graft_operator.local.release_shell import ReleaseShell
from graft_operator.reconcile.decision import FineTuneJobDecision
from graft_operator.reconcile.observed import Policy
from graft_operator.settings import LocalSettings
from tests.builders import a_dataset_status
from tests.operator.local.doubles import PretendedProcesses, a_job, until

# Several passes on a busy machine.
pytestmark = pytest.mark.timeout(20)

KEY = ObjectKey("FineTuneJob", "default", "texts")


class NoReleases:
    """A double of the other kind's shell, for a folder without releases."""

    def forget(self, uid: str) -> None:
        raise AssertionError


class Shell:
    """A loop over jobs whose processes only pretend."""

    def __init__(self, folder: Path) -> None:
        settings = LocalSettings(state=folder / "s", backoff_s=(0.001, 0.002), trainer_command=("trainer",))
        settings.state.mkdir()
        clock = SystemClock()
        self.database = Database(settings.state / "objects.db")
        self.store = ObjectStore(self.database, clock, admit)
        self.processes = PretendedProcesses()
        self.told: list[str] = []
        self.children = Children(self.database, self.processes, clock, settings, self._changed)
        artifacts = Artifacts(clock, settings.state / "tmp")
        self.jobs = JobShell(self.store, self.children, artifacts, clock, Policy(), (settings.state / "store").as_uri())
        events = EventLog(self.database, clock)
        releases = cast("ReleaseShell", NoReleases())
        self.loop = Loop(
            self.store,
            events,
            self.jobs,
            releases,
            clock,
            1.0,
            lambda body, kind, reason, message: self.told.append(reason),
        )

    def _changed(self, uid: str) -> None:
        self.loop.mark_uid(uid)

    def status(self) -> dict[str, Any]:
        return dict(self.store.get(KEY)["status"])

    def finish(self, role: str, **values: Any) -> None:
        """Let the newest child write its report and end."""
        uid = self.store.get(KEY)["metadata"]["uid"]
        job = ObjectRef(namespace="default", name="texts", uid=uid)
        report = TrainReport.model_validate({"job": job, "role": role, "exitClass": ExitClass.SUCCEEDED, **values})
        (self.processes.attempts[-1].folder / "report.json").write_text(report.to_json())
        self.processes.end(0)


@pytest.fixture
async def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    monkeypatch.setattr("graft_operator.local.loop.PROGRESS_LOOK_S", 0.005)
    monkeypatch.setattr("graft_operator.reconcile.pacing.AFTER_ACTIONS_S", 0.001)
    monkeypatch.setattr("graft_operator.reconcile.pacing.FIRST_RETRY_S", 0.001)
    found = Shell(tmp_path)
    task = asyncio.create_task(found.loop.run())
    yield found
    await found.loop.stop()
    task.cancel()
    await asyncio.wait({task})
    found.database.close()


async def test_a_job_goes_from_check_to_training_and_then_nothing_is_written(shell: Shell) -> None:
    shell.store.create(a_job())
    await until(lambda: len(shell.processes.attempts) == 1 and shell.status().get("phase") == "Preparing")
    dataset = a_dataset_status().model_dump(mode="json", by_alias=True)
    shell.finish("check", dataset=dataset, base_revision="sha256:" + "b" * 64, labels=["a", "b"])
    await until(lambda: len(shell.processes.attempts) == 2 and shell.status()["phase"] == "Preparing")
    assert shell.processes.attempts[1].command[1] == "run"
    progress = Progress.model_validate(
        {"at": to_rfc3339(SystemClock().now()), "phase": "Training", "status": {"step": 3, "total_steps": 9}}
    )
    (shell.processes.attempts[1].folder / "progress.jsonl").write_text(progress.to_json() + "\n")
    await until(lambda: shell.status().get("progress", {}).get("step") == 3)
    revision = shell.database.revision()
    for _ in range(5):
        shell.loop.mark(KEY)
        await asyncio.sleep(0.01)
    assert shell.database.revision() == revision
    assert "Accepted" in shell.told


async def test_a_deleted_job_stops_its_child_and_goes(shell: Shell) -> None:
    shell.store.create(a_job())
    await until(lambda: len(shell.processes.attempts) == 1)
    shell.store.delete(KEY)
    await until(lambda: len(shell.processes.attempts[0].signals) > 0)
    shell.processes.end(143)
    await until(lambda: shell.store.find(KEY) is None)


@pytest.mark.parametrize(
    "fault",
    [Conflict("x"), NotReady("x", retry_after_s=0.001), Unavailable("x"), OSError(28, "x"), ZeroDivisionError()],
)
async def test_a_pass_that_fails_is_run_again(shell: Shell, fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    decide, faults = shell.jobs.decide, [fault]

    async def decide_after_a_fault(job: FineTuneJob, now: datetime) -> FineTuneJobDecision:
        if faults:
            raise faults.pop()
        return await decide(job, now)

    monkeypatch.setattr(shell.jobs, "decide", decide_after_a_fault)
    shell.store.create(a_job())
    await until(lambda: len(shell.processes.attempts) == 1)


async def test_a_status_decided_on_an_old_view_is_not_written(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    decide, turns = shell.jobs.decide, [1]

    async def decide_while_it_changes(job: FineTuneJob, now: datetime) -> FineTuneJobDecision:
        decision = await decide(job, now)
        if turns:
            turns.pop()
            shell.store.apply([a_job(suspend=True)])
        return decision

    monkeypatch.setattr(shell.jobs, "decide", decide_while_it_changes)
    shell.store.create(a_job())
    await until(lambda: shell.status().get("observedGeneration") == 2)
    assert shell.status()["phase"] == "Suspended"


async def test_a_child_is_told_the_trace_of_the_pass_that_made_it(shell: Shell) -> None:
    parent = trace.SpanContext(0x5CE0E9A56015FEC5AADFA328AE398115, 0xAB54A98CEB1F0AD2, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(parent)):
        shell.store.create(a_job())
        shell.loop.mark(KEY)  # the pass's task takes the context it is made in
        await until(lambda: len(shell.processes.attempts) == 1)

    request = (shell.processes.attempts[0].folder / "request.json").read_text()
    assert '"traceparent":"00-5ce0e9a56015fec5aadfa328ae398115-' in request
