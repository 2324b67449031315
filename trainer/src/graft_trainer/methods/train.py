"""Train one adapter: find the micro-batch that fits, go on from a checkpoint, leave the adapter in a folder.

Imported only when training: torch, transformers and PEFT come with it.
"""

import gc
import json
import logging
import math
import os
import shutil
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, TaskType
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
from transformers.utils import logging as transformers_logging

from graft_core.api.v1alpha1.training import Schedule
from graft_core.clock import Clock
from graft_core.tasks.messages import Message
from graft_trainer.methods import checkpoints, processes
from graft_trainer.methods.loop import LoopMixin, WatchCallback
from graft_trainer.methods.plan import MAX_GRAD_NORM, TrainPlan, Watch, divisors
from graft_trainer.modeling.adapter import ALL_LINEAR
from graft_trainer.modeling.durable import publish_folder, write_atomic
from graft_trainer.modeling.faults import Diverged, OutOfMemory

__all__ = ["HISTORY_FILE", "History", "Method", "train_adapter", "training_arguments"]

HISTORY_FILE: Final = "history.json"
"""Beside the adapter: curves and what the run came to; see History."""
_TOKENS_PER_MICRO_BATCH: Final = {False: 8192, True: 65536}
"""First guess by device (CPU, GPU); on a CPU larger ones are no faster, on a GPU what is too much is halved."""

_log = logging.getLogger("graft_trainer.train")

Messages = tuple[Message, ...]


@dataclass(frozen=True)
class History:
    """What a finished training came to; equal for equal seeds, whatever was resumed."""

    steps: int
    """Optimiser steps done."""
    planned_steps: int
    """Optimiser steps without early stopping."""
    micro_batch: int
    """Records at a time."""
    best_step: int
    """Step whose weights were kept."""
    losses: list[tuple[int, float]]
    """(step, training loss)."""
    eval_losses: list[tuple[int, float]]
    """(step, validation loss)."""
    learning_rates: list[tuple[int, float]]
    """(step, learning rate)."""
    target_modules: list[str]
    """Layers with an adapter, as found in the model."""


class Method:
    """One objective: how examples are held, and which trainer learns from them. Subclasses: sft.Sft, classification.Classification."""

    lengths: list[int]
    """Tokens of each training example."""
    has_validation: bool
    """Whether there is a validation split to watch."""

    def build(self, plan: TrainPlan, micro_batch: int) -> LoopMixin:
        """Load the base, hang the adapter on it, and return a trainer; called anew when the micro-batch did not fit."""
        raise NotImplementedError


def train_adapter(plan: TrainPlan, method: Method, watch: Watch, clock: Clock, out: Path) -> History:
    """Train, or go on training, and publish the adapter's folder atomically.

    Args:
        plan: What to train.
        method: The objective, with its examples.
        watch: Told how it goes; when it asks to stop, a checkpoint is saved and `out` is not made.
        clock: For rates and remaining time.
        out: Folder to make: adapter_model.safetensors, adapter_config.json, history.json.

    Returns:
        The run's history; meaningless if the watch asked to stop.

    Raises:
        Diverged: The loss was lost, or a weight is NaN or infinite.
        OutOfMemory: One record at a time did not fit.
    """  # noqa: DOC503 - Diverged comes from the loop and from writing
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if plan.world == 1 or int(os.environ.get("LOCAL_RANK", "0")) == 0:
        checkpoints.sweep(plan.checkpoints)
    for size, recompute in _sizes(plan, max(method.lengths)):
        trainer = _try_size(replace(plan, recompute=recompute), method, size, watch, clock)
        if trainer is not None:
            break
        _log.warning("micro-batch did not fit", extra={"micro_batch": size, "recompute": recompute})
    else:
        raise OutOfMemory(
            f"one record of up to {max(method.lengths)} tokens does not fit beside the model; lower training.maxLength,"
            " use a smaller base model, or give the job more memory"
        )
    history = _history_of(trainer, size)
    if not processes.agree(watch.should_stop()) and processes.is_first():
        _write_adapter(trainer, history, out)
    return history


def _sizes(plan: TrainPlan, longest: int) -> list[tuple[int, bool]]:
    """List micro-batches and whether activations are recomputed, the fastest first; one only where several processes train."""
    budget = _TOKENS_PER_MICRO_BATCH[plan.on_gpu]
    fitting = [size for size in divisors(plan.training.batch_size // plan.world) if size * longest <= budget] or [1]
    # Recomputing activations costs a third of the speed, so it comes last.
    every = [*((size, False) for size in fitting), (1, True)]
    return every if plan.world == 1 else every[plan.attempt : plan.attempt + 1]


def _try_size(plan: TrainPlan, method: Method, size: int, watch: Watch, clock: Clock) -> LoopMixin | None:
    """Train with one micro-batch; None where it did not fit."""
    resume = checkpoints.newest_complete(plan.checkpoints)
    trainer: LoopMixin | None = None
    try:
        set_seed(plan.training.seed)
        trainer = method.build(plan, size)
        trainer.lengths = method.lengths
        trainer.checkpoint_folder = plan.checkpoints
        trainer.watch = watch
        trainer.keep = plan.training.checkpoint.keep
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(WatchCallback(watch, clock, _token_counter(trainer)))
        stopping = plan.training.early_stopping
        if stopping is not None and method.has_validation:
            trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=stopping.patience))
        if resume is not None:
            watch.resumed(checkpoints.step_of(resume))
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    except torch.OutOfMemoryError:
        pass
    except RuntimeError as err:
        # The CPU's allocator has no class of its own.
        if "can't allocate memory" not in str(err):
            raise
    else:
        return trainer
    # Out of the except block, and without a name for it: a traceback or a name would keep the tensors alive.
    trainer = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _token_counter(trainer: LoopMixin) -> Callable[[], int]:
    # Weak: a callback must not keep a trainer alive that did not fit.
    seen = weakref.ref(trainer)

    def count() -> int:
        found = seen()
        return 0 if found is None else int(found.tokens_seen)

    return count


def training_arguments(plan: TrainPlan, micro_batch: int, records: int, *, has_validation: bool) -> dict[str, Any]:
    """Translate hyper-parameters to what TrainingArguments and SFTConfig both take."""
    training = plan.training
    per_epoch = math.ceil(records / training.batch_size)
    steps = per_epoch * training.epochs
    # A job shorter than everySteps is looked at once an epoch too, or early stopping would never see it.
    every = min(training.checkpoint.every_steps, per_epoch)
    watched = has_validation
    has_stopping = training.early_stopping is not None and watched
    names = {Schedule.COSINE: "cosine", Schedule.LINEAR: "linear", Schedule.CONSTANT: "constant_with_warmup"}
    return {
        "output_dir": str(plan.checkpoints),
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": micro_batch,
        "per_device_eval_batch_size": micro_batch,
        "gradient_accumulation_steps": training.batch_size // (micro_batch * plan.world),
        "learning_rate": float(training.learning_rate),
        "lr_scheduler_type": names[training.schedule],
        "warmup_steps": math.ceil(float(training.warmup_ratio) * steps),
        "max_grad_norm": MAX_GRAD_NORM,
        "weight_decay": 0.0,
        "optim": "adamw_torch_fused" if plan.on_gpu else "adamw_torch",
        "seed": training.seed,
        "data_seed": training.seed,
        "use_cpu": not plan.on_gpu,
        "bf16": plan.on_gpu,
        "activation_checkpointing": plan.recompute,
        "eval_strategy": "steps" if watched else "no",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every if has_stopping else training.checkpoint.every_steps,
        "save_total_limit": None,
        "load_best_model_at_end": has_stopping,
        "metric_for_best_model": "eval_loss" if has_stopping else None,
        "greater_is_better": False if has_stopping else None,
        # Reading the loss waits for the GPU; on a CPU it is free.
        "logging_steps": 10 if plan.on_gpu and steps > 200 else 1,  # a short run keeps a smooth curve
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": [],
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": plan.on_gpu,
        "restore_callback_states_from_checkpoint": False,
        **(
            {"ddp_backend": "nccl" if plan.on_gpu else "gloo", "ddp_find_unused_parameters": False}
            if plan.world > 1
            else {}
        ),
    }


def lora_config(plan: TrainPlan, task_type: TaskType) -> LoraConfig:
    """Translate the adapter's spec for PEFT."""
    targets = plan.adapter.target_modules
    return LoraConfig(
        r=plan.adapter.r,
        lora_alpha=plan.adapter.alpha,
        lora_dropout=float(plan.adapter.dropout),
        target_modules=ALL_LINEAR if ALL_LINEAR in targets else list(targets),
        use_rslora=plan.use_rslora,
        use_dora=plan.use_dora,
        task_type=task_type,
    )


def _history_of(trainer: LoopMixin, micro_batch: int) -> History:
    state = trainer.state
    rows: Sequence[dict[str, float]] = state.log_history
    config = trainer.model.peft_config["default"]
    return History(
        steps=state.global_step,
        planned_steps=state.max_steps,
        micro_batch=micro_batch,
        best_step=state.best_global_step or state.global_step,
        losses=[(int(row["step"]), row["loss"]) for row in rows if "loss" in row],
        eval_losses=[(int(row["step"]), row["eval_loss"]) for row in rows if "eval_loss" in row],
        learning_rates=[(int(row["step"]), row["learning_rate"]) for row in rows if "learning_rate" in row],
        target_modules=sorted(config.target_modules),
    )


def _write_adapter(trainer: LoopMixin, history: History, out: Path) -> None:
    made = out.with_name(f".{out.name}.making")
    shutil.rmtree(made, ignore_errors=True)
    trainer.model.save_pretrained(str(made), safe_serialization=True)
    for path in made.iterdir():
        if path.name not in {"adapter_model.safetensors", "adapter_config.json"}:
            path.unlink()
    for name, tensor in load_file(made / "adapter_model.safetensors").items():
        if not torch.isfinite(tensor).all():
            raise Diverged(f"weight {name!r} of the trained adapter is NaN or infinite; lower training.learningRate")
    write_atomic(made / HISTORY_FILE, json.dumps(asdict(history), sort_keys=True))
    publish_folder(made, out)
