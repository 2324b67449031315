"""A child in a pod: pins from its environment, last words for the kubelet, and another node that goes on where this one stopped."""

import contextlib
import json
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.pod import PINNED_ENV
from graft_core.contracts.train_report import Progress, TrainReport
from graft_trainer.methods import checkpoints
from graft_trainer.publish.upload import MANIFEST_FILE
from graft_trainer.run import context
from graft_trainer.run.child import run_child
from graft_trainer.run.pod import Pod
from graft_trainer.run.progress import ProgressWriter
from tests.trainer.requests import a_request, write_request
from tests.trainer.test_child import process

__all__ = ["process"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("process")]

TRAINING: dict[str, Any] = {"epochs": 6, "checkpoint": {"everySteps": 2}}


def run(command: str, root: Path, node: str, pinned: str = "", **changes: Any) -> tuple[int, TrainReport]:
    """Run a child in a pod on a node, whose disk it shares with nobody."""
    request = write_request(root / "request.json", a_request(root, training=TRAINING, **changes))
    words = root / f"{node}.termination-log"
    words.touch()
    pod = Pod(port=0, termination_file=words, environ={PINNED_ENV: pinned} if pinned else {})
    code = run_child(command, request_file=request, run_dir=root / node, pod=pod)
    return code, TrainReport.model_validate_json(words.read_text())


def pins(root: Path) -> str:
    code, report = run("validate", root, "check")
    assert (code, report.role) == (0, "check")
    assert report.dataset is not None
    return json.dumps({"datasetDigest": report.dataset.digest, "baseRevision": report.base_revision})


def runs(root: Path) -> Path:
    return root / "store/ml/mood/runs/uid-1/train"


def test_a_training_that_is_preempted_goes_on_on_another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = pins(tmp_path)
    saved = context.Child.saved

    def leave(child: context.Child, checkpoint: Path) -> None:
        saved(child, checkpoint)
        if checkpoint.name == "checkpoint-6":
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(context.Child, "saved", leave)
        code, report = run("run", tmp_path, "node-1", pinned)
    assert (code, report.exit_class) == (143, ExitClass.PREEMPTED)
    newest = checkpoints.newest_complete(tmp_path / "node-1/work/checkpoints")
    assert newest is not None
    assert (runs(tmp_path) / "checkpoints" / newest.name / checkpoints.MARKER).exists()

    code, report = run("run", tmp_path, "node-2", pinned)

    assert code == 0
    assert report.attempt is not None
    assert report.attempt.resumed_from_step == checkpoints.step_of(newest)
    assert report.attempt.reason == "Preempted"
    assert report.usage is not None
    assert report.artifact is not None
    whole = TrainReport.model_validate_json((runs(tmp_path) / "report.json").read_text())
    assert whole == report
    assert not [path for path in (runs(tmp_path) / "checkpoints").rglob("*") if path.is_file()]

    code, again = run("run", tmp_path, "node-3", pinned)
    assert (code, again.artifact, again.gates) == (0, report.artifact, report.gates)


def test_the_pins_of_its_environment_hold(tmp_path: Path) -> None:
    pinned = json.loads(pins(tmp_path))
    code, report = run("run", tmp_path, "node-1", json.dumps({**pinned, "datasetDigest": "sha256:" + "0" * 64}))
    assert code == EXIT_CODES[ExitClass.INVALID_DATASET]
    assert report.message.startswith("DatasetChanged")


def test_a_check_says_nothing_about_gpus_that_are_elsewhere(tmp_path: Path) -> None:
    code, report = run("validate", tmp_path, "check", compute={"gpus": 1, "threads": 1})
    assert code == 0, report.message


def test_an_artifact_that_was_damaged_is_not_reported_as_published(tmp_path: Path) -> None:
    pinned = pins(tmp_path)
    code, report = run("run", tmp_path, "node-1", pinned)
    assert (code, report.artifact is not None) == (0, True)
    folder = next(path.parent for path in (tmp_path / "store").rglob(MANIFEST_FILE))
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, report = run("run", tmp_path, "node-2", pinned)
    assert (code, report.exit_class) == (16, ExitClass.CORRUPT_OBJECT)
    assert report.artifact is None


def test_progress_is_told_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []
    answers: list[bytes] = []
    served, saved = Pod.served, context.Child.saved

    @contextlib.contextmanager
    def remembered(pod: Pod, progress: ProgressWriter) -> Generator[int]:
        with served(pod, progress) as port:
            ports.append(port)
            yield port

    def asked(child: context.Child, checkpoint: Path) -> None:
        saved(child, checkpoint)
        with urlopen(f"http://127.0.0.1:{ports[-1]}/progress", timeout=5) as answer:
            answers.append(answer.read())

    pinned = pins(tmp_path)
    monkeypatch.setattr(Pod, "served", remembered)
    monkeypatch.setattr(context.Child, "saved", asked)
    run("run", tmp_path, "node-1", pinned)
    told = [Progress.model_validate_json(answer) for answer in answers]
    assert {progress.phase for progress in told} == {"Training"}
    assert told[-1].status.step > 0
