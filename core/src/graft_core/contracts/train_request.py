"""TrainRequest: operator → trainer, `request.json` in the run folder (a mounted ConfigMap on a cluster)."""

from typing import Literal

from graft_core.api.v1alpha1.dataset import DatasetSpec
from graft_core.api.v1alpha1.finetunejob import ModelSpec
from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.api.v1alpha1.training import EvaluationSpec, MethodSpec, TrainingSpec
from graft_core.contracts.base import Contract, ObjectRef

__all__ = ["ComputeRequest", "Pinned", "TrainRequest"]


class ComputeRequest(Contract):
    """What the child may use."""

    gpus: int = 0
    """GPUs of each node; 0 trains on the CPU."""
    nodes: int | None = None
    """Nodes that train together; unset: one."""
    threads: int | None = None
    """CPU threads; unset: all."""


class Pinned(Contract):
    """What the check saw; the train child refuses anything else (`DatasetChanged`, `ModelChanged`)."""

    dataset_digest: str
    """sha256:… over the files' bytes."""
    base_revision: str
    """Commit of a hub model, or sha256:… over the model folder's files."""
    labels: tuple[str, ...] = ()
    """Closed label set of a classification task."""


class TrainRequest(Contract):
    """Everything a trainer child needs to know; nothing else is read from its environment but credentials."""

    schema_version: Literal["v1"] = "v1"
    job: ObjectRef
    """The FineTuneJob."""
    task: TaskSpec
    """Task contract."""
    model: ModelSpec
    """Base model."""
    dataset: DatasetSpec
    """Records."""
    method: MethodSpec
    """Objective and adapter."""
    training: TrainingSpec
    """Hyper-parameters."""
    evaluation: EvaluationSpec
    """Gates and baselines."""
    output_prefix: str
    """URI `<output.uri>/<namespace>/<name>/`; the artifact goes to `<prefix><sha256 hex>/`, and `<prefix>by-uid/<uid>.json` points to it."""
    compute: ComputeRequest = ComputeRequest()
    """What the child may use."""
    pinned: Pinned | None = None
    """Set for the train child."""
    traceparent: str | None = None
    """W3C trace context of the pass that made the child."""
