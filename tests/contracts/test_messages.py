"""Messages between the parts: round trips, old versions kept as fixtures, unknown fields refused.

A fixture of tests/golden/contracts is never changed: a message that a released part wrote must stay readable.
"""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from graft_core.contracts.adapter_manifest import AdapterManifest, ArtifactPointer, FileDigest, digest_of_files
from graft_core.contracts.base import Contract
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass, exit_class_of, is_restart_counted, is_restartable
from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.contracts.train_report import Progress, TrainReport
from graft_core.contracts.train_request import TrainRequest

GOLDEN = Path(__file__).parents[1] / "golden" / "contracts"

CONTRACTS: dict[str, type[Contract]] = {
    "adapter_manifest": AdapterManifest,
    "artifact_pointer": ArtifactPointer,
    "predictor_config": PredictorConfig,
    "progress": Progress,
    "train_report": TrainReport,
    "train_request": TrainRequest,
}

FIXTURES = sorted(GOLDEN.glob("*/*.json"))


def of(path: Path) -> type[Contract]:
    return CONTRACTS[path.stem]


def test_every_contract_has_a_fixture() -> None:
    assert {path.stem for path in FIXTURES if path.parent.name == "v1"} == set(CONTRACTS)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_kept_message_is_read_and_written_back_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    written = json.loads(of(path).model_validate_json(text).to_json())
    kept = json.loads(text)
    assert {name: written[name] for name in kept} == kept
    assert of(path).model_validate(written).to_json() == json.dumps(written, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_unknown_fields_and_versions_are_refused(path: Path) -> None:
    doc = json.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        of(path).model_validate({**doc, "surprise": 1})
    if "schemaVersion" in doc:
        with pytest.raises(ValidationError, match="schemaVersion"):
            of(path).model_validate({**doc, "schemaVersion": "v2"})


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_messages_are_frozen(path: Path) -> None:
    message = of(path).model_validate_json(path.read_text(encoding="utf-8"))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(message, next(iter(of(path).model_fields)), None)


def test_the_digest_of_an_artifact_covers_every_file_and_no_order() -> None:
    one, two = FileDigest(path="a", sha256="1" * 64, size_bytes=1), FileDigest(path="b", sha256="2" * 64, size_bytes=2)
    assert digest_of_files((one, two)) == digest_of_files((two, one))
    assert digest_of_files((one,)) != digest_of_files((one, two))
    assert digest_of_files((one,)) != digest_of_files((one.model_copy(update={"size_bytes": 3}),))
    # What released trainers wrote must stay what it is.
    assert digest_of_files((one, two)) == "sha256:649733a7a8deeb6fb6b50d6ae9ac7c3e7d8461a82aa630c63302961362cf0776"


def test_exit_codes_and_classes_are_one_to_one() -> None:
    assert {exit_class_of(code): code for code in EXIT_CODES.values()} == EXIT_CODES
    assert exit_class_of(-9) is ExitClass.KILLED
    assert exit_class_of(-15) is ExitClass.PREEMPTED
    assert exit_class_of(1) is ExitClass.INFRASTRUCTURE
    assert {kind for kind in ExitClass if is_restartable(kind)} == {
        ExitClass.INFRASTRUCTURE,
        ExitClass.PREEMPTED,
        ExitClass.KILLED,
    }
    assert not is_restart_counted(ExitClass.PREEMPTED)
    assert is_restart_counted(ExitClass.KILLED)
