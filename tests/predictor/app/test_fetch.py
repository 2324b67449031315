"""What a pod's init container does: the adapter, verified, in a folder; or a reason."""

import re
from pathlib import Path
from typing import Any

import pytest

from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.errors import Unavailable
from graft_predictor.adapters.fetch import fetch_adapter
from graft_predictor.app import fetch
from tests.predictor.adapters.files import an_artifact
from tests.predictor.models import Artifact


def run(artifact: Artifact, tmp_path: Path, **changes: str) -> tuple[int, str]:
    """The exit code, and the last words."""
    words = tmp_path / "words"
    words.write_text("")
    given = {"uri": artifact.uri, "digest": artifact.manifest.digest, "to": str(tmp_path / "to"), **changes}
    argv = [part for name, value in given.items() for part in (f"--{name}", value)]
    return fetch.main(argv, termination_file=words), words.read_text()


def test_the_folder_holds_what_a_predictor_takes(tmp_path: Path) -> None:
    artifact = an_artifact(tmp_path / "store" / "one")
    (tmp_path / "to" / "left").mkdir(parents=True)
    (tmp_path / "to" / "left" / "over").write_text("from an attempt that broke off")

    assert run(artifact, tmp_path) == (0, "")
    assert run(artifact, tmp_path) == (0, "")
    copied = {path.name for path in (tmp_path / "to").rglob("*")}
    assert copied == {path.name for path in artifact.folder.rglob("*")}

    from graft_core.storage.objects import open_store

    config = PredictorConfig.model_validate(
        {
            "release": {"namespace": "ml", "name": "shop", "uid": "u"},
            "revision": "0123456789",
            "adapter": {"uri": f"file://{tmp_path}/to/", "digest": artifact.manifest.digest},
        }
    )
    store, prefix = open_store(config.adapter.uri)
    assert fetch_adapter(store, prefix, config.adapter, tmp_path / "cache").manifest == artifact.manifest


def test_a_changed_file_is_refused_and_leaves_no_manifest(tmp_path: Path) -> None:
    artifact = an_artifact(tmp_path / "store" / "one")
    (artifact.folder / "tokenizer_config.json").write_text("[]")
    code, words = run(artifact, tmp_path)

    assert code == 2
    assert re.match(r"Corrupt: .*tokenizer_config\.json", words)
    assert not (tmp_path / "to" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"digest": "sha256:" + "0" * 64}, "Corrupt: manifest.json: digest"),
        ({"uri": "file:///no/such/folder/"}, "NotFound: file:///no/such/folder/manifest.json"),
        ({"uri": "ftp://x/"}, "NotSupported: 'ftp://x/'"),
    ],
)
def test_what_cannot_be_had_is_told_in_the_last_words(changes: dict[str, str], told: str, tmp_path: Path) -> None:
    code, words = run(an_artifact(tmp_path / "store" / "one"), tmp_path, **changes)

    assert code == 2
    assert told in words


def test_a_store_that_does_not_answer_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("the store does not answer")

    monkeypatch.setattr(fetch, "copy_adapter", fail)

    assert run(an_artifact(tmp_path / "store" / "one"), tmp_path) == (1, "Unavailable: the store does not answer")
