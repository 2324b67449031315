"""A report always fits where the kubelet reads it, and what decides is never cut."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, GateStatus
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.pod import MAX_TERMINATION_BYTES
from graft_core.contracts.train_report import TrainReport
from graft_trainer.run.last_words import fit_report, write_last_words
from tests.builders import a_report

WORDS = 'aé漢"\\\n\x00'
"""What JSON and UTF-8 make longer."""
LETTERS = {"Pass": "P", "Fail": "F", "InsufficientEvidence": "I"}


def gates(count: int, name: str = "metric", detail: str = "min 0.95") -> tuple[GateStatus, ...]:
    results = ("Pass", "Fail", "InsufficientEvidence")
    return tuple(
        GateStatus.model_validate(
            {"metric": f"{name}_{i}"[:128], "result": results[i % 3], "value": "0.123", "detail": detail[:256]}
        )
        for i in range(count)
    )


def an_artifact(uri: str = "s3://lake/adapters/ml/tune/" + "e" * 64 + "/") -> ArtifactStatus:
    return ArtifactStatus(
        uri=uri, digest="sha256:" + "e" * 64, size_bytes=10**12, base_model="m" * 300, base_revision="r" * 128
    )


def fitted(report: TrainReport) -> TrainReport:
    text = fit_report(report)
    assert len(text.encode()) <= MAX_TERMINATION_BYTES
    return TrainReport.model_validate_json(text)


def test_what_fits_is_left_as_it_is() -> None:
    report = a_report(role="train", artifact=an_artifact(), gates=gates(5), metrics={"a": "1"}, labels=("x", "y"))
    assert fitted(report) == report


def test_baselines_and_metrics_without_a_gate_go_first() -> None:
    many = {f"field_{i}.accuracy": "0.5" for i in range(300)}
    report = a_report(role="train", gates=gates(3), metrics=many | {"metric_1": "0.9"}, baselines={"base": many})
    found = fitted(report)
    assert found.metrics == {"metric_1": "0.9"}
    assert found.gates == report.gates


def test_details_of_gates_that_do_not_hold_stay_longest() -> None:
    found = fitted(a_report(role="train", gates=gates(20, detail="d" * 150)))
    assert [gate.detail for gate in found.gates[:2]] == ["", "d" * 150]


def test_of_very_many_gates_the_letters_stay() -> None:
    report = a_report(role="train", artifact=an_artifact(), gates=gates(64, "g" * 128))
    found = fitted(report)
    assert found.gates == ()
    assert found.gate_results == "".join(LETTERS[gate.result] for gate in report.gates)


@settings(max_examples=60)
@given(
    message=st.text(alphabet=WORDS, max_size=9000),
    path=st.text(alphabet=WORDS, max_size=2000),
    count=st.integers(0, 64),
    name=st.text(alphabet=WORDS, min_size=1, max_size=128),
    detail=st.text(alphabet=WORDS, max_size=256),
    labels=st.lists(st.text(alphabet=WORDS, max_size=63), max_size=1024),
    folder=st.text(alphabet="aé漢", max_size=390),
)
def test_whatever_it_says_it_fits_and_what_decides_is_there(
    message: str, path: str, count: int, name: str, detail: str, labels: list[str], folder: str
) -> None:
    values: dict[str, Any] = {"message": message, "path": path, "labels": tuple(labels)}
    report = a_report(
        role="train", artifact=an_artifact(f"s3://lake/{folder}/"), gates=gates(count, name, detail), **values
    )
    found = fitted(report)
    kept = ("exit_class", "dataset", "base_revision", "artifact", "job", "role")
    assert [getattr(found, one) for one in kept] == [getattr(report, one) for one in kept]
    results = found.gate_results or "".join(LETTERS[gate.result] for gate in found.gates)
    assert results == "".join(LETTERS[gate.result] for gate in report.gates)


def test_the_kubelets_file_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.touch()
    before = path.stat().st_ino
    write_last_words(a_report(), path)
    assert path.stat().st_ino == before
    assert TrainReport.model_validate_json(path.read_text()) == a_report()


@pytest.mark.parametrize("text", ["Dòng 3: thiếu câu trả lời. " * 400])
def test_a_long_message_is_cut_and_says_so(text: str) -> None:
    found = fitted(a_report(ExitClass.INVALID_DATASET, message=text, path="train.jsonl:3"))
    assert found.message.endswith("…")
    assert found.path == "train.jsonl:3"
