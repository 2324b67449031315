"""Base models from the hub: by commit, and with faults told apart by what to do about them."""

from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import errors as hub_errors

from graft_core.contracts.adapter_manifest import BaseModelPin
from graft_core.errors import GraftError, InvalidInput, Unavailable
from graft_predictor.adapters.base_model import find_base
from tests.predictor.adapters.files import write_safetensors

COMMIT = "a" * 40
PIN = BaseModelPin(id="owner/model", revision=COMMIT)


def test_a_hub_model_is_fetched_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def download(name: str, **kwargs: Any) -> str:
        asked.append((name, kwargs))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "config.json").write_text("{}")
    write_safetensors(tmp_path / "model.safetensors", {"w": np.ones((2, 2))})

    assert find_base(PIN, cache_dir=tmp_path / "cache", hub_dir=tmp_path / "hub") == tmp_path
    ((name, kwargs),) = asked
    assert (name, kwargs["revision"], kwargs["cache_dir"], kwargs["token"]) == (
        "owner/model",
        COMMIT,
        tmp_path / "hub",
        False,
    )
    assert not any("bin" in pattern for pattern in kwargs["allow_patterns"])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (hub_errors.LocalEntryNotFoundError("offline"), Unavailable),
        (OSError("no route"), Unavailable),
        (hub_errors.OfflineModeIsEnabled("offline"), Unavailable),
    ],
)
def test_a_hub_out_of_reach_is_tried_again_later(
    fault: Exception, error: type[GraftError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise fault

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    with pytest.raises(error, match="owner/model"):
        find_base(PIN, cache_dir=tmp_path, hub_dir=None)


def test_a_base_that_is_not_there_is_told(tmp_path: Path) -> None:
    pin = BaseModelPin(id=f"file://{tmp_path}/none", revision="sha256:" + "0" * 64)

    with pytest.raises(InvalidInput, match="is no folder on this machine"):
        find_base(pin, cache_dir=tmp_path, hub_dir=None)
