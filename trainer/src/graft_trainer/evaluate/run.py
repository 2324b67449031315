"""Score the adapter and the untuned base on the same test records through the same renderer.

For classification the untuned base is the encoder with its untrained head, drawn from the same seed: what the labels are worth without
any learning. Imported only when evaluating: torch, transformers and PEFT come with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from peft import PeftModel
from transformers.utils import logging as transformers_logging

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.tasks.scores import score_output
from graft_trainer.evaluate.measure import Scored
from graft_trainer.evaluate.predict import classify, generate, negative_log_likelihoods
from graft_trainer.modeling.encode import ChatEncoder, Example, TextEncoder
from graft_trainer.modeling.load import load_causal, load_classifier
from graft_trainer.modeling.tokenizer import load_tokenizer

__all__ = ["EvaluationPlan", "score_adapter"]

MARGIN_TOKENS: Final = 16
"""Generation may run that much over the longest right answer before it is cut: room to be wrong in, no room to ramble in."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What is scored, and how."""

    base: Path
    """Folder of the base model, verified."""
    adapter: Path
    """Folder of the trained adapter."""
    task: TaskSpec
    """Task contract, labels filled in."""
    seed: int
    """The training's: the untrained head must be the one training began with."""
    with_base: bool = True
    """Score the untuned base too."""
    on_gpu: bool = False


def score_adapter(
    plan: EvaluationPlan, test: Sequence[Example], labels: Sequence[str], check: Callable[[], None]
) -> dict[str, Scored]:
    """Score on the test split.

    Args:
        plan: What is scored.
        test: The split's records.
        labels: Right labels by record, for classification.
        check: Called between batches; raises to leave.

    Returns:
        Scores by name: `adapter`, and `base` where the plan asks for it.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if plan.task.type is TaskType.CLASSIFICATION:
        return _score_classifier(plan, test, labels, check)
    return _score_causal(plan, test, check)


def _score_classifier(
    plan: EvaluationPlan, test: Sequence[Example], expected: Sequence[str], check: Callable[[], None]
) -> dict[str, Scored]:
    tokenizer = load_tokenizer(plan.base)
    encoder = TextEncoder(tokenizer.backend_tokenizer, plan.task)
    texts = [encoder.prompt_ids(example) for example in test]
    names = plan.task.labels or ()
    model = load_classifier(plan.base, names, seed=plan.seed, on_gpu=plan.on_gpu)

    def scored(candidate: Any) -> Scored:  # noqa: ANN401  # untyped library
        candidate.eval()
        found = classify(candidate, texts, pad_id=tokenizer.pad_token_id or 0, check=check)
        answers = tuple(names[index] for index, _ in found)
        records = tuple(
            score_output(plan.task, right, answer, confidence=share)
            for right, answer, (_, share) in zip(expected, answers, found, strict=True)
        )
        return Scored(records, answers)

    base = {"base": scored(model)} if plan.with_base else {}
    return {"adapter": scored(_with_adapter(model, plan)), **base}


def _score_causal(plan: EvaluationPlan, test: Sequence[Example], check: Callable[[], None]) -> dict[str, Scored]:
    tokenizer = load_tokenizer(plan.base)
    encoder = ChatEncoder(tokenizer, plan.task)
    prompts = [encoder.prompt_ids(example) for example in test]
    encoded = [encoder.encode(example) for example in test]
    longest = max((len(row.input_ids) - len(prompt) for row, prompt in zip(encoded, prompts, strict=True)), default=0)
    pad_id = tokenizer.pad_token_id or 0
    model = load_causal(plan.base, on_gpu=plan.on_gpu)

    def scored(candidate: Any) -> Scored:  # noqa: ANN401  # untyped library
        candidate.eval()
        found = generate(
            candidate,
            prompts,
            pad_id=pad_id,
            end_ids=encoder.end_token_ids,
            max_new_tokens=longest + MARGIN_TOKENS,
            check=check,
        )
        answers = tuple(tokenizer.batch_decode(found, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        records = tuple(
            score_output(plan.task, example.answer, answer) for example, answer in zip(test, answers, strict=True)
        )
        return Scored(records, answers, tuple(negative_log_likelihoods(candidate, encoded, pad_id=pad_id, check=check)))

    base = {"base": scored(model)} if plan.with_base else {}
    return {"adapter": scored(_with_adapter(model, plan)), **base}


def _with_adapter(model: Any, plan: EvaluationPlan) -> Any:  # noqa: ANN401  # untyped library
    found = PeftModel.from_pretrained(model, str(plan.adapter), local_files_only=True)
    return found.to("cuda") if plan.on_gpu else found
