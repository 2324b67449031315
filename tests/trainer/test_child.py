"""A child from request to exit code and report, in this process."""

import json
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graft_core.contracts.adapter_manifest import AdapterManifest
from graft_core.contracts.train_report import Progress, TrainReport
from graft_core.errors import Conflict, Corrupt, InvalidInput, NotReady, NotSupported, Unavailable
from graft_trainer.data.faults import DatasetError
from graft_trainer.modeling.faults import BaseModelRefused, Diverged, OutOfMemory, Preempted
from graft_trainer.publish.upload import list_files
from graft_trainer.run import child as module
from graft_trainer.run.child import run_child
from graft_trainer.run.ending import ending_of
from tests.trainer.requests import a_request, write_request


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Give signals, environment, logging and warnings back: a child owns its process, a test doesn't."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    environ, root = dict(os.environ), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    for number, handler in before.items():
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(environ)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def run(command: str, root: Path, request: dict[str, Any], run_dir: str = "run") -> tuple[int, TrainReport]:
    code = run_child(command, request_file=write_request(root / "request.json", request), run_dir=root / run_dir)
    return code, TrainReport.model_validate_json((root / run_dir / "report.json").read_text())


def test_a_request_that_is_none_ends_as_invalid_spec_with_a_report(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"job": {"namespace": "ml"}, "secret": "hunter2"}')
    assert run_child("validate", request_file=tmp_path / "request.json", run_dir=tmp_path / "run") == 10
    report = TrainReport.model_validate_json((tmp_path / "run/report.json").read_text())
    assert "job.name: Field required" in report.message
    assert "hunter2" not in report.message
    assert report.role == "check"


def test_a_request_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert run_child("run", request_file=tmp_path / "no.json", run_dir=tmp_path / "run") == 10
    assert "'no.json' cannot be read" in (tmp_path / "run/report.json").read_text()


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"training": {"packing": True}}, "spec.training.packing", "not supported in this version"),
        ({"training": {"report": {"tensorboard": True}}}, "spec.training.report", "not supported"),
        ({"method": {"objective": "dpo"}}, "spec.method.objective", "'dpo' is not supported"),
        (
            {"method": {"objective": "classification", "quantization": {"type": "nf4"}}},
            "spec.method.quantization",
            "'nf4' is not supported",
        ),
        ({"compute": {"gpus": 2}}, "spec.resources.gpus", "2 is not supported"),
        ({"compute": {"nodes": 3}}, "spec.training.batchSize", "16 can't be shared evenly by 3 GPUs or nodes"),
        ({"evaluation": {"judge": {"url": "http://j/v1", "model": "m"}}}, "spec.evaluation.judge", "'m'"),
        ({"evaluation": {"gates": [{"metric": "f9", "min": "0"}]}}, "spec.evaluation.gates[0].metric", "it has"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_field_before_anything_is_read(
    tmp_path: Path, changes: dict[str, Any], path: str, text: str
) -> None:
    (tmp_path / "base").mkdir()
    code, report = run("validate", tmp_path, a_request(tmp_path, **changes))
    assert (code, report.path) == (10, path)
    assert text in report.message


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (DatasetError("d", path="f:3"), "InvalidDataset", "d"),
        (DatasetError("d", reason="DatasetChanged"), "InvalidDataset", "DatasetChanged: d"),
        (BaseModelRefused("m"), "PolicyDenied", "ModelChanged: m"),
        (InvalidInput("m", reason="ModelRefused"), "PolicyDenied", "ModelRefused: m"),
        (Diverged("l"), "Diverged", "l"),
        (OutOfMemory("o"), "OutOfMemory", "o"),
        (Preempted("p"), "Preempted", "p"),
        (Corrupt("c"), "CorruptObject", "c"),
        (Unavailable("u"), "Infrastructure", "u"),
        (NotReady("n"), "Infrastructure", "n"),
        (NotSupported("s", path="spec.x"), "InvalidSpec", "s"),
        (Conflict("k"), "InvalidSpec", "k"),
        (MemoryError(), "OutOfMemory", "out of memory"),
        (OSError(28, "No space left on device"), "Infrastructure", "OSError: No space left on device"),
        (KeyError("text of a customer"), "Bug", "unexpected KeyError; the log has where it happened"),
    ],
)
def test_every_error_has_its_exit_class_and_a_bug_tells_no_data(error: Exception, kind: str, message: str) -> None:
    found, text, _ = ending_of(error)
    assert found.value == kind
    assert text.startswith(message)
    assert "customer" not in text


def test_a_bug_leaves_a_report_and_its_place_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_child: object) -> TrainReport:
        raise ZeroDivisionError("text of a customer")

    monkeypatch.setitem(module._COMMANDS, "run", broken)
    (tmp_path / "base").mkdir()
    code, report = run("run", tmp_path, a_request(tmp_path))
    assert (code, report.exit_class.value) == (15, "Bug")
    log = (tmp_path / "run/work/train.log").read_text()
    assert "ZeroDivisionError" in log
    assert "customer" not in log + report.message


@pytest.mark.slow
def test_the_whole_story_from_check_to_artifact(tmp_path: Path) -> None:
    code, check = run("validate", tmp_path, a_request(tmp_path), "check")
    assert (code, check.labels, check.message) == (0, ("bad", "good"), check.message)
    assert check.dataset is not None
    pinned = {"datasetDigest": check.dataset.digest, "baseRevision": check.base_revision, "labels": ["bad", "good"]}
    gates = [{"metric": "accuracy", "min": "0.3"}, {"metric": "accuracy", "min": "1.1"}]
    request = a_request(tmp_path, pinned=pinned, evaluation={"gates": gates}, training={"epochs": 6})

    code, report = run("run", tmp_path, request)

    assert code == 0
    assert [gate.result for gate in report.gates] == ["Pass", "Fail"]
    assert report.artifact is not None
    folder = Path(report.artifact.uri.removeprefix("file://"))
    manifest = AdapterManifest.model_validate_json((folder / "manifest.json").read_text())
    assert manifest.files == list_files(folder)
    assert folder.name == manifest.digest.removeprefix("sha256:")
    assert not manifest.is_releasable
    assert manifest.task.labels == ("bad", "good")
    assert {file.path for file in manifest.files} == {
        "adapter_config.json", "adapter_model.safetensors", "metrics.json", "model_card.md", "report.html",
        "tokenizer.json", "tokenizer_config.json", "train.log",
    }  # fmt: skip
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == request["model"]["id"]
    log = (folder / "train.log").read_text()
    assert "it was number" not in log
    phases = [
        Progress.model_validate_json(line).phase for line in (tmp_path / "run/progress.jsonl").read_text().splitlines()
    ]
    assert list(dict.fromkeys(phases)) == ["Preparing", "Training", "Evaluating", "Publishing"]

    again, same = run("run", tmp_path, request, "elsewhere")
    assert (again, same.artifact, same.metrics) == (0, report.artifact, report.metrics)


@pytest.mark.slow
def test_changed_data_and_a_changed_base_are_refused(tmp_path: Path) -> None:
    _, check = run("validate", tmp_path, a_request(tmp_path), "check")
    assert check.dataset is not None
    pinned = {"datasetDigest": check.dataset.digest, "baseRevision": check.base_revision, "labels": ["bad", "good"]}
    request = a_request(tmp_path, pinned=pinned)
    with (tmp_path / "data.csv").open("a") as file:
        file.write("very good indeed,good\n")
    code, report = run("run", tmp_path, request)
    assert (code, report.message.split(":")[0]) == (11, "DatasetChanged")
    (tmp_path / "base/config.json").write_text((tmp_path / "base/config.json").read_text() + "\n")
    code, report = run("run", tmp_path, request, "run2")
    assert (code, report.message.split(":")[0]) == (12, "ModelChanged")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        (
            {"method": {"objective": "classification", "adapter": {"targetModules": ["q_proj"]}}},
            "spec.method.adapter.targetModules[0]",
            "'q_proj' is no layer of the model; it has dense, key, query, value",
        ),
        ({"training": {"maxLength": 65}}, "spec.training.maxLength", "65 is over the model's 64 positions"),
        (
            {"training": {"classWeights": {"label": {"ugly": "2"}}}},
            "spec.training.classWeights.label",
            "'ugly' is not one of bad, good",
        ),
        (
            {"training": {"classWeights": {"mood": {"x": "2"}}}},
            "spec.training.classWeights",
            "fields with classes: label",
        ),
        ({"compute": {"gpus": 1}}, "spec.resources.gpus", "1 asked for, this machine has 0"),
    ],
)
def test_what_does_not_fit_the_model_is_named_by_the_check(
    tmp_path: Path, changes: dict[str, Any], path: str, text: str
) -> None:
    if "compute" in changes and list(Path("/dev").glob("nvidia[0-9]")):
        pytest.skip("this machine has a GPU")
    code, report = run("validate", tmp_path, a_request(tmp_path, **changes))
    assert (code, report.path) == (10, path)
    assert text in report.message


@pytest.mark.slow
def test_a_stage_without_the_one_before_says_which_to_run(tmp_path: Path) -> None:
    code, report = run("evaluate", tmp_path, a_request(tmp_path))
    assert code == 75
    assert "run `graft-trainer train`" in report.message
