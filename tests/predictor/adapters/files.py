"""An adapter's files by hand, without a framework: what a test spoils, it spoils byte by byte."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graft_core.api.v1alpha1.finetunejob import DatasetStatus, GateStatus
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.api.v1alpha1.training import MethodSpec, Objective, TrainingSpec
from graft_core.contracts.adapter_manifest import AdapterManifest, BaseModelPin, EngineCompatibility
from graft_core.contracts.base import ObjectRef
from graft_core.tasks.template import template_sha256
from tests.predictor.models import Artifact, publish

__all__ = ["BASE_ID", "PREFIX", "an_artifact", "rewrite_json", "write_safetensors"]

PREFIX = "base_model.model.model.layers.0.self_attn.q_proj"
BASE_ID = "file:///models/base"


def write_safetensors(
    path: Path, tensors: Mapping[str, Any], *, header: Mapping[str, Any] | None = None, tail: bytes = b""
) -> None:
    """Write a file; `header` overrides entries, or adds them."""
    rows: dict[str, Any] = {}
    data = b""
    for name, tensor in tensors.items():
        raw = np.asarray(tensor, dtype="<f4").tobytes()
        rows[name] = {
            "dtype": "F32",
            "shape": list(np.shape(tensor)),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    for name, changes in (header or {}).items():
        rows[name] = {**rows.get(name, {}), **changes}
    text = json.dumps(rows).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data + tail)


def pair(rank: int = 4, fill: float = 0.5) -> dict[str, Any]:
    return {f"{PREFIX}.lora_A.weight": np.full((rank, 8), fill), f"{PREFIX}.lora_B.weight": np.full((8, rank), fill)}


def an_artifact(folder: Path, tensors: Mapping[str, Any] | None = None) -> Artifact:
    """A whole, releasable adapter of one LoRA pair."""
    folder.mkdir(parents=True)
    write_safetensors(folder / "adapter_model.safetensors", pair() if tensors is None else tensors)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": BASE_ID,
        "r": 4,
        "lora_alpha": 8,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text("{}")
    task = TaskSpec(type=TaskType.CHAT)
    manifest = AdapterManifest(
        digest="",
        files=(),
        job=ObjectRef(namespace="ml", name="job", uid="u-1"),
        base_model=BaseModelPin(id=BASE_ID, revision="sha256:" + "b" * 64),
        task=task,
        template_sha256=template_sha256(task, "the chat template"),
        tokenizer_sha256="0" * 64,
        dataset=DatasetStatus(digest="sha256:" + "0" * 64),
        method=MethodSpec(objective=Objective.SFT),
        training=TrainingSpec(),
        metrics={},
        baselines={},
        gates=(GateStatus(metric="exact_match", result="Pass", value="0.9"),),
        compatibility=EngineCompatibility(rank=4, target_modules=("q_proj",), model_class="causal-lm", max_length=64),
        versions={},
        created_at="2026-01-01T00:00:00.000000Z",
    )
    return publish(Artifact(folder, folder, manifest))


def rewrite_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
