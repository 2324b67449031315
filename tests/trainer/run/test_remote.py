"""Checkpoints that outlive the pod: whole or not there, newest kept, damaged ones passed over."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import Unavailable
from graft_core.storage.objects import FolderStore
from graft_trainer.data.credentials import output_env
from graft_trainer.methods.checkpoints import newest_complete, seal
from graft_trainer.run.remote import RemoteState
from tests.builders import a_report

if TYPE_CHECKING:
    from tests.cluster.s3server import S3Server


REQUEST: dict[str, Any] = {
    "job": {"namespace": "ml", "name": "mood", "uid": "uid-1"},
    "task": {"type": "chat"},
    "model": {"id": "file:///base"},
    "dataset": {"train": ["file:///data.csv"]},
    "method": {"objective": "sft"},
    "training": {},
    "evaluation": {},
}


@pytest.fixture
def remote(tmp_path: Path) -> RemoteState:
    request = REQUEST | {"outputPrefix": f"file://{tmp_path}/store/ml/mood/"}
    return RemoteState(TrainRequest.model_validate(request), "train")


def stored(tmp_path: Path) -> Path:
    return tmp_path / "store/ml/mood/runs/uid-1/train"


def a_checkpoint(folder: Path, step: int, text: str = "weights") -> Path:
    made = folder / f".saving-{step}"
    made.mkdir(parents=True)
    (made / "adapter.safetensors").write_text(text)
    (made / "trainer_state.json").write_text("{}")
    return seal(made, folder, step)


def test_another_node_goes_on_from_the_newest(tmp_path: Path, remote: RemoteState) -> None:
    for step in (3, 6):
        remote.push_checkpoint(a_checkpoint(tmp_path / "a", step, f"step {step}"))
    remote.pull(tmp_path / "b", tmp_path / "trained")
    found = newest_complete(tmp_path / "b")
    assert found is not None
    assert (found.name, (found / "adapter.safetensors").read_text()) == ("checkpoint-6", "step 6")


def test_what_is_dropped_here_is_dropped_there(tmp_path: Path, remote: RemoteState) -> None:
    first = a_checkpoint(tmp_path / "a", 3)
    remote.push_checkpoint(first)
    first.rename(tmp_path / "gone")
    remote.push_checkpoint(a_checkpoint(tmp_path / "a", 6))
    assert [path.name for path in (stored(tmp_path) / "checkpoints").iterdir() if any(path.iterdir())] == [
        "checkpoint-6"
    ]


def test_a_half_stored_checkpoint_is_not_there(tmp_path: Path, remote: RemoteState) -> None:
    for step in (3, 6):
        remote.push_checkpoint(a_checkpoint(tmp_path / "a", step))
    (stored(tmp_path) / "checkpoints/checkpoint-6/complete.json").unlink()
    remote.pull(tmp_path / "b", tmp_path / "trained")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["checkpoint-3"]


def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(tmp_path: Path, remote: RemoteState) -> None:
    for step in (3, 6):
        remote.push_checkpoint(a_checkpoint(tmp_path / "a", step))
    (stored(tmp_path) / "checkpoints/checkpoint-6/adapter.safetensors").write_text("wEights")
    remote.pull(tmp_path / "b", tmp_path / "trained")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["checkpoint-3"]


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd"])
def test_a_marker_that_leads_out_of_its_folder_is_not_followed(tmp_path: Path, remote: RemoteState, name: str) -> None:
    remote.push_checkpoint(a_checkpoint(tmp_path / "a", 3))
    marker = stored(tmp_path) / "checkpoints/checkpoint-3/complete.json"
    marker.write_text(json.dumps({"files": {name: "0" * 64}}))
    remote.pull(tmp_path / "b", tmp_path / "trained")
    assert not (tmp_path / "b").exists() or not list((tmp_path / "b").iterdir())


def test_a_finished_adapter_is_not_trained_again_elsewhere(tmp_path: Path, remote: RemoteState) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "history.json").write_text("{}")
    remote.push_checkpoint(a_checkpoint(tmp_path / "a", 3))
    remote.push_trained(trained)
    remote.pull(tmp_path / "b", tmp_path / "there")
    assert (tmp_path / "there/history.json").read_text() == "{}"
    assert not (tmp_path / "b").exists()


def test_nothing_stored_is_nothing_brought_back(tmp_path: Path, remote: RemoteState) -> None:
    remote.pull(tmp_path / "b", tmp_path / "trained")
    assert remote.read_state() == {}
    assert not (tmp_path / "trained").exists()


def test_a_published_run_leaves_its_report_and_state_only(tmp_path: Path, remote: RemoteState) -> None:
    remote.push_checkpoint(a_checkpoint(tmp_path / "a", 3))
    remote.write_state(77, "Preempted")
    remote.write_report(a_report(role="train"))
    remote.drop_work()
    assert {path.name for path in stored(tmp_path).rglob("*") if path.is_file()} == {"report.json", "state.json"}
    assert remote.read_state() == {"train_seconds": 77, "end": "Preempted"}


def test_a_store_out_of_reach_does_not_end_a_training_but_keeps_one_from_beginning_anew(
    tmp_path: Path, remote: RemoteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_reach(*_args: object, **_kwargs: object) -> None:
        raise Unavailable("s3://lake: no answer")

    checkpoint = a_checkpoint(tmp_path / "a", 3)
    for verb in ("put", "stat", "list", "read", "delete"):
        monkeypatch.setattr(FolderStore, verb, out_of_reach)
    remote.push_checkpoint(checkpoint)
    remote.push_trained(checkpoint)
    remote.write_state(1)
    remote.drop_work()
    with pytest.raises(Unavailable):
        remote.pull(tmp_path / "b", tmp_path / "trained")


@pytest.mark.cluster
def test_keys_that_expire_while_it_trains_are_read_again(
    tmp_path: Path, s3_server: "S3Server", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.cluster.s3server import BUCKET

    secrets = tmp_path / "secrets"
    (secrets / "output").mkdir(parents=True)

    def renew() -> None:  # as the kubelet does with a mounted Secret that changed
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            (secrets / "output" / name).write_text(s3_server.env[name])

    renew()
    environ = {**s3_server.env, "AWS_ACCESS_KEY_ID": "of the variables", "AWS_SECRET_ACCESS_KEY": "which nobody renews"}
    monkeypatch.setattr("graft_trainer.run.remote.output_env", lambda: output_env(environ, secrets))
    remote = RemoteState(TrainRequest.model_validate(REQUEST | {"outputPrefix": f"s3://{BUCKET}/ml/mood/"}), "train")

    remote.push_checkpoint(a_checkpoint(tmp_path / "a", 3))
    s3_server.rotate("second")
    remote.push_checkpoint(a_checkpoint(tmp_path / "a", 6))
    assert "checkpoint_not_stored" in caplog.text  # the new Secret is not here yet; training goes on
    renew()
    remote.push_checkpoint(a_checkpoint(tmp_path / "a", 9))

    remote.pull(tmp_path / "b", tmp_path / "trained")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["checkpoint-3", "checkpoint-9"]
