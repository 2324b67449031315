from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors

from graft_core.api.v1alpha1.finetunejob import ModelSpec
from graft_core.errors import InvalidInput, Unavailable
from graft_trainer.modeling.sources import resolve_model
from tests.core.basemodel.test_folders import COMMIT, a_model

pytestmark = pytest.mark.timeout(20)  # the hub's client loads itself on first use

HUB = ModelSpec(id="owner/name", revision=COMMIT)


def test_a_hub_model_is_fetched_by_commit_without_pickles_or_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(a_model(tmp_path / "m"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setenv("HF_TOKEN", "t")
    assert resolve_model(HUB, tmp_path).revision == COMMIT
    assert (asked["name"], asked["revision"], asked["token"]) == ("owner/name", COMMIT, "t")
    assert not {"*.bin", "*.py", "*"} & set(asked["allow_patterns"])


def response(status: int) -> Any:  # the hub's client brings an HTTP library of its own
    return httpx.Response(status, request=httpx.Request("GET", "http://hub"))


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (errors.RepositoryNotFoundError("no", response=response(404)), InvalidInput, "check the name"),
        (errors.GatedRepoError("no", response=response(403)), InvalidInput, "tokenSecretRef"),
        (errors.LocalEntryNotFoundError("offline"), Unavailable, "name a folder with file:///"),
        (errors.HfHubHTTPError("503", response=response(503)), Unavailable, "cannot be reached"),
        (ConnectionError("refused"), Unavailable, "ConnectionError"),
    ],
)
def test_the_hubs_faults_are_told_as_ours(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception], message: str
) -> None:
    def snapshot(name: str, **options: Any) -> str:
        raise raised

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(expected, match=message):
        resolve_model(HUB)


def test_offline_and_not_cached_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Unavailable, match="is not in the local cache"):
        resolve_model(ModelSpec(id="owner/name-that-nobody-has", revision=COMMIT))
