"""LoRA fine-tuning of an encoder with a classification head, through transformers' Trainer; the head is trained whole and saved."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import TaskType, get_peft_model
from transformers import Trainer, TrainingArguments

from graft_trainer.methods.loop import LoopMixin
from graft_trainer.methods.plan import TrainPlan
from graft_trainer.methods.train import Method, lora_config, training_arguments
from graft_trainer.modeling.load import load_classifier

__all__ = ["Classification", "ClassificationLoop", "LabelCollator", "LabelledIds"]

LabelledIds = tuple[list[int], int, float]
"""Token ids, index of the label, weight."""


class LabelCollator:
    """Pads token ids on the right."""

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, rows: Sequence[LabelledIds]) -> dict[str, torch.Tensor]:
        """Make a batch: input_ids and attention_mask of shape (batch, seq), labels and weight of shape (batch,)."""
        longest = max(len(ids) for ids, _, _ in rows)
        lengths = torch.tensor([[len(ids)] for ids, _, _ in rows])
        return {
            "input_ids": torch.tensor([ids + [self._pad] * (longest - len(ids)) for ids, _, _ in rows]),
            "attention_mask": (torch.arange(longest)[None, :] < lengths).long(),
            "labels": torch.tensor([label for _, label, _ in rows]),
            "weight": torch.tensor([weight for _, _, weight in rows], dtype=torch.float32),
        }


class ClassificationLoop(LoopMixin, Trainer):
    """Weighted cross-entropy: each record counts with its weight."""

    def weighted_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum weight × cross-entropy over the records."""
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        losses = torch.nn.functional.cross_entropy(logits.float(), inputs["labels"], reduction="none")
        return (losses * inputs["weight"]).sum()

    def weight_of(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum the weights of the records."""
        return inputs["weight"].sum()


class Classification(Method):
    """Encoded texts with label and weight."""

    def __init__(
        self, pad_token_id: int, labels: Sequence[str], train: list[LabelledIds], validation: list[LabelledIds]
    ) -> None:
        self._pad = pad_token_id
        self._labels = labels
        # A list has all that a Dataset needs; Trainer's annotation asks for the class.
        # Its last row weighs nothing, and only EpochSampler's padding asks for it.
        self._train: Any = [*train, (*train[0][:2], 0.0)]
        self._validation: Any = validation
        self.has_validation = bool(validation)
        self.lengths = [len(ids) for ids, _, _ in train]

    def build(self, plan: TrainPlan, micro_batch: int) -> ClassificationLoop:
        """Load the base and make the trainer."""
        common: dict[str, Any] = training_arguments(
            plan, micro_batch, len(self.lengths), has_validation=self.has_validation
        )
        base = load_classifier(plan.base, self._labels, seed=plan.training.seed, on_gpu=plan.on_gpu)
        return ClassificationLoop(
            model=get_peft_model(base, lora_config(plan, TaskType.SEQ_CLS)),
            args=TrainingArguments(**common),
            data_collator=LabelCollator(self._pad),
            train_dataset=self._train,
            eval_dataset=self._validation or None,
        )
