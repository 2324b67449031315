"""Several processes train what one would: the same steps, the same early end, one adapter."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import TrainReport
from graft_operator.local.sockets import free_port
from graft_trainer.run.workers import WorkerEnd, _urgency
from tests.trainer.requests import a_request, write_request
from tests.trainer.test_kill import finished, last_step, wait_for

pytestmark = pytest.mark.no_cover
"""Each process would start half as fast if it were measured, and tests in one process have covered what it runs."""

STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
"""Dropout draws other numbers in other processes; without it the steps are the same but for rounding."""
METHOD = {"objective": "classification", "adapter": {"r": 4, "alpha": 8, "dropout": "0"}}
TRAINING: dict[str, Any] = {"epochs": 4, "checkpoint": {"everySteps": 3}, "earlyStopping": {"patience": 2}}
WEIGHTS = {"label": {"bad": "3.0"}}


def make(root: Path, **training: Any) -> dict[str, Any]:
    request = a_request(root, training={**TRAINING, "classWeights": WEIGHTS, **training}, method=METHOD)
    config = json.loads((root / "base/config.json").read_text())
    (root / "base/config.json").write_text(json.dumps(config | STILL))
    return request


def start(root: Path, name: str, request: dict[str, Any], *flags: str, **env: str) -> "subprocess.Popen[bytes]":
    path = write_request(root / f"{name}.json", {**request, "outputPrefix": f"file://{root}/store-{name}/ml/mood/"})
    command = [sys.executable, "-m", "graft_trainer", "run", "--request", str(path), "--run-dir", str(root / name)]
    with (root / f"{name}.log").open("ab") as log:
        return subprocess.Popen([*command, *flags], stdout=log, stderr=log, env={**os.environ, **env})


def curves(run_dir: Path) -> tuple[list[float], list[float], int]:
    found = json.loads((run_dir / "work/trained/history.json").read_text())
    return [loss for _, loss in found["losses"]], [loss for _, loss in found["eval_losses"]], found["best_step"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the request of a run of one process, `one`, beside which others are put."""
    root = tmp_path_factory.mktemp("alone")
    # 96 records of 120 train; 10 at a time leave a last step that can't be shared evenly by two without padding.
    request = make(root, batchSize=10)
    assert start(root, "one", request).wait(300) == 0
    return root, request


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(alone: tuple[Path, dict[str, Any]]) -> None:
    root, request = alone
    assert start(root, "two", request, "--processes", "2").wait(300) == 0, (root / "two.log").read_text()[-3000:]
    (losses, eval_losses, best), (again, eval_again, best_again) = curves(root / "one"), curves(root / "two")
    assert again == pytest.approx(losses, rel=2e-3)
    assert eval_again == pytest.approx(eval_losses, rel=2e-3)
    assert best_again == best
    assert finished(root / "two").metrics == finished(root / "one").metrics
    phases = [json.loads(line)["phase"] for line in (root / "two/progress.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(phases)) == ["Preparing", "Training", "Evaluating", "Publishing"]


@pytest.mark.slow
def test_processes_that_are_told_to_leave_save_and_go_on(tmp_path: Path) -> None:
    request = make(tmp_path, epochs=12, earlyStopping=None)
    child = start(tmp_path, "two", request, "--processes", "2")
    wait_for(lambda: last_step(tmp_path / "two") >= 8, child)
    child.send_signal(signal.SIGTERM)
    assert child.wait(90) == 143
    report = finished(tmp_path / "two")
    assert report.exit_class is ExitClass.PREEMPTED
    seen = last_step(tmp_path / "two")
    assert start(tmp_path, "two", request, "--processes", "2").wait(300) == 0
    report = finished(tmp_path / "two")
    assert report.attempt is not None
    assert report.attempt.resumed_from_step >= seen - 1
    assert report.artifact is not None


@pytest.mark.slow
def test_two_nodes_train_together_and_the_first_one_publishes(alone: tuple[Path, dict[str, Any]]) -> None:
    root, request = alone
    port = str(free_port())
    nodes = [
        start(
            root, f"node-{rank}", request, "--nodes", "2",
            PET_NODE_RANK=str(rank), PET_MASTER_ADDR="127.0.0.1", PET_MASTER_PORT=port,
        )
        for rank in range(2)
    ]  # fmt: skip
    ends = [node.wait(300) for node in nodes]
    assert ends == [0, 0], (root / "node-0.log").read_text()[-3000:]
    assert curves(root / "node-0")[0] == pytest.approx(curves(root / "one")[0], rel=2e-3)
    assert finished(root / "node-0").artifact is not None
    assert finished(root / "node-1").artifact is None


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_evenly_is_refused_by_its_name(tmp_path: Path) -> None:
    request = make(tmp_path, batchSize=15) | {"compute": {"gpus": 2}}
    path = write_request(tmp_path / "request.json", request)
    command = [sys.executable, "-m", "graft_trainer", "run", "--request", str(path), "--run-dir", str(tmp_path / "run")]
    assert subprocess.run([*command, "--processes", "2"], check=False, capture_output=True, timeout=60).returncode == 10
    report = TrainReport.model_validate_json((tmp_path / "run/report.json").read_text())
    assert report.path == "spec.training.batchSize"
    assert "15 can't be shared evenly by 2 GPUs" in report.message


def test_the_cause_is_told_and_not_that_the_others_were_stopped_for_it() -> None:
    kinds = [ExitClass.PREEMPTED, ExitClass.INFRASTRUCTURE, ExitClass.BUG, ExitClass.DIVERGED]
    ends = [WorkerEnd(exit_class=kind, message="") for kind in kinds]
    assert [end.exit_class for end in sorted(ends, key=_urgency)] == kinds[::-1]
