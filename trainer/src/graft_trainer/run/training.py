"""Training in one process: the plan of a child's request, and the objective with its examples."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graft_core.api.v1alpha1.task import TaskType
from graft_core.telemetry.logs import get_log
from graft_trainer.data.records import Record
from graft_trainer.methods.plan import TrainPlan, record_weight
from graft_trainer.modeling.encode import ChatEncoder, TextEncoder
from graft_trainer.run.context import Child, Prepared

__all__ = ["limit_threads", "train_here"]

_log = get_log(__name__)


def train_here(child: Child, prepared: Prepared, *, attempt: int | None = None) -> None:
    """Train, or go on training.

    Args:
        child: Watches, and says where checkpoints lie.
        prepared: Data and base model.
        attempt: Which of the sizes of micro-batches to try; None: one after the other until one fits, which only a single process can.
    """
    limit_threads(child)
    # torch, transformers, PEFT and TRL: seconds that a child without anything to train does not pay.
    from graft_trainer.methods.train import train_adapter

    request = child.request
    plan = TrainPlan(
        base=prepared.base,
        task=prepared.task,
        adapter=request.method.adapter,
        training=request.training,
        checkpoints=child.folder.checkpoints,
        on_gpu=request.compute.gpus > 0,
    )
    if attempt is not None:
        plan = replace(plan, world=child.processes * child.nodes, attempt=attempt)
    method = _classification(prepared, child) if _is_classifier(prepared) else _sft(prepared, child)
    with child.stop.deferred():
        history = train_adapter(plan, method, child, child.clock, child.folder.trained)
    _log.info("adapter_trained", steps=history.steps, best_step=history.best_step, micro_batch=history.micro_batch)


def limit_threads(child: Child) -> None:
    """Hold torch to the threads that the child may use, shared among its processes."""
    threads = child.request.compute.threads
    if threads is not None:
        import torch

        torch.set_num_threads(max(1, threads // child.processes))


def _is_classifier(prepared: Prepared) -> bool:
    return prepared.task.type is TaskType.CLASSIFICATION


def _classification(prepared: Prepared, child: Child) -> Any:  # noqa: ANN401  # its module brings torch
    from graft_trainer.methods.classification import Classification
    from graft_trainer.modeling.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(prepared.base)
    encoder = TextEncoder(tokenizer.backend_tokenizer, prepared.task)
    labels = prepared.task.labels or ()
    index = {label: i for i, label in enumerate(labels)}
    weights = child.request.training.class_weights

    def rows(records: Sequence[Record]) -> list[tuple[list[int], int, float]]:
        return [
            (encoder.prompt_ids(r), index[r.label or ""], record_weight(weights, r.answer, r.label)) for r in records
        ]

    return Classification(
        tokenizer.pad_token_id or 0, labels, rows(prepared.data.train), rows(prepared.data.validation)
    )


def _sft(prepared: Prepared, child: Child) -> Any:  # noqa: ANN401  # its module brings torch
    from graft_trainer.methods.sft import Sft
    from graft_trainer.modeling.tokenizer import load_tokenizer

    training = child.request.training
    tokenizer = load_tokenizer(prepared.base)
    encoder = ChatEncoder(tokenizer, prepared.task, completion_only=training.completion_only_loss)

    def rows(records: Sequence[Record]) -> list[Any]:
        return [(encoder.encode(r), record_weight(training.class_weights, r.answer, r.label)) for r in records]

    return Sft(tokenizer, rows(prepared.data.train), rows(prepared.data.validation))
