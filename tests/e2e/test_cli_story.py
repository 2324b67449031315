"""The command line as a person uses it, from `graft up --detach` to `graft down`: whole processes, a double of the trainer."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.local_up import LocalUp, a_job, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class Terminal:
    """A folder, a state folder, and `graft` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._up = LocalUp(folder)
        self.env = {**self._up.env, "GRAFT_STATE": str(self._up.state), "COLUMNS": "120"}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command and leave it running."""
        command = [sys.executable, "-m", "graft_operator.cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def write(self, name: str, *bodies: object) -> None:
        """Write a manifest."""
        (self.folder / name).write_text("---\n".join(yaml.safe_dump(body) for body in bodies))

    def end(self) -> None:
        """End whatever is left."""
        self.run("down", "--now")
        self._up.end()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(tmp_path)
    code, out, err = found.run("up", "--detach", "--port", "0")
    assert (code, err) == (0, ""), out
    assert "serves http://127.0.0.1:" in out
    yield found
    found.end()


def test_a_job_is_handed_in_watched_waited_for_and_deleted(terminal: Terminal) -> None:
    terminal.write("job.yaml", a_job(steps=40))

    assert terminal.run("apply", "-f", "job.yaml") == (0, "finetunejob.graft.dev/texts created\n", "")
    watch = terminal.start("get", "ftj", "-w")
    assert terminal.run("wait", "ftj/texts", "--for=condition=Complete", "--timeout=90s") == (
        0,
        "finetunejob.graft.dev/texts condition met\n",
        "",
    )
    watch.send_signal(signal.SIGINT)
    seen, err = watch.communicate(timeout=30)
    assert (watch.returncode, err.strip()) == (130, "")
    assert seen.startswith("NAME ")
    assert "Succeeded" in seen.splitlines()[-1]

    code, log, err = terminal.run("logs", "-f", "ftj/texts")
    assert (code, err) == (0, "")
    assert "run begins" in log
    assert terminal.run("report", "texts")[1].endswith("/report.html\n")
    assert "Phase:       Succeeded" in terminal.run("describe", "ftj/texts")[1]
    assert terminal.run("delete", "ftj", "--all") == (0, 'finetunejob.graft.dev "texts" deleted\n', "")
    assert terminal.run("get") == (0, "", "No resources found in namespace default.\n")


def test_a_job_that_can_not_complete_ends_the_wait_with_its_reason(terminal: Terminal) -> None:
    terminal.write("job.yaml", a_job(seed=14))
    terminal.run("apply", "-f", "job.yaml")

    code, out, err = terminal.run("wait", "ftj/texts", "--for=condition=Complete", "--timeout=90s")

    assert (code, out) == (1, "")
    assert "it is Failed: InvalidDataset: " in err
    assert "line 7 has no label; expected one of a, b" in err


def test_a_second_up_is_refused_and_a_bad_file_changes_nothing(terminal: Terminal) -> None:
    terminal.write("bad.yaml", a_job("good"), {**a_job("bad"), "spec": {}})

    for words in (["up"], ["up", "--detach"]):
        code, _, err = terminal.run(*words, "--port", "0")
        assert code == 1
        assert err.startswith("error: another `graft up` (pid ")
    code, out, err = terminal.run("apply", "-f", "bad.yaml")
    assert (code, out) == (1, "")
    assert "bad.yaml, document 2: FineTuneJob/bad: spec.task" in err
    assert terminal.run("get", "-o", "name")[1] == ""


def test_after_down_every_command_says_how_to_start(terminal: Terminal) -> None:
    code, out, _ = terminal.run("down")
    assert (code, out.startswith("graft up (pid ")) == (0, True)

    code, _, err = terminal.run("get")
    assert code == 1
    assert "start it with `graft up --state " in err
    assert terminal.run("down")[2].startswith("no `graft up` runs on the state folder")


def test_ctrl_c_ends_up_in_order(terminal: Terminal) -> None:
    process = terminal.start("up", "--state", "other", "--port", "0")
    assert process.stdout is not None
    until(lambda: "Ctrl-C saves" in (process.stdout.readline() if process.stdout else ""), 60)
    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1].endswith("stopped")
