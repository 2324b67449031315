"""What the stages of a child share: the request, the folder, and what was found out so far."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft_core.api.v1alpha1.finetunejob import ProgressStatus
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.api.v1alpha1.training import TrainingSpec
from graft_core.clock import Clock
from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import InvalidInput
from graft_core.tasks.template import template_sha256
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.prepare import Measure, prepare_dataset
from graft_trainer.data.records import PreparedDataset, Record
from graft_trainer.modeling.encode import ChatEncoder, TextEncoder
from graft_trainer.modeling.faults import BaseModelRefused
from graft_trainer.modeling.sources import resolve_model
from graft_trainer.modeling.tokens import (
    load_text_tokenizer,
    model_max_length,
    read_config,
    special_texts,
    tokenizer_key,
)
from graft_trainer.run.folder import RunFolder
from graft_trainer.run.progress import ProgressWriter
from graft_trainer.run.remote import RemoteState
from graft_trainer.run.signals import Stop

__all__ = ["Child", "Prepared", "prepare"]


@dataclass
class Child:
    """One process at work; also the Watch that training reports to."""

    request: TrainRequest
    folder: RunFolder
    clock: Clock
    stop: Stop
    progress: ProgressWriter
    findings: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the report that are known already; a failure tells them too."""
    resumed_from_step: int = 0
    is_pod: bool = False
    """A check then runs on another node than the training: it says nothing about GPUs."""
    remote: RemoteState | None = None
    """Where what must outlive the pod is kept."""
    processes: int = 1
    """Processes that train on this machine, one a GPU."""
    nodes: int = 1
    """Machines that train."""
    node_rank: int = 0
    """Which of them this is; the first one evaluates and publishes."""
    train_seconds: Callable[[], int] = lambda: 0
    """Seconds of all attempts up to now."""

    @property
    def is_first_node(self) -> bool:
        """Whether this machine tells and publishes for all."""
        return self.node_rank == 0

    def should_stop(self) -> bool:
        """Say whether SIGTERM came."""
        return self.stop.is_requested

    def resumed(self, step: int) -> None:
        """Remember the checkpoint."""
        self.resumed_from_step = step
        self.progress.resumed(step)

    def stepped(self, status: ProgressStatus) -> None:
        """Pass a step on."""
        self.progress.step(status)

    def evaluated(self, eval_loss: float) -> None:
        """Pass a validation loss on."""
        self.progress.evaluated(eval_loss)

    def saved(self, checkpoint: Path) -> None:
        """Store a checkpoint where another node finds it."""
        if self.remote is not None:
            self.remote.push_checkpoint(checkpoint)
            self.remote.write_state(self.train_seconds())


@dataclass(frozen=True)
class Prepared:
    """Data and base model, checked against what was pinned."""

    base: Path
    """Folder of the base model."""
    revision: str
    """Commit, or sha256:… over the folder's files."""
    task: TaskSpec
    """Task contract, labels filled in."""
    data: PreparedDataset
    chat_template: str | None
    """The template prompts go through; None for encoders."""

    @property
    def template_sha256(self) -> str:
        """Hash over all that makes a prompt."""
        return template_sha256(self.task, self.chat_template)


def prepare(child: Child) -> Prepared:
    """Resolve the base model, check the data with its tokenizer, and hold both against what the check pinned.

    Args:
        child: Its findings get data set, revision and labels.

    Returns:
        What all stages work on.

    Raises:
        BaseModelRefused: Another revision than the check saw.
        DatasetError: Bad data, or other labels than the check saw.
    """
    request, folder = child.request, child.folder
    found = resolve_model(request.model, folder.root)
    # From here on nothing is fetched behind our back; a library that was imported to fetch the model only gets local paths.
    os.environ["HF_HUB_OFFLINE"] = "1"
    child.findings["base_revision"] = found.revision
    pinned = request.pinned
    if pinned is not None and pinned.base_revision != found.revision:
        raise BaseModelRefused(
            f"the base model is {found.revision}, the check saw {pinned.base_revision}; start a new FineTuneJob"
        )
    request = child.request = _with_max_length(request, found.folder)
    measure, chat_template = _measure(request, found.folder)
    data = prepare_dataset(
        request,
        folder.root,
        measure=Measure(
            tokens=measure, key=f"{tokenizer_key(found.folder)}:{template_sha256(request.task, chat_template)}"
        ),
        special_tokens=special_texts(found.folder),
    )
    child.findings["dataset"] = data.status
    # Labels follow from the data; a report that had no room for them leaves the digest as their pin.
    if pinned is not None and pinned.labels and pinned.labels != data.labels:
        raise DatasetError(
            f"the data has {len(data.labels)} labels, the check saw {len(pinned.labels)} or others; start a new FineTuneJob",
            reason="DatasetChanged",
        )
    task = request.task
    if task.type is TaskType.CLASSIFICATION:
        child.findings["labels"] = data.labels
        task = task.model_copy(update={"labels": data.labels})
    child.stop.check()
    return Prepared(found.folder, found.revision, task, data, chat_template)


def _with_max_length(request: TrainRequest, base: Path) -> TrainRequest:
    """Bound maxLength by the model's positions: its default gives way, a number that somebody chose is refused."""
    longest = model_max_length(read_config(base))
    chosen = request.training.max_length
    if longest is None or chosen <= longest:
        return request
    if chosen != TrainingSpec().max_length:
        raise InvalidInput(
            f"training.maxLength: {chosen} is over the model's {longest} positions; lower it",
            path="spec.training.maxLength",
        )
    training = request.training.model_copy(update={"max_length": longest})
    return request.model_copy(update={"training": training})


def _measure(request: TrainRequest, base: Path) -> "tuple[Callable[[Record], int], str | None]":
    if request.task.type is TaskType.CLASSIFICATION:
        return TextEncoder(load_text_tokenizer(base), request.task).count, None
    # transformers takes seconds to load, which an encoder's check does not pay.
    from graft_trainer.modeling.tokenizer import load_tokenizer

    encoder = ChatEncoder(load_tokenizer(base), request.task, completion_only=request.training.completion_only_loss)
    return encoder.count, encoder.chat_template
