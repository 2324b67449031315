"""Answers of a model on records, in batches sorted by length, in the records' order.

Imported only when evaluating: torch comes with it.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import torch

from graft_trainer.modeling.encode import IGNORED, Encoded
from graft_trainer.modeling.faults import OutOfMemory

__all__ = ["classify", "generate", "negative_log_likelihoods"]

BATCH: Final = {False: 32, True: 128}
"""Records at a time by device (CPU, GPU); halved when it does not fit."""

T = TypeVar("T")
Check = Callable[[], None]
"""Called between batches; raises to leave."""


def generate(
    model: Any,  # noqa: ANN401  # untyped library
    prompts: Sequence[list[int]],
    *,
    pad_id: int,
    end_ids: Sequence[int],
    max_new_tokens: int,
    check: Check,
) -> list[list[int]]:
    """Answer greedily.

    Args:
        model: A causal model, on its device, in eval mode.
        prompts: Token ids.
        pad_id: Filled in on the left, behind the attention mask.
        end_ids: Generation stops at any of them.
        max_new_tokens: Bound of an answer; one that reaches it is judged as it stands.
        check: Called between batches.

    Returns:
        New token ids by prompt, without the end token and what follows.
    """
    # The folder's own settings (sampling, penalties, length) are for chatting; evaluation must be repeatable, and served answers are
    # made without them. transformers fills in from the model's settings whatever a given config leaves open, so those are emptied.
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(end_ids),
        pad_token_id=pad_id,
        use_cache=True,
    )
    ends = frozenset(end_ids)

    def run(batch: Sequence[list[int]]) -> list[list[int]]:
        longest = max(map(len, batch))
        ids = torch.tensor([[pad_id] * (longest - len(row)) + row for row in batch], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch], device=model.device)
        found = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        return [_until(row, ends) for row in found[:, longest:].tolist()]

    return _in_batches(prompts, run, size_of=len, on_gpu=model.device.type == "cuda", check=check)


def negative_log_likelihoods(
    model: Any,  # noqa: ANN401  # untyped library
    examples: Sequence[Encoded],
    *,
    pad_id: int,
    check: Check,
) -> list[tuple[float, int]]:
    """Measure how surprised the model is by the right answers.

    Args:
        model: A causal model, on its device, in eval mode.
        examples: Prompt and right answer.
        pad_id: Filled in on the right.
        check: Called between batches.

    Returns:
        (nats, tokens) by example.
    """

    def run(batch: Sequence[Encoded]) -> list[tuple[float, int]]:
        longest = max(len(row.input_ids) for row in batch)
        ids = torch.tensor([row.input_ids + [pad_id] * (longest - len(row.input_ids)) for row in batch])
        labels = torch.tensor([row.labels + [IGNORED] * (longest - len(row.labels)) for row in batch])
        mask = torch.tensor([[1] * len(r.input_ids) + [0] * (longest - len(r.input_ids)) for r in batch])
        ids, labels, mask = (tensor.to(model.device) for tensor in (ids, labels, mask))
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        kept = labels[:, 1:] != IGNORED
        # Only answers go through the softmax: (tokens of answers, vocabulary) in fp32.
        losses = torch.nn.functional.cross_entropy(logits[kept].float(), labels[:, 1:][kept], reduction="none")
        sums = torch.zeros(kept.shape, dtype=losses.dtype, device=losses.device).masked_scatter(kept, losses)
        return list(zip(sums.double().sum(dim=1).tolist(), kept.sum(dim=1).tolist(), strict=True))

    return _in_batches(
        examples, run, size_of=lambda row: len(row.input_ids), on_gpu=model.device.type == "cuda", check=check
    )


def classify(
    model: Any,  # noqa: ANN401  # untyped library
    texts: Sequence[list[int]],
    *,
    pad_id: int,
    check: Check,
) -> list[tuple[int, float]]:
    """Label texts.

    Args:
        model: A sequence classifier, on its device, in eval mode.
        texts: Token ids.
        pad_id: Filled in on the right.
        check: Called between batches.

    Returns:
        (index of the label, its probability) by text.
    """

    def run(batch: Sequence[list[int]]) -> list[tuple[int, float]]:
        longest = max(map(len, batch))
        ids = torch.tensor([row + [pad_id] * (longest - len(row)) for row in batch], device=model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch], device=model.device)
        shares = model(input_ids=ids, attention_mask=mask).logits.float().softmax(dim=-1)
        best = shares.max(dim=-1)
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    return _in_batches(texts, run, size_of=len, on_gpu=model.device.type == "cuda", check=check)


S = TypeVar("S")


def _in_batches(
    items: Sequence[S],
    run: Callable[[Sequence[S]], list[T]],
    *,
    size_of: Callable[[S], int],
    on_gpu: bool,
    check: Check,
) -> list[T]:
    """Run over items of like size together; results come back in the items' order."""
    order = sorted(range(len(items)), key=lambda i: -size_of(items[i]))
    results: dict[int, T] = {}
    batch, at = BATCH[on_gpu], 0
    while at < len(order):
        check()
        chosen = order[at : at + batch]
        try:
            with torch.inference_mode():
                found = run([items[i] for i in chosen])
        except torch.OutOfMemoryError:
            found = None
        if found is None:
            if batch == 1:
                raise OutOfMemory("one record at a time does not fit while evaluating; give the job more memory")
            batch //= 2
            gc.collect()
            torch.cuda.empty_cache()
            continue
        results.update(zip(chosen, found, strict=True))
        at += len(chosen)
    return [results[i] for i in range(len(items))]


def _until(row: list[int], ends: frozenset[int]) -> list[int]:
    end = next((i for i, token in enumerate(row) if token in ends), len(row))
    return row[:end]
