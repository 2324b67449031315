"""A checkpoint is whole or not there."""

import json
from pathlib import Path

import pytest

from graft_trainer.methods import checkpoints
from graft_trainer.modeling import durable


def saved(folder: Path, step: int) -> Path:
    made = folder / f"{checkpoints.SAVING}{step}"
    made.mkdir(parents=True)
    (made / "weights").write_bytes(b"w" * step)
    return checkpoints.seal(made, folder, step)


def test_the_newest_complete_one_is_found_by_number_and_not_by_name(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        saved(tmp_path, step)
    found = checkpoints.newest_complete(tmp_path)
    assert found is not None
    assert checkpoints.step_of(found) == 100


@pytest.mark.parametrize("harm", ["truncated", "lost-file", "no-marker", "torn-marker", "odd-name"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, harm: str) -> None:
    saved(tmp_path, 5)
    broken = saved(tmp_path, 10)
    match harm:
        case "truncated":
            (broken / "weights").write_bytes(b"w")
        case "lost-file":
            (broken / "weights").unlink()
        case "no-marker":
            (broken / checkpoints.MARKER).unlink()
        case "torn-marker":
            (broken / checkpoints.MARKER).write_text('{"files": {')
        case _:
            broken.rename(tmp_path / "checkpoint-final")
    found = checkpoints.newest_complete(tmp_path)
    assert found == tmp_path / "checkpoint-5"


@pytest.mark.parametrize("dies_in", ["write_atomic", "sync_tree", "rename"])
def test_a_kill_at_any_write_leaves_the_one_before(
    tmp_path: Path, dies_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    saved(tmp_path, 5)
    match dies_in:
        case "write_atomic":
            monkeypatch.setattr(checkpoints, "write_atomic", die)
        case "sync_tree":
            monkeypatch.setattr(durable, "sync_tree", die)
        case _:
            monkeypatch.setattr(Path, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, 10)
    monkeypatch.undo()
    assert checkpoints.newest_complete(tmp_path) == tmp_path / "checkpoint-5"
    checkpoints.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        saved(tmp_path, step)
    checkpoints.prune(tmp_path, 2, tmp_path / "checkpoint-1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-3", "checkpoint-4"]


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    again = saved(tmp_path, 3)
    assert json.loads((again / checkpoints.MARKER).read_text())["step"] == 3
