"""Children that are killed and started again end where an undisturbed one does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from graft_core.contracts.train_report import TrainReport
from tests.trainer.requests import a_request, write_request
from tests.trainer.tiny import json_task, make_causal

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]  # what its children reach, test_child.py has covered

TRAINING = {"epochs": 10, "checkpoint": {"everySteps": 3}}


def start(root: Path, run_dir: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "graft_trainer", "run", "--request", str(root / "request.json")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (root / f"{run_dir.name}.log").open("ab") as log:
        return subprocess.Popen([*command, "--run-dir", str(run_dir)], stderr=log, stdout=log, env=environ)


def wait_for(what: Callable[[], bool], child: "subprocess.Popen[bytes]", limit_s: float = 240) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert child.poll() is None, "the child ended too early"
        assert time.monotonic() < deadline, "the child got nowhere"
        time.sleep(0.02)  # noqa: TID251  # a whole process is watched from outside


def last_step(run_dir: Path) -> int:
    path = run_dir / "progress.jsonl"
    if not path.exists():
        return 0
    lines = [line for line in path.read_text().split("\n")[:-1] if line]
    return max((json.loads(line)["status"]["step"] for line in lines), default=0)


def finished(run_dir: Path) -> TrainReport:
    return TrainReport.model_validate_json((run_dir / "report.json").read_text())


def adapter_of(report: TrainReport) -> bytes:
    assert report.artifact is not None
    return (Path(report.artifact.uri.removeprefix("file://")) / "adapter_model.safetensors").read_bytes()


def test_a_run_killed_and_preempted_while_training_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = a_request(tmp_path, training=TRAINING, outputPrefix=f"file://{tmp_path}/other/ml/mood/")
    write_request(tmp_path / "request.json", undisturbed)
    assert start(tmp_path, tmp_path / "whole").wait(300) == 0
    write_request(tmp_path / "request.json", a_request(tmp_path, training=TRAINING))
    run_dir = tmp_path / "run"

    child = start(tmp_path, run_dir)
    wait_for(lambda: last_step(run_dir) >= 8, child)
    child.kill()
    child.wait(30)
    assert not (run_dir / "report.json").exists()
    seen = last_step(run_dir)

    child = start(tmp_path, run_dir)
    wait_for(lambda: last_step(run_dir) >= seen + 8, child)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 143
    preempted = finished(run_dir)
    assert preempted.exit_class.value == "Preempted"
    assert preempted.attempt is not None
    assert preempted.attempt.resumed_from_step >= seen - 3

    assert start(tmp_path, run_dir).wait(300) == 0
    after = finished(run_dir).attempt
    assert after is not None
    assert after.reason == "Preempted"
    assert adapter_of(finished(run_dir)) == adapter_of(finished(tmp_path / "whole"))


def test_help_answers_without_torch() -> None:
    code = (
        "import sys\n"
        "from graft_trainer.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.splitlines()[-1] == "[]"
    assert "graft-trainer run      --request request.json" in found.stdout
    assert "143  Preempted" in found.stdout


def test_a_check_of_a_causal_model_loads_no_torch(tmp_path: Path) -> None:
    make_causal(tmp_path / "base")
    rows = [{"query": f"number {i}", "output": json.dumps({"ok": i % 2 == 0})} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = a_request(
        tmp_path,
        task=json_task().model_dump(mode="json", by_alias=True, exclude_none=True),
        dataset={"train": [f"file://{tmp_path}/rows.jsonl"], "split": {"test": "0.2"}},
        method={"objective": "sft", "adapter": {"r": 4, "alpha": 8}},
        training={"maxLength": 64},
        evaluation={"gates": [{"metric": "json_validity", "min": "0"}]},
    )
    write_request(tmp_path / "request.json", request)
    code = (
        "import sys\n"
        "from graft_trainer.cli import main\n"
        f"ended = main(['validate', '--request', {str(tmp_path / 'request.json')!r}, '--run-dir', {str(tmp_path / 'run')!r}])\n"
        "print('libtorch' in open('/proc/self/maps').read(), 'transformers' in sys.modules)\n"
        "sys.exit(ended)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (found.returncode, found.stdout.splitlines()[-1:]) == (0, ["False True"]), found.stderr
    assert finished(tmp_path / "run").base_revision is not None
