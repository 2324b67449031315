"""`graft up` and `graft down`: what they hand to the local shell and what they tell; the shell itself is a double here."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import graft_operator.local.up as local_up
from graft_core.errors import Conflict
from graft_operator.local.faults import Cause, Invalid
from graft_operator.local.lock import StateLock
from graft_operator.local.up import UpEvent
from graft_operator.settings import LocalSettings
from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served

JOB = "apiVersion: graft.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: texts}\nspec: {}\n"

Tell = Callable[[UpEvent], None]


class ShellDouble:
    """Stands for `run_up`: notes what it was given and does what a test says."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.settings = LocalSettings()
        self.documents: list[dict[str, Any]] = []

    async def __call__(self, settings: LocalSettings, documents: Sequence[dict[str, Any]], on_event: Tell) -> None:
        """Tell that it is up, then that it is down."""
        self.settings, self.documents = settings, list(documents)
        if self.error is not None:
            raise self.error
        on_event(UpEvent("started", "up", {"version": "9.9.9", "gateway": {"url": "http://127.0.0.1:8123"}}))
        on_event(UpEvent("event", "FineTuneJob/texts Accepted: ok"))
        on_event(UpEvent("stopped", "stopped"))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> ShellDouble:
    """Put the double in the shell's place."""
    double = ShellDouble()
    monkeypatch.setattr(local_up, "run_up", double)
    monkeypatch.setattr("graft_core.telemetry.logs.configure_logs", lambda **options: None)
    return double


def test_up_tells_where_it_serves_and_what_happens(graft: Graft, shell: ShellDouble, tmp_path: Path) -> None:
    ran = graft("up")

    lines = ran.out.splitlines()
    assert lines[:3] == ["graft up 9.9.9", f"  state    {tmp_path}/.graft", "  gateway  http://127.0.0.1:8123"]
    assert "  graft apply -f job.yaml    hand in work" in lines
    assert [line[10:] for line in lines[-2:]] == ["FineTuneJob/texts Accepted: ok", "stopped"]
    assert ran.code == 0


def test_flags_and_files_reach_the_shell(graft: Graft, shell: ShellDouble, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB + "status: {}\n")

    ran = graft("up", "-f", "job.yaml", "--state", "my state", "--port", "0", "--host", "0.0.0.0")

    assert (shell.settings.state, shell.settings.port, shell.settings.host) == (Path("my state"), 0, "0.0.0.0")
    assert [one["metadata"]["name"] for one in shell.documents] == ["texts"]
    assert "graft get --state 'my state' -w" in ran.out
    assert "warning: the gateway listens on 0.0.0.0: whoever reaches this machine may use it" in ran.out
    assert ran.err == "warning: job.yaml: status is Graft's to write; the one in the file is ignored\n"


def test_bad_files_are_told_before_anything_starts(graft: Graft, shell: ShellDouble) -> None:
    ran = graft("up", "-f", "none.yaml")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: nothing was changed: none.yaml: no such file or folder\n"


def test_faults_of_fields_are_told_by_file(graft: Graft, shell: ShellDouble, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    shell.error = Invalid("FineTuneJob/texts", [Cause("spec.task", "Field required")])

    ran = graft("up", "-f", "job.yaml")

    assert (ran.code, ran.err) == (
        1,
        "error: nothing was changed: job.yaml: FineTuneJob/texts: spec.task: Field required\n",
    )


def test_a_shell_that_can_not_start_says_why(graft: Graft, shell: ShellDouble) -> None:
    shell.error = Conflict("port 8080 is taken; choose another --port")

    assert graft("up").err == "error: port 8080 is taken; choose another --port\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--port", "70000"], 2, "70000 is not in the range 0<=x<=65535"),
        (["--state", "x" * 120], 1, "choose a shorter --state"),
        (["--detach", "-f", "-"], 1, "-f - and --detach don't go together"),
    ],
)
def test_what_can_not_work_is_refused(graft: Graft, shell: ShellDouble, words: list[str], code: int, told: str) -> None:
    ran = graft("up", *words)

    assert told in ran.err
    assert ran.code == code


def test_detached_it_is_started_as_a_command_of_its_own(
    graft: Graft, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def start(command: Sequence[str], state: Path) -> int:
        assert state == served.state
        started.append(list(command))
        return 4242

    monkeypatch.setattr(local_up, "start_detached", start)

    ran = graft("up", "--detach", "-f", "job.yaml", "--port", "8123", state=served.state)

    place = ["--state", str(served.state), "--port", "8123", "--host", "127.0.0.1", "--max-training", "1"]
    logs = ["--log-level", "WARNING", "--log-format", "plain"]
    assert started == [[sys.executable, "-m", "graft_operator.cli", "up", "-f", "job.yaml", *place, *logs]]
    assert ran.out == f"graft up (pid 4242) serves http://127.0.0.1:8080; its log is {served.state}/up.log\n"


def test_detached_a_second_one_is_refused_at_once(graft: Graft, tmp_path: Path) -> None:
    lock = StateLock(tmp_path / ".graft")
    try:
        ran = graft("up", "--detach")
    finally:
        lock.release()

    assert ran.code == 1
    assert "runs on the state folder '.graft'; `graft down` ends it" in ran.err


@pytest.mark.parametrize(
    ("pid", "out", "err"),
    [(4242, "graft up (pid 4242) stopped\n", ""), (None, "", "no `graft up` runs on the state folder '.graft'\n")],
)
def test_down_says_whom_it_stopped(
    graft: Graft, monkeypatch: pytest.MonkeyPatch, pid: int | None, out: str, err: str
) -> None:
    asked: list[tuple[Path, bool, float]] = []

    def stop(state: Path, *, now: bool, timeout_s: float) -> int | None:
        asked.append((state, now, timeout_s))
        return pid

    monkeypatch.setattr(local_up, "stop_running", stop)

    ran = graft("down", "--now", "--timeout", "2m")

    assert (ran.code, ran.out, ran.err) == (0, out, err)
    assert asked == [(Path(".graft"), True, 120.0)]
