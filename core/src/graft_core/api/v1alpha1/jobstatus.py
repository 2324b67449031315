"""`status` of a FineTuneJob, written by the operator alone. Import its models from graft_core.api.v1alpha1.finetunejob."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from graft_core.api.base import DecimalString, KubeModel, Sha256, Timestamp
from graft_core.api.conditions import Condition

__all__ = [
    "ArtifactStatus",
    "AttemptStatus",
    "DatasetStatus",
    "DroppedCounts",
    "FineTuneJobPhase",
    "FineTuneJobStatus",
    "GateStatus",
    "ProgressStatus",
    "RecordCounts",
    "UsageStatus",
]


class FineTuneJobPhase(StrEnum):
    """Derived from the conditions, for people."""

    PENDING = "Pending"
    QUEUED = "Queued"
    PREPARING = "Preparing"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    PUBLISHING = "Publishing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    GATES_FAILED = "GatesFailed"
    SUSPENDED = "Suspended"


def _tell_steps(data: dict[str, int]) -> str:
    return f"{data.get('step', 0)}/{data.get('total_steps', 0)}"


def _shorten_digest(data: dict[str, str]) -> str:
    return data.get("digest", "").removeprefix("sha256:")[:12]


class ProgressStatus(KubeModel):
    """Where training stands."""

    step: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps done."""
    total_steps: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps planned."""
    steps: Annotated[str, Field(max_length=24)] = Field(default_factory=_tell_steps)
    """Both, as kubectl get shows them: "400/1200"."""
    epoch: DecimalString = "0"
    """Epochs done."""
    loss: DecimalString | None = None
    """Last training loss."""
    tokens_per_second: Annotated[int, Field(ge=0)] = 0
    """Tokens trained on per second, lately."""
    eta_seconds: Annotated[int, Field(ge=0)] = 0
    """Seconds left, as far as one can tell."""


class AttemptStatus(KubeModel):
    """One run of the train child."""

    started_at: Timestamp
    """When it started."""
    resumed_from_step: Annotated[int, Field(ge=0)] = 0
    """Step of the checkpoint it went on from."""
    reason: Annotated[str, Field(max_length=64)] = ""
    """Why the attempt before it ended."""


class ArtifactStatus(KubeModel):
    """The published adapter."""

    uri: Annotated[str, Field(max_length=1200)]
    """Folder of the artifact."""
    digest: Sha256
    """Digest over its files."""
    short_digest: Annotated[str, Field(max_length=12)] = Field(default_factory=_shorten_digest)
    """Its first 12 hex digits, as kubectl get shows them."""
    size_bytes: Annotated[int, Field(ge=0)]
    """Bytes of all its files."""
    base_model: Annotated[str, Field(max_length=300)]
    """Base model it fits."""
    base_revision: Annotated[str, Field(max_length=128)]
    """Commit or digest of that base model."""


class GateStatus(KubeModel):
    """What became of one gate."""

    metric: Annotated[str, Field(max_length=128)]
    """The gate's metric; with perClass, the worst class is named in `detail`."""
    result: Literal["Pass", "Fail", "InsufficientEvidence"]
    """Pass, Fail or InsufficientEvidence."""
    value: Annotated[str, Field(max_length=32)] = ""
    """What was measured."""
    detail: Annotated[str, Field(max_length=256)] = ""
    """Bound, class, baseline, confidence interval: why."""


class RecordCounts(KubeModel):
    """Records by split."""

    train: Annotated[int, Field(ge=0)] = 0
    """Records trained on."""
    validation: Annotated[int, Field(ge=0)] = 0
    """Records for early stopping."""
    test: Annotated[int, Field(ge=0)] = 0
    """Records the gates are judged on."""


class DroppedCounts(KubeModel):
    """Records left out."""

    invalid: Annotated[int, Field(ge=0)] = 0
    """Bad records (onInvalidRecord: skip)."""
    duplicate: Annotated[int, Field(ge=0)] = 0
    """Exact duplicates."""


class DatasetStatus(KubeModel):
    """What the check found."""

    digest: Sha256
    """Digest over the files' bytes."""
    records: RecordCounts = RecordCounts()
    """Records by split."""
    dropped: DroppedCounts = DroppedCounts()
    """Records left out."""


class UsageStatus(KubeModel):
    """What the job used."""

    gpu_seconds: Annotated[int, Field(ge=0)] = 0
    """GPUs × seconds."""
    train_seconds: Annotated[int, Field(ge=0)] = 0
    """Seconds of the train child, over all attempts."""


class FineTuneJobStatus(KubeModel):
    """Written by the operator alone."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = ()
    """Accepted, Scheduled, Trained, GatesPassed, Published, Complete, Failed, Suspended."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """metadata.generation that this status is about."""
    phase: FineTuneJobPhase = FineTuneJobPhase.PENDING
    """Derived from the conditions, for people."""
    progress: ProgressStatus | None = None
    """Where training stands."""
    progress_at: Timestamp | None = None
    """When `progress` was taken."""
    attempts: Annotated[tuple[AttemptStatus, ...], Field(max_length=32)] = ()
    """Runs of the train child, oldest first."""
    children_deleted: Annotated[int, Field(ge=0)] = 0
    """Times the train child vanished and was made again."""
    active_seconds: Annotated[int, Field(ge=0)] = 0
    """Active time up to `activeSince`; suspended time is not in it."""
    active_since: Timestamp | None = None
    """Start of the active stretch under way."""
    finished_at: Timestamp | None = None
    """When the job ended."""
    artifact: ArtifactStatus | None = None
    """The published adapter."""
    metrics: Annotated[dict[str, Annotated[str, Field(max_length=32)]], Field(max_length=64)] | None = None
    """Metrics of the adapter on the test split."""
    baselines: (
        Annotated[
            dict[str, Annotated[dict[str, Annotated[str, Field(max_length=32)]], Field(max_length=64)]],
            Field(max_length=4),
        ]
        | None
    ) = None
    """The same metrics of each baseline."""
    gates: Annotated[tuple[GateStatus, ...], Field(max_length=64)] = ()
    """What became of each gate."""
    dataset: DatasetStatus | None = None
    """What the check found."""
    usage: UsageStatus | None = None
    """What the job used."""
    train_seen: bool = False
    """A train child was created once."""
