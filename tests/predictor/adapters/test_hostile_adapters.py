"""Rows 49 to 55 of the list of bad input: an adapter that is not what it should be never gets ready."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft_core.api.v1alpha1.modelrelease import AdapterRef
from graft_core.errors import Corrupt, GraftError, InvalidInput
from graft_core.storage.objects import open_store
from graft_predictor.adapters.base_model import find_base
from graft_predictor.adapters.fetch import FetchedAdapter, fetch_adapter
from graft_predictor.adapters.verify import check_base, check_template
from tests.predictor.adapters.files import PREFIX, an_artifact, pair, rewrite_json, write_safetensors
from tests.predictor.models import Artifact, publish

WEIGHTS = "adapter_model.safetensors"
PICKLE = b"\x80\x05\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."
"""A dict, as Python pickles it."""
A, B = f"{PREFIX}.lora_A.weight", f"{PREFIX}.lora_B.weight"


def fetch(artifact: Artifact, tmp_path: Path) -> FetchedAdapter:
    store, prefix = open_store(artifact.uri)
    return fetch_adapter(
        store, prefix, AdapterRef(uri=artifact.uri, digest=artifact.manifest.digest), tmp_path / "cache"
    )


def refuse(artifact: Artifact, tmp_path: Path, told: str) -> None:
    with pytest.raises(GraftError, match=told):
        fetch(artifact, tmp_path)


@pytest.fixture
def good(tmp_path: Path) -> Artifact:
    return an_artifact(tmp_path / "store" / "one")


def test_a_good_adapter_is_copied_and_accepted(good: Artifact, tmp_path: Path) -> None:
    fetched = fetch(good, tmp_path)

    assert fetched.manifest == good.manifest
    assert sorted(p.name for p in fetched.folder.iterdir()) == sorted(file.path for file in good.manifest.files)


# ---------------------------------------------------------------- 49
@pytest.mark.parametrize("name", ["adapter_model.bin", "model.pt", "x.pkl", "sub/train.PTH", "modeling.py"])
def test_row_49_a_file_that_runs_code_when_read_is_refused(good: Artifact, tmp_path: Path, name: str) -> None:
    (good.folder / name).parent.mkdir(exist_ok=True)
    (good.folder / name).write_bytes(PICKLE)

    refuse(publish(good), tmp_path, f"{Path(name).name}.*can run code")


def test_row_49_a_pickle_by_the_name_of_safetensors_is_refused(good: Artifact, tmp_path: Path) -> None:
    (good.folder / WEIGHTS).write_bytes(PICKLE * 20)

    refuse(publish(good), tmp_path, "is it a pickle, or cut off")


def test_row_49_an_adapter_without_safetensors_is_refused(good: Artifact, tmp_path: Path) -> None:
    (good.folder / WEIGHTS).unlink()

    refuse(publish(good), tmp_path, "manifest.files has no 'adapter_model.safetensors'")


# ---------------------------------------------------------------- 50
def with_length(length: int) -> Callable[[bytes], bytes]:
    return lambda raw: struct.pack("<Q", length) + raw[8:]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (with_length(0), "declares a header of 0 bytes"),
        (with_length(2**63), "declares a header of 9223372036854775808 bytes"),
        (with_length(10**6), "declares a header of 1000000 bytes"),
        (with_length(20), "header that is not JSON"),
        (lambda raw: raw[:5], "has 5 bytes, too few for a header"),
        (lambda raw: raw[:-7], "is cut off"),
        (lambda raw: raw + b"hidden", "has bytes that belong to no tensor"),
    ],
    ids=["length 0", "length 2^63", "length over file", "length short", "five bytes", "truncated", "extra bytes"],
)
def test_row_50_a_file_of_wrong_lengths_is_refused(
    good: Artifact, tmp_path: Path, spoil: Callable[[bytes], bytes], told: str
) -> None:
    path = good.folder / WEIGHTS
    path.write_bytes(spoil(path.read_bytes()))

    refuse(publish(good), tmp_path, told)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({B: {"data_offsets": [0, 128]}}, "overlaps the one before it"),
        ({B: {"data_offsets": [132, 260]}}, "leaves a hole before it"),
        ({B: {"data_offsets": [128, 100]}}, "no valid data_offsets"),
        ({B: {"data_offsets": [128]}}, "no valid data_offsets"),
        ({B: {"dtype": "I64"}}, "has dtype 'I64', expected one of"),
        ({B: {"dtype": "EVIL"}}, "has dtype 'EVIL', expected one of"),
        ({B: {"shape": [8, 5]}}, "does not fill its 128 bytes"),
        ({B: {"shape": [-8, -4]}}, "no valid shape"),
        ({B: {"shape": [True, 32]}}, "no valid shape"),
        ({"../../etc/passwd": {"dtype": "F32", "shape": [0], "data_offsets": [256, 256]}}, "names a tensor"),
        ({B: {"shape": [2**60, 2**60]}}, "no valid shape"),
    ],
)
def test_row_50_a_header_that_contradicts_itself_is_refused(
    good: Artifact, tmp_path: Path, header: dict[str, Any], told: str
) -> None:
    write_safetensors(good.folder / WEIGHTS, pair(), header=header)

    refuse(publish(good), tmp_path, told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"[1, 2]", "not an object"),
        (b"{}", "holds no tensor"),
        (b'{"a": 1, "a": 2}', "a name twice"),
        (b'{"a": 7}', "dtype"),
    ],
)
def test_row_50_a_header_of_another_form_is_refused(good: Artifact, tmp_path: Path, text: bytes, told: str) -> None:
    (good.folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text)

    refuse(publish(good), tmp_path, told)


# ---------------------------------------------------------------- 51
@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (pair(rank=1), "not of the declared rank 4"),
        ({A: pair()[A]}, "has no lora_B: half of a LoRA pair is missing"),
        ({B: pair()[B]}, "has no lora_A: half of a LoRA pair is missing"),
        ({A: np.ones((4,)), B: pair()[B]}, "not of the declared rank 4"),
        ({**pair(), "base_model.model.embed_tokens.weight": np.ones((2, 2))}, "neither half of a LoRA pair"),
        ({name.replace("q_proj", "k_proj"): value for name, value in pair().items()}, "targetModules does not name"),
        ({"base_model.model.classifier.weight": np.ones((2, 2))}, "has no LoRA pair"),
    ],
    ids=["rank 1 declared 4", "no B", "no A", "one dimension", "a stranger", "another layer", "head only"],
)
def test_row_51_shapes_that_do_not_fit_are_refused(
    good: Artifact, tmp_path: Path, tensors: dict[str, Any], told: str
) -> None:
    write_safetensors(good.folder / WEIGHTS, tensors)

    refuse(publish(good), tmp_path, told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"r": 64}, "r is '64', the manifest says 4"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS', expected 'CAUSAL_LM'"),
        ({"rank_pattern": {"q_proj": 64}}, "rank_pattern is set"),
        ({"layer_replication": [[0, 1000000]]}, "layer_replication is set"),
    ],
)
def test_row_51_a_configuration_that_does_not_fit_is_refused(
    good: Artifact, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    rewrite_json(good.folder / "adapter_config.json", **changes)

    refuse(publish(good), tmp_path, told)


# ---------------------------------------------------------------- 52
@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (pair(fill=float("nan")), "holds NaN, Inf or a value over"),
        (pair(fill=float("inf")), "holds NaN, Inf or a value over"),
        (pair(fill=1e30), "holds NaN, Inf or a value over"),
        ({A: pair()[A], B: np.zeros((8, 4))}, "every lora_B is zero"),
    ],
    ids=["NaN", "Inf", "1e30", "zero"],
)
def test_row_52_weights_that_are_no_training_result_are_refused(
    good: Artifact, tmp_path: Path, tensors: dict[str, Any], told: str
) -> None:
    write_safetensors(good.folder / WEIGHTS, tensors)

    refuse(publish(good), tmp_path, told)


@pytest.mark.parametrize(("dtype", "bits"), [("BF16", 0x7FC0), ("F16", 0x7E00)])
def test_row_52_nan_is_found_in_half_precision_too(good: Artifact, tmp_path: Path, dtype: str, bits: int) -> None:
    data = struct.pack("<32H", *[0x3C00] * 31, bits) + struct.pack("<32H", *[0x3C00] * 32)
    rows = {
        A: {"dtype": dtype, "shape": [4, 8], "data_offsets": [0, 64]},
        B: {"dtype": dtype, "shape": [8, 4], "data_offsets": [64, 128]},
    }
    text = json.dumps(rows).encode()
    (good.folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data)

    refuse(publish(good), tmp_path, "holds NaN")


# ---------------------------------------------------------------- 53
@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("adapter_config.json", {"auto_mapping": {"parent_library": "evil"}}, "adapter_config.json: 'auto_mapping'"),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["evil.py", None]}},
            "tokenizer_config.json: 'auto_map'",
        ),
        ("tokenizer_config.json", {"nested": [{"trust_remote_code": True}]}, "'trust_remote_code'"),
        ("adapter_config.json", {"megatron_config": {"core": "evil"}}, "'megatron_config'"),
    ],
)
def test_row_53_a_configuration_that_names_code_is_refused(
    good: Artifact, tmp_path: Path, name: str, changes: dict[str, Any], told: str
) -> None:
    rewrite_json(good.folder / name, **changes)

    refuse(publish(good), tmp_path, told)


def test_row_53_a_task_template_that_reaches_for_python_is_refused(good: Artifact, tmp_path: Path) -> None:
    def forge(raw: dict[str, Any]) -> None:
        raw["task"]["template"] = "{{ query.__class__.__mro__ }}"

    fetched = None
    try:
        fetched = fetch(publish(good, forge), tmp_path)
    except InvalidInput:
        return
    from graft_core.tasks.messages import Message
    from graft_core.tasks.template import render_request

    with pytest.raises(InvalidInput):
        render_request(fetched.manifest.task, (Message("user", "x"),))


# ---------------------------------------------------------------- 54
def test_row_54_a_spoofed_base_name_is_refused(good: Artifact, tmp_path: Path) -> None:
    rewrite_json(good.folder / "adapter_config.json", base_model_name_or_path="meta-llama/Llama-3.1-8B")

    refuse(publish(good), tmp_path, "base_model_name_or_path is 'meta-llama/Llama-3.1-8B', the manifest says")


def test_row_54_another_base_under_the_right_name_is_refused(good: Artifact, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    write_safetensors(base / "model.safetensors", {"w": np.ones((2, 2))})
    pin = good.manifest.base_model.model_copy(update={"id": f"file://{base}"})

    with pytest.raises(Corrupt, match="an adapter fits only its own base"):
        find_base(pin, cache_dir=tmp_path, hub_dir=None)


def test_row_54_a_hub_base_needs_a_commit(good: Artifact, tmp_path: Path) -> None:
    pin = good.manifest.base_model.model_copy(update={"id": "owner/model", "revision": "main"})

    with pytest.raises(Corrupt, match="not a 40-hex commit"):
        find_base(pin, cache_dir=tmp_path, hub_dir=None)


def test_row_54_the_base_of_the_manifest_is_accepted(good: Artifact) -> None:
    check_base(good.manifest.base_model, revision="sha256:" + "b" * 64)


# ---------------------------------------------------------------- 55
def test_row_55_right_files_under_another_digest_are_refused(good: Artifact, tmp_path: Path) -> None:
    store, prefix = open_store(good.uri)
    other = AdapterRef(uri=good.uri, digest="sha256:" + "0" * 64)

    with pytest.raises(Corrupt, match="the release names 'sha256:0000"):
        fetch_adapter(store, prefix, other, tmp_path / "cache")


def test_row_55_a_manifest_whose_digest_is_not_its_files_is_refused(good: Artifact, tmp_path: Path) -> None:
    def forge(raw: dict[str, Any]) -> None:
        raw["files"][0]["sha256"] = "f" * 64

    refuse(publish(good, forge), tmp_path, "over files")


def test_a_file_changed_after_publication_is_refused(good: Artifact, tmp_path: Path) -> None:
    (good.folder / "tokenizer_config.json").write_text('{"a": 1}')

    refuse(good, tmp_path, "SHA-256")


def test_an_adapter_with_a_failed_gate_is_refused(good: Artifact, tmp_path: Path) -> None:
    def forge(raw: dict[str, Any]) -> None:
        raw["gates"][0]["result"] = "Fail"

    refuse(publish(good, forge), tmp_path, "gate 'exact_match' is 'Fail'")


def test_no_manifest_is_no_artifact(good: Artifact, tmp_path: Path) -> None:
    (good.folder / "manifest.json").unlink()

    refuse(good, tmp_path, "there is no such object")


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"schemaVersion": "v9"}'])
def test_a_manifest_of_another_form_is_refused(good: Artifact, tmp_path: Path, data: str) -> None:
    (good.folder / "manifest.json").write_text(data)

    refuse(good, tmp_path, r"manifest\.json")


@pytest.mark.parametrize(
    "path", ["../x.json", "/etc/x.json", "a//b.json", "a/../../b", "manifest.json", "a\\b.json", ""]
)
def test_a_path_that_leaves_the_folder_is_refused(good: Artifact, tmp_path: Path, path: str) -> None:
    from graft_core.contracts.adapter_manifest import FileDigest, digest_of_files

    def forge(raw: dict[str, Any]) -> None:
        raw["files"].append({"path": path, "sha256": "0" * 64, "sizeBytes": 1})
        raw["digest"] = digest_of_files(tuple(FileDigest.model_validate(file) for file in raw["files"]))

    refuse(publish(good, forge), tmp_path, "not a plain path inside|names the manifest itself")


def test_a_copy_that_was_changed_is_made_anew(good: Artifact, tmp_path: Path) -> None:
    folder = fetch(good, tmp_path).folder
    (folder / "chat_template.jinja").write_text("planted")
    (folder / WEIGHTS).write_bytes(b"planted")

    again = fetch(good, tmp_path)

    assert not (again.folder / "chat_template.jinja").exists()
    assert (again.folder / WEIGHTS).read_bytes() == (good.folder / WEIGHTS).read_bytes()


def test_a_copy_is_used_again_when_the_files_are_gone(good: Artifact, tmp_path: Path) -> None:
    fetch(good, tmp_path)
    (good.folder / WEIGHTS).unlink()

    assert fetch(good, tmp_path).folder.is_dir()


def test_another_prompt_template_than_in_training_is_refused(good: Artifact) -> None:
    check_template(good.manifest, chat_template="the chat template")
    with pytest.raises(Corrupt, match="the prompt template has SHA-256"):
        check_template(good.manifest, chat_template="another")
