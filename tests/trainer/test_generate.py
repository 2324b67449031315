"""Answers that gates judge are made without the settings that a base model's folder brings for chatting."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_the_bases_own_penalties_do_not_count() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from graft_trainer.evaluate.predict import generate

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    model: Any = LlamaForCausalLM(config).eval()

    def answer() -> list[list[int]]:
        return generate(model, [[7, 8, 9]], pad_id=0, end_ids=[1], max_new_tokens=16, check=lambda: None)

    plain = answer()
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.no_repeat_ngram_size = 1

    assert answer() == plain
    assert len(set(plain[0])) < len(plain[0]), "a model that repeats itself is what shows the penalty"
