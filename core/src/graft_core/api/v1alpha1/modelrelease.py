"""ModelRelease: one service that only ever moves to a better model.

Long-lived, like a Rollout: editing `spec.model`, `engine`, `predictor`, `cache`, `guardrails` or `routing` makes a new revision
(a hash of those fields), which is rolled out against the running one.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from graft_core.api.base import Cel, DnsLabel, KubeModel, LabelValue, ObjectMeta, Sha256, Timestamp
from graft_core.api.conditions import Condition
from graft_core.api.v1alpha1.finetunejob import ModelSpec
from graft_core.api.v1alpha1.names import API_VERSION, KIND_MODELRELEASE
from graft_core.api.v1alpha1.rollout import RolloutSpec
from graft_core.api.v1alpha1.serving import (
    CacheSpec,
    EngineSpec,
    GuardrailsSpec,
    PredictorSpec,
    RequestLogSpec,
    RoutingSpec,
)
from graft_core.api.v1alpha1.task import TaskSpec

__all__ = [
    "AdapterRef",
    "AnalysisStatus",
    "ArmStatus",
    "CandidateStatus",
    "DrainingStatus",
    "FineTuneJobRef",
    "FineTuneJobSelector",
    "HistoryEntry",
    "ModelRelease",
    "ModelReleasePhase",
    "ModelReleaseSpec",
    "ModelReleaseStatus",
    "ReleaseModel",
    "Verdict",
]


class FineTuneJobRef(KubeModel):
    """A FineTuneJob in the same namespace."""

    name: DnsLabel
    """Its name."""


class FineTuneJobSelector(KubeModel):
    """The newest matching FineTuneJob that passed its gates."""

    match_labels: Annotated[dict[str, LabelValue], Field(min_length=1, max_length=16)]
    """Labels it must have."""


class AdapterRef(KubeModel):
    """A published adapter by digest."""

    uri: Annotated[
        str,
        Field(
            min_length=8,
            max_length=1200,
            pattern=r"^(s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]/|file:///)[^\s\\@?#\x00-\x1f\x7f]*$",
        ),
    ]
    """Folder that holds manifest.json."""
    digest: Sha256
    """Digest its manifest must have."""


class ReleaseModel(KubeModel):
    """What is served: exactly one of a job's adapter, the newest of some jobs, an adapter by digest, or a plain base model with a task."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "[has(self.fineTuneJobRef), has(self.fineTuneJobSelector), has(self.adapter), has(self.base)].filter(x, x).size() == 1",
            "exactly one of fineTuneJobRef, fineTuneJobSelector, adapter and base must be set",
        ),
        Cel("has(self.base) == has(self.task)", "base and task go together; an adapter brings its own task", ".task"),
    )

    fine_tune_job_ref: FineTuneJobRef | None = None
    """The adapter that this job published."""
    fine_tune_job_selector: FineTuneJobSelector | None = None
    """The newest adapter of these jobs: continuous delivery."""
    adapter: AdapterRef | None = None
    """An adapter by digest."""
    base: ModelSpec | None = None
    """A plain base model."""
    task: TaskSpec | None = None
    """The task of a plain base model."""


class ModelReleaseSpec(KubeModel):
    """What to serve and how to move to it."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.deploymentMode) == has(oldSelf.deploymentMode) && (!has(self.deploymentMode) || self.deploymentMode == oldSelf.deploymentMode)",
            "deploymentMode is immutable",
            ".deploymentMode",
        ),
        Cel("self.attempt >= oldSelf.attempt", "attempt can only be raised", ".attempt"),
    )

    deployment_mode: Literal["Standard", "Knative"] | None = None
    """KServe: Standard (Gateway API) or Knative; unset: what the cluster has."""
    model: ReleaseModel
    """What is served."""
    engine: EngineSpec = EngineSpec()
    """What generates the answers."""
    predictor: PredictorSpec = PredictorSpec()
    """The predictor around it."""
    cache: CacheSpec = CacheSpec()
    """Reuse of answers."""
    guardrails: GuardrailsSpec = GuardrailsSpec()
    """Checks before and after the engine."""
    routing: RoutingSpec | None = None
    """Further engines."""
    request_log: RequestLogSpec | None = None
    """A record of what was asked; absent: none is kept."""
    rollout: RolloutSpec = RolloutSpec()
    """How a new revision takes over."""
    deletion_policy: Literal["Delete", "Orphan"] = "Delete"
    """Orphan leaves the service running."""
    attempt: Annotated[int, Field(ge=0, le=1000000)] = 0
    """Raise it to try a revision again that was rolled back."""
    paused: bool = False
    """Hold the weights; a Fail still rolls back."""
    abort: bool = False
    """Take the candidate back now."""
    rollback_to: Annotated[str, Field(max_length=16, pattern=r"^([0-9a-f]{10})?$")] = ""
    """A revision of status.history to go back to."""


class ModelReleasePhase(StrEnum):
    """Derived from the conditions, for people."""

    PENDING = "Pending"
    SHADOWING = "Shadowing"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    RELEASED = "Released"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    DEGRADED = "Degraded"


class Verdict(StrEnum):
    """What an analysis says of one check or one step."""

    PASS = "Pass"
    FAIL = "Fail"
    CONTINUE = "Continue"
    INCONCLUSIVE = "Inconclusive"


RevisionHash = Annotated[str, Field(max_length=16, pattern=r"^[0-9a-f]{10}$")]
"""First ten hex digits of the hash over what makes a revision."""


class ArmStatus(KubeModel):
    """An arm of the traffic split."""

    revision: RevisionHash
    """Its revision."""
    digest: Annotated[str, Field(max_length=71)] = ""
    """Digest of its adapter."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of the requests, as observed."""
    promoted_at: Timestamp | None = None
    """When it became stable."""


class CandidateStatus(KubeModel):
    """The arm that is being tried."""

    revision: RevisionHash
    """Its revision."""
    digest: Annotated[str, Field(max_length=71)] = ""
    """Digest of its adapter."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of the requests, as observed."""
    step: Annotated[int, Field(ge=0, le=20)] = 0
    """Index of the step under way."""
    since: Timestamp
    """When the candidate was made."""
    ready_at: Timestamp | None = None
    """When it was first ready."""
    unready_since: Timestamp | None = None
    """Since when it has not been ready, after it was."""
    weight_since: Timestamp | None = None
    """When the step's weight was first observed: the window's start."""
    data_missing_since: Timestamp | None = None
    """Since when the analysis has had no fresh data."""
    step_since: Timestamp | None = None
    """When the step was entered, or gone on with after a pause: its deadline counts from here."""
    paused_since: Timestamp | None = None
    """Since when spec.paused has held it."""
    promoting: bool = False
    """The last step passed, or there is none to go through; the weight goes to 100."""


class DrainingStatus(KubeModel):
    """The losing arm, warm for a while."""

    revision: RevisionHash
    """Its revision."""
    digest: Annotated[str, Field(max_length=71)] = ""
    """Digest of its adapter."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of the requests, as observed."""
    since: Timestamp | None = None
    """When its weight was observed 0; unset: not yet."""


class AnalysisStatus(KubeModel):
    """One look of the analysis."""

    step: Annotated[int, Field(ge=-1, le=20)]
    """Index of the step; -1 is the watch after promotion."""
    metric: Annotated[str, Field(max_length=64)]
    """The check's metric."""
    stable: Annotated[str, Field(max_length=32)] = ""
    """What the stable arm showed."""
    candidate: Annotated[str, Field(max_length=32)] = ""
    """What the candidate showed."""
    samples: Annotated[int, Field(ge=0)] = 0
    """Samples of the candidate."""
    verdict: Verdict
    """Pass, Fail, Continue or Inconclusive."""
    detail: Annotated[str, Field(max_length=256)] = ""
    """The bound and why."""


class HistoryEntry(KubeModel):
    """How one revision ended its rollout."""

    revision: RevisionHash
    """The revision."""
    digest: Annotated[str, Field(max_length=71)] = ""
    """Digest of its adapter."""
    outcome: Literal["Promoted", "RolledBack", "Superseded"]
    """Promoted, RolledBack or Superseded."""
    reason: Annotated[str, Field(max_length=64)] = ""
    """CamelCase reason."""
    message: Annotated[str, Field(max_length=512)] = ""
    """The figures that decided."""
    at: Timestamp
    """When."""


class ModelReleaseStatus(KubeModel):
    """Written by the operator alone."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = ()
    """Accepted, ArtifactVerified, Ready, Progressing, AnalysisHealthy, TrafficSplit, Released."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """metadata.generation that this status is about."""
    phase: ModelReleasePhase = ModelReleasePhase.PENDING
    """Derived from the conditions, for people."""
    url: Annotated[str, Field(max_length=1024)] = ""
    """Where the service answers."""
    traffic_strategy: Annotated[str, Field(max_length=32)] = ""
    """On a cluster, how traffic is split, as it was found out before the first arm was made: KServeWeights, Slots or Knative."""
    stable: ArmStatus | None = None
    """The running revision."""
    candidate: CandidateStatus | None = None
    """The revision that is being tried."""
    draining: DrainingStatus | None = None
    """The losing arm, warm for a while."""
    analysis: Annotated[tuple[AnalysisStatus, ...], Field(max_length=32)] = ()
    """The latest looks, newest last."""
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=20)] = ()
    """How revisions ended, newest last."""


class ModelRelease(BaseModel):
    """One service and what it serves. Short name mr."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    api_version: Literal["graft.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRelease"] = KIND_MODELRELEASE
    metadata: ObjectMeta
    spec: ModelReleaseSpec
    status: ModelReleaseStatus = ModelReleaseStatus()
