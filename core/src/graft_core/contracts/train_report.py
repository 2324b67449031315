"""TrainReport and Progress: trainer → operator, as files of the run folder.

`progress.jsonl` is appended while the child runs, one `Progress` a line; a torn last line is ignored.
`report.json` is written once, atomically, just before the child ends, whatever the end.
"""

from typing import Literal

from graft_core.api.v1alpha1.finetunejob import (
    ArtifactStatus,
    AttemptStatus,
    DatasetStatus,
    GateStatus,
    ProgressStatus,
    UsageStatus,
)
from graft_core.contracts.base import Contract, ObjectRef
from graft_core.contracts.exit_codes import ExitClass

__all__ = ["Progress", "TrainPhase", "TrainReport"]

TrainPhase = Literal["Preparing", "Training", "Evaluating", "Publishing"]


class Progress(Contract):
    """One line of progress.jsonl."""

    at: str
    """RFC 3339."""
    phase: TrainPhase
    """What the child is doing."""
    status: ProgressStatus = ProgressStatus()
    """Step, loss, tokens/s, ETA."""
    eval_loss: str | None = None
    """Loss on the validation split, after an evaluation."""
    resumed_from_step: int = 0
    """Step of the checkpoint this attempt went on from."""


class TrainReport(Contract):
    """How a child ended."""

    schema_version: Literal["v1"] = "v1"
    job: ObjectRef
    """The FineTuneJob."""
    role: Literal["check", "train"]
    """Which child."""
    exit_class: ExitClass
    """How it ended."""
    message: str = ""
    """For a person: what failed, the value, what was expected, what to do; names file and line of a bad record."""
    path: str = ""
    """Field path or file:line the message is about."""
    dataset: DatasetStatus | None = None
    """What the data set holds."""
    base_revision: str | None = None
    """Commit or digest of the base model."""
    labels: tuple[str, ...] = ()
    """Closed label set of a classification task."""
    artifact: ArtifactStatus | None = None
    """What was published."""
    metrics: dict[str, str] | None = None
    """Metrics of the adapter."""
    baselines: dict[str, dict[str, str]] | None = None
    """Metrics of each baseline."""
    gates: tuple[GateStatus, ...] = ()
    """What became of each gate."""
    gate_results: str | None = None
    """Where `gates` had no room: one letter a gate, in the spec's order (P pass, F fail, I insufficient evidence)."""
    attempt: AttemptStatus | None = None
    """This run."""
    usage: UsageStatus | None = None
    """What it used."""
    progress: ProgressStatus | None = None
    """Where training stood last: whoever looks at times only, misses the end of a short one."""
