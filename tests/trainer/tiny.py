"""Tiny random models, made on the spot in a second, and builders of specs around them."""

import json
from pathlib import Path
from typing import Any

from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.api.v1alpha1.training import AdapterSpec, TrainingSpec
from graft_trainer.methods.plan import TrainPlan

__all__ = ["CHAT_TEMPLATE", "SPAN_TEMPLATE", "a_plan", "json_task", "make_causal", "make_encoder"]

SPECIAL = ["<pad>", "<end>", "<user>", "<assistant>", "<system>"]

SPAN_TEMPLATE = (
    "{%- for m in messages -%}"
    "{%- if m['role'] == 'assistant' -%}<assistant>{% generation %}{{ m['content'] + '<end>' }}{% endgeneration %}"
    "{%- else -%}{{ '<' + m['role'] + '>' + m['content'] + '<end>' }}{%- endif -%}"
    "{%- endfor -%}{%- if add_generation_prompt -%}<assistant>{%- endif -%}"
)
"""Marks the answer and its end token."""

CHAT_TEMPLATE = (
    "{%- for m in messages -%}{{ '<' + m['role'] + '>' + m['content'] + '<end>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<assistant>{%- endif -%}"
)
"""No spans, and a line feed behind the end token, as ChatML has it."""


def json_task(**changes: Any) -> TaskSpec:
    spec: dict[str, Any] = {
        "type": "text-to-json",
        "template": "Q: {{ query }}",
        "outputSchema": {
            "type": "object",
            "required": ["ok"],
            "properties": {"ok": {"type": "boolean"}, "word": {"type": "string"}},
        },
    }
    return TaskSpec.model_validate(spec | changes)


def make_causal(folder: Path, *, chat_template: str | None = SPAN_TEMPLATE, hidden: int = 32) -> Path:
    """A two-layer Llama with a byte-level tokenizer of the 256 bytes and five special tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate([*SPECIAL, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end>",
        additional_special_tokens=SPECIAL[2:],
        chat_template=chat_template,
    )
    fast.save_pretrained(str(folder))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + len(alphabet),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=1,
        bos_token_id=None,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder


def make_encoder(folder: Path) -> Path:
    """A two-layer BERT over whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *["good", "bad", "fine", "poor", "great", "awful", "it", "is", "was", "very"],
    ]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(str(folder))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(str(folder))
    return folder


def a_plan(base: Path, checkpoints: Path, *, task: TaskSpec | None = None, **training: Any) -> TrainPlan:
    checkpoints.mkdir(parents=True, exist_ok=True)
    spec: dict[str, Any] = {"epochs": 2, "learningRate": "1e-2", "batchSize": 4, "warmupRatio": "0.1", "seed": 7}
    return TrainPlan(
        base=base,
        task=task or json_task(),
        adapter=AdapterSpec(r=4, alpha=8, dropout="0.1"),
        training=TrainingSpec.model_validate(json.loads(json.dumps(spec | training))),
        checkpoints=checkpoints,
    )
