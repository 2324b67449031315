"""Tokens per second of LoRA SFT: `python -m tests.bench.bench_gpu` writes tests/bench/out/gpu.json in at most nine minutes.

True shapes of Qwen2.5-0.5B, 1.5B and 7B with random weights made on the device (speed does not depend on what they know), bf16, real
optimiser steps. This trainer's own path beside a plain padded transformers Trainer with PEFT on the same model shape, records, effective
batch, optimiser and LoRA, one after the other in this run. Tokens are those of the records; padding is not counted for either.

Without a GPU it says so in the JSON and ends well. `--smoke` runs the same code on tiny shapes, on a CPU too; its figures mean nothing.
"""

import argparse
import gc
import json
import platform
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import TaskType, get_peft_model
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import SaveStrategy
from transformers.utils import logging as transformers_logging

from graft_core.api.v1alpha1.training import AdapterSpec, TrainingSpec
from graft_trainer.methods.loop import LoopMixin
from graft_trainer.methods.plan import TrainPlan, divisors
from graft_trainer.methods.sft import Sft
from graft_trainer.methods.train import lora_config
from graft_trainer.modeling.encode import IGNORED, Encoded
from tests.trainer.tiny import json_task

OUT = Path(__file__).resolve().parent / "out" / "gpu.json"

SEED = 7
BUDGET_S = 480.0
"""For all arms together; the rest of the nine minutes is for imports and making weights."""
GOAL = 1.0
"""The trainer is to be no slower than the plain one."""

_QWEN: dict[str, Any] = {
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "rms_norm_eps": 1e-6,
}
SHAPES: dict[str, dict[str, Any]] = {
    "Qwen2.5-0.5B": {
        "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "Qwen2.5-1.5B": {
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
        "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "Qwen2.5-7B": {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "tie_word_embeddings": False, "vocab_size": 152064,
    },
}  # fmt: skip
"""From the models' own config.json."""
SMOKE_SHAPES: dict[str, dict[str, Any]] = {
    "smoke": {
        "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "tie_word_embeddings": True,
    }
}  # fmt: skip


@dataclass(frozen=True)
class Bed:
    """What both arms share."""

    on_gpu: bool
    batch: int
    max_tokens: int
    seconds: float
    """Each arm trains that long, after its first steps."""


class Stopwatch(TrainerCallback):
    """Counts time and records from the third step on, and ends the arm when its time is over."""

    WARM_STEPS = 2

    def __init__(self, bed: Bed, tokens_of_step: Callable[[int], int]) -> None:
        self._bed = bed
        self._tokens_of_step = tokens_of_step
        self._began = 0.0
        self.seconds = 0.0
        self.tokens = 0
        self.steps = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        if self._bed.on_gpu:
            torch.cuda.synchronize()
        now = time.perf_counter()
        if state.global_step == self.WARM_STEPS:
            self._began = now
        elif state.global_step > self.WARM_STEPS:
            self.steps += 1
            self.seconds = now - self._began
            self.tokens += self._tokens_of_step(state.global_step)
            control.should_training_stop = self.seconds >= self._bed.seconds


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description="LoRA SFT tokens/s beside a plain Trainer.")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, for proving the code on a CPU")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    transformers_logging.set_verbosity_error()
    has_gpu = torch.cuda.is_available()
    figures: list[dict[str, Any]] = []
    note = "" if has_gpu else "no GPU on this machine: nothing was measured"
    if has_gpu or args.smoke:
        shapes = SMOKE_SHAPES if args.smoke else SHAPES
        seconds = 1.0 if args.smoke else min(60.0, BUDGET_S / (2 * len(shapes)) - 15)
        bed = Bed(has_gpu, batch=8 if args.smoke else 32, max_tokens=64 if args.smoke else 2048, seconds=seconds)
        note = "smoke: tiny shapes, the figures mean nothing" if args.smoke else ""
        for name, shape in shapes.items():
            figures += _compare(name, shape, bed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"bed": _describe(has_gpu), "note": note, "figures": figures}, indent=2) + "\n")
    for figure in figures:
        print(
            f"{figure['name']:40} {figure['value']:>10} {figure['unit']:9} plain {figure['peer']:>10}  ×{figure['ratio']}"
        )
    print(note or f"written to {args.out.name}")
    return 0


def _compare(name: str, shape: dict[str, Any], bed: Bed) -> list[dict[str, Any]]:
    config = Qwen2Config(**(_QWEN | shape))
    # More records than fit the time, in whole batches.
    rows = _records(config.vocab_size, bed, count=bed.batch * 400)
    ours = _largest_that_fits(lambda size: _ours(config, rows, bed, size), bed)
    plain = _largest_that_fits(lambda size: _plain(config, rows, bed, size), bed)
    ratio = round(ours["tokens_per_s"] / plain["tokens_per_s"], 2) if plain["tokens_per_s"] else None
    return [
        {
            "name": f"LoRA SFT {name}",
            "value": ours["tokens_per_s"],
            "unit": "tokens/s",
            "peer": plain["tokens_per_s"],
            "ratio": ratio,
            "goal": f"≥ {GOAL} × plain Trainer",
            "holds": ratio is not None and ratio >= GOAL,
            "detail": {"ours": ours, "plain": plain},
        }
    ]


def _records(vocabulary: int, bed: Bed, count: int) -> list[tuple[Encoded, float]]:
    """Lengths as instruction data has them: log-normal, median a sixth of the longest; half of each record is answer."""
    rng = random.Random(SEED)
    rows: list[tuple[Encoded, float]] = []
    for _ in range(count):
        size = max(8, min(bed.max_tokens, round(bed.max_tokens / 6 * rng.lognormvariate(0, 0.8))))
        ids = [rng.randrange(8, vocabulary) for _ in range(size)]
        rows.append((Encoded(ids, [IGNORED] * (size // 2) + ids[size // 2 :]), 1.0))
    return rows


def _model(config: Qwen2Config, bed: Bed) -> Any:
    torch.manual_seed(SEED)
    device = torch.device("cuda" if bed.on_gpu else "cpu")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if bed.on_gpu else torch.float32)
    try:
        with device:
            return Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def _plan(folder: Path, bed: Bed) -> TrainPlan:
    return TrainPlan(
        base=folder,
        task=json_task(),
        adapter=AdapterSpec(r=16, alpha=32, dropout="0.05"),
        training=TrainingSpec(
            epochs=1, learning_rate="2e-4", batch_size=bed.batch, max_length=bed.max_tokens, seed=SEED
        ).model_copy(update={"checkpoint": TrainingSpec().checkpoint.model_copy(update={"every_steps": 100_000})}),
        checkpoints=folder,
        on_gpu=bed.on_gpu,
    )


def _ours(config: Qwen2Config, rows: Sequence[tuple[Encoded, float]], bed: Bed, size: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="graft-bench-"))
    try:
        method = Sft(_tokenizer(), list(rows), [])
        trainer: LoopMixin = method.trainer_for(_model(config, bed), _plan(folder, bed), size)
        trainer.lengths, trainer.checkpoint_folder = method.lengths, folder
        trainer.args.save_strategy = SaveStrategy.NO  # the disk is not what is measured, for neither arm
        order = list(trainer._get_train_sampler())
        return _timed(trainer, bed, size, [method.lengths[i] for i in order])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain(config: Qwen2Config, rows: Sequence[tuple[Encoded, float]], bed: Bed, size: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="graft-bench-"))
    plan = _plan(folder, bed)
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=bed.batch // size,
        learning_rate=2e-4,
        lr_scheduler_type="cosine",
        warmup_steps=12,
        optim="adamw_torch_fused" if bed.on_gpu else "adamw_torch",
        bf16=bed.on_gpu,
        use_cpu=not bed.on_gpu,
        seed=SEED,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_steps=10,
        remove_unused_columns=False,
    )
    model = get_peft_model(_model(config, bed), lora_config(plan, TaskType.CAUSAL_LM))
    lengths = [len(encoded.input_ids) for encoded, _ in rows]

    class InOrder(Trainer):
        """The same shuffle for both, so that both see the same tokens."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.RandomSampler(range(len(rows)), generator=torch.Generator().manual_seed(SEED))

    order = list(torch.utils.data.RandomSampler(range(len(rows)), generator=torch.Generator().manual_seed(SEED)))
    try:
        dataset: Any = list(rows)
        trainer = InOrder(model=model, args=arguments, train_dataset=dataset, data_collator=_pad)
        return _timed(trainer, bed, size, [lengths[i] for i in order])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pad(rows: Sequence[tuple[Encoded, float]]) -> dict[str, torch.Tensor]:
    longest = max(len(encoded.input_ids) for encoded, _ in rows)

    def padded(values: Sequence[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([row + [fill] * (longest - len(row)) for row in values])

    return {
        "input_ids": padded([encoded.input_ids for encoded, _ in rows], 0),
        "attention_mask": padded([[1] * len(encoded.input_ids) for encoded, _ in rows], 0),
        "labels": padded([encoded.labels for encoded, _ in rows], IGNORED),
    }


def _timed(trainer: Any, bed: Bed, size: int, lengths_in_order: Sequence[int]) -> dict[str, Any]:
    watch = Stopwatch(bed, lambda step: sum(lengths_in_order[(step - 1) * bed.batch : step * bed.batch]))
    trainer.add_callback(watch)
    trainer.train()
    peak = torch.cuda.max_memory_allocated() if bed.on_gpu else 0
    return {
        "tokens_per_s": round(watch.tokens / watch.seconds) if watch.seconds else 0,
        "steps": watch.steps,
        "seconds": round(watch.seconds, 2),
        "micro_batch": size,
        "peak_gib": round(peak / 2**30, 1),
    }


def _largest_that_fits(run: Callable[[int], dict[str, Any]], bed: Bed) -> dict[str, Any]:
    """Both arms get the same search: the largest micro-batch that does not run out of memory."""
    for size in divisors(bed.batch):
        try:
            return run(size)
        except torch.OutOfMemoryError:
            pass
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return {"tokens_per_s": 0, "steps": 0, "seconds": 0, "micro_batch": 0, "peak_gib": 0}


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models

    vocabulary = {"<pad>": 0, "<end>": 1}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>")),
        pad_token="<pad>",
        eos_token="<end>",
    )


def _describe(has_gpu: bool) -> dict[str, Any]:
    return {
        "machine": torch.cuda.get_device_name() if has_gpu else platform.machine(),
        "gpus": torch.cuda.device_count(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "trl", "graft-trainer")},
        "seed": SEED,
    }


if __name__ == "__main__":
    raise SystemExit(main())
