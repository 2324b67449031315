"""Publishing: what is refused, and that a kill anywhere ends in the same place."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from graft_core.api.v1alpha1.finetunejob import DatasetStatus
from graft_core.api.v1alpha1.training import MethodSpec, TrainingSpec
from graft_core.contracts.adapter_manifest import AdapterManifest, BaseModelPin, EngineCompatibility, digest_of_files
from graft_core.contracts.base import ObjectRef
from graft_core.errors import Conflict, Corrupt
from graft_core.storage.base import ObjectInfo
from graft_core.storage.objects import open_store
from graft_trainer.publish.upload import list_files, published_before, upload
from graft_trainer.publish.verify import verify_adapter
from tests.trainer.tiny import json_task

A, B = "base_model.model.layer.q.lora_A.weight", "base_model.model.layer.q.lora_B.weight"


def an_adapter(folder: Path, weights: dict[str, Any] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "peft_type": "LORA"} | config))
    default = {A: np.ones((4, 8), np.float32), B: np.ones((8, 4), np.float32)}
    save_file(default if weights is None else weights, str(folder / "adapter_model.safetensors"))
    return folder


def test_a_sound_adapter_is_accepted(tmp_path: Path) -> None:
    verify_adapter(an_adapter(tmp_path))


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("weights", "config", "text"),
    [
        pytest.param({A: ones(4, 8)}, {}, "lora_B.weight is missing", id="51-missing-b"),
        pytest.param({B: ones(8, 4)}, {}, "holds no LoRA weights", id="51-missing-a"),
        pytest.param({A: ones(1, 8), B: ones(8, 1)}, {"r": 64}, "rank 1, adapter_config.json says 64", id="51-rank"),
        pytest.param({A: ones(4, 8), B: ones(8, 4) * np.nan}, {}, "NaN or infinite", id="52-nan"),
        pytest.param({A: ones(4, 8) * np.inf, B: ones(8, 4)}, {}, "NaN or infinite", id="52-inf"),
        pytest.param({A: ones(4, 8), B: ones(8, 4) * 1e30}, {}, "a weight over", id="52-absurd"),
        pytest.param({A: ones(4, 8), B: ones(8, 4) * 0}, {}, "all LoRA weights are zero", id="52-zero"),
        pytest.param(None, {"auto_mapping": {"x": "y"}}, "names code", id="53-auto-mapping"),
        pytest.param(None, {"r": "4"}, "no rank", id="51-rank-is-no-number"),
    ],
)
def test_an_adapter_that_is_not_what_it_says_is_refused(
    tmp_path: Path, weights: dict[str, Any] | None, config: dict[str, Any], text: str
) -> None:
    with pytest.raises(Corrupt, match=text):
        verify_adapter(an_adapter(tmp_path, weights, **config))


@pytest.mark.parametrize("name", ["adapter_model.bin", "weights.pt", "modeling.py", "x.pkl"])
def test_pickles_and_code_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (an_adapter(tmp_path) / name).write_bytes(b"")
    with pytest.raises(Corrupt, match=name):
        verify_adapter(tmp_path)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda raw: raw[:-5], id="truncated"),
        pytest.param(lambda raw: raw + b"extra", id="extra-bytes"),
        pytest.param(lambda raw: (0).to_bytes(8, "little") + raw[8:], id="header-of-0"),
        pytest.param(lambda raw: (2**63).to_bytes(8, "little") + raw[8:], id="header-of-2-63"),
        pytest.param(lambda raw: raw.replace(b'"F32"', b'"F33"'), id="unknown-dtype"),
        pytest.param(lambda raw: raw.replace(b"[0,128]", b"[64,192"), id="overlapping-or-torn"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
def test_a_broken_safetensors_file_is_refused(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    path = an_adapter(tmp_path) / "adapter_model.safetensors"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(Corrupt, match=r"adapter_model\.safetensors is missing or not readable"):
        verify_adapter(tmp_path)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class DyingStore:
    """A double over the real folder store that dies at the n-th write, before or after doing it."""

    def __init__(self, uri: str, dies_at: int, *, after: bool) -> None:
        self._real, self.prefix = open_store(uri)
        self._left = dies_at
        self._after = after

    def _write(self, act: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        found = act()
        if self._left == 0:
            raise Killed
        return found

    def uri_of(self, key: str) -> str:
        return self._real.uri_of(key)

    def put(self, key: str, data: bytes | Path) -> None:
        self._write(lambda: self._real.put(key, data))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self._write(lambda: self._real.put_if_absent(key, data))

    def read(self, key: str, *, sha256: str | None = None) -> bytes:
        return self._real.read(key, sha256=sha256)

    def fetch(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        self._real.fetch(key, path, sha256=sha256)

    def stat(self, key: str) -> ObjectInfo | None:
        return self._real.stat(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._real.list(prefix)

    def delete(self, key: str) -> None:
        self._real.delete(key)


def a_manifest(staged: Path, *, uid: str = "uid-1", created_at: str = "2026-01-01T00:00:00Z") -> AdapterManifest:
    files = list_files(staged)
    return AdapterManifest(
        digest=digest_of_files(files),
        files=files,
        job=ObjectRef(namespace="ml", name="job", uid=uid),
        base_model=BaseModelPin(id="a/b", revision="0" * 40),
        task=json_task(),
        template_sha256="0" * 64,
        tokenizer_sha256="0" * 64,
        dataset=DatasetStatus(digest="sha256:" + "0" * 64),
        method=MethodSpec.model_validate({"objective": "sft"}),
        training=TrainingSpec(),
        metrics={},
        baselines={},
        gates=(),
        compatibility=EngineCompatibility(rank=4, target_modules=("q",), model_class="causal-lm", max_length=8),
        versions={},
        created_at=created_at,
    )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 4], ids=["config", "weights", "manifest", "pointer"])
def test_a_publish_killed_at_any_write_and_run_again_ends_in_the_same_place(
    tmp_path: Path, dies_at: int, *, after: bool
) -> None:
    staged, uri = an_adapter(tmp_path / "staged"), f"file://{tmp_path}/store/ml/job/"
    manifest = a_manifest(staged)
    dying = DyingStore(uri, dies_at, after=after)
    with pytest.raises(Killed):
        upload(dying, dying.prefix, staged, manifest)
    store, prefix = open_store(uri)
    folder = tmp_path / "store/ml/job" / manifest.digest.removeprefix("sha256:")
    is_artifact = (folder / "manifest.json").exists()
    assert is_artifact == ((dies_at, after) >= (3, True))

    again = upload(store, prefix, staged, a_manifest(staged, created_at="2026-02-02T00:00:00Z"))

    first = "2026-01-01T00:00:00Z" if is_artifact else "2026-02-02T00:00:00Z"
    assert again.manifest.created_at == first
    assert list_files(folder) == manifest.files
    assert published_before(store, prefix, "uid-1") == again
    assert upload(store, prefix, staged, manifest) == again


def test_one_job_never_publishes_two_artifacts(tmp_path: Path) -> None:
    store, prefix = open_store(f"file://{tmp_path}/store/")
    one, two = an_adapter(tmp_path / "1"), an_adapter(tmp_path / "2", alpha=9)
    upload(store, prefix, one, a_manifest(one))
    with pytest.raises(Conflict):
        upload(store, prefix, two, a_manifest(two))


def test_nothing_was_published_before_the_pointer_is_there(tmp_path: Path) -> None:
    store, prefix = open_store(f"file://{tmp_path}/store/")
    assert published_before(store, prefix, "uid-1") is None
