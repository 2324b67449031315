"""LoRA fine-tuning of a causal model on answers, through TRL's SFTTrainer (its fused LM head keeps logits of prompts out of memory)."""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import TaskType, get_peft_model
from trl import SFTConfig, SFTTrainer

from graft_trainer.methods.loop import LoopMixin
from graft_trainer.methods.plan import TrainPlan
from graft_trainer.methods.train import Method, lora_config, training_arguments
from graft_trainer.modeling.encode import IGNORED, Encoded
from graft_trainer.modeling.load import load_causal

__all__ = ["AnswerCollator", "Sft", "SftLoop"]


class AnswerCollator:
    """Pads examples of {input_ids, labels, weight} on the right."""

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch: input_ids, attention_mask and labels of shape (batch, seq), weight of shape (batch,)."""
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, fill: int) -> torch.Tensor:
            return torch.tensor([row[name] + [fill] * (longest - len(row[name])) for row in rows])

        lengths = torch.tensor([[len(row["input_ids"])] for row in rows])
        return {
            "input_ids": padded("input_ids", self._pad),
            "attention_mask": (torch.arange(longest)[None, :] < lengths).long(),
            "labels": padded("labels", IGNORED),
            "weight": torch.tensor([row["weight"] for row in rows], dtype=torch.float32),
        }


class SftLoop(LoopMixin, SFTTrainer):
    """Weighted token loss: each token of a record's answer counts with the record's weight."""

    def weighted_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum weight × negative log-likelihood over the labelled tokens."""
        rest = {name: value for name, value in inputs.items() if name != "weight"}
        found = model(**rest, fused_lm_head=True, use_cache=False)
        # log_probs is (batch, seq - 1), zero where there is no label.
        return -(found.log_probs * inputs["weight"][:, None]).sum()

    def weight_of(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum the weights of the labelled tokens; the first token of a row is nobody's target."""
        return (inputs["labels"][:, 1:].ne(IGNORED).sum(dim=1) * inputs["weight"]).sum()


class Sft(Method):
    """Encoded conversations with their weights."""

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401  # untyped library
        train: Sequence[tuple[Encoded, float]],
        validation: Sequence[tuple[Encoded, float]],
    ) -> None:
        self._tokenizer = tokenizer
        # The last row weighs nothing, and only EpochSampler's padding asks for it.
        self._train = _dataset([*train, (train[0][0], 0.0)])
        self._validation = _dataset(validation) if validation else None
        self.has_validation = bool(validation)
        self.lengths = [len(encoded.input_ids) for encoded, _ in train]

    def build(self, plan: TrainPlan, micro_batch: int) -> SftLoop:
        """Load the base and make the trainer."""
        return self.trainer_for(load_causal(plan.base, on_gpu=plan.on_gpu), plan, micro_batch)

    def trainer_for(self, base: Any, plan: TrainPlan, micro_batch: int) -> SftLoop:  # noqa: ANN401  # untyped library
        """Hang the adapter on a loaded base and make the trainer."""
        common = training_arguments(plan, micro_batch, len(self.lengths), has_validation=self.has_validation)
        config = SFTConfig(**common, max_length=None, packing=False, dataset_kwargs={"skip_prepare_dataset": True})
        model = get_peft_model(base, lora_config(plan, TaskType.CAUSAL_LM))
        return SftLoop(
            model=model,
            args=config,
            data_collator=AnswerCollator(self._tokenizer.pad_token_id or 0),
            train_dataset=self._train,
            eval_dataset=self._validation,
            processing_class=self._tokenizer,
        )


def _dataset(rows: Sequence[tuple[Encoded, float]]) -> Dataset:
    return Dataset.from_dict(
        {
            "input_ids": [encoded.input_ids for encoded, _ in rows],
            "labels": [encoded.labels for encoded, _ in rows],
            "weight": [weight for _, weight in rows],
        }
    )
