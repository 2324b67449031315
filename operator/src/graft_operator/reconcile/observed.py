"""What a shell saw in one pass, as frozen values: all that `decide` knows of the world.

Order of reading matters: the object first, then its children, arms and traffic, so that nothing here is older than the status beside it.
A whole view may be old; the status write (by resourceVersion) and the actions that carry one then fail with Conflict, and the pass is run again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.contracts.adapter_manifest import AdapterManifest
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import Progress, TrainReport
from graft_operator.reconcile.support import LOCAL_SHELL, Capabilities, Refusal

__all__ = [
    "Absent",
    "Arm",
    "ArtifactAbsent",
    "ArtifactCorrupt",
    "ArtifactFound",
    "ArtifactReported",
    "ArtifactState",
    "ArtifactUnreachable",
    "Child",
    "ChildState",
    "Failed",
    "Foreign",
    "NotYet",
    "ObservedFineTuneJob",
    "ObservedModelRelease",
    "Pending",
    "Policy",
    "Refused",
    "Role",
    "Running",
    "Succeeded",
    "Suspended",
    "Target",
    "Terminating",
    "Traffic",
    "Wanted",
    "Window",
]

Role = Literal["check", "train"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows and how patient it is."""

    allowed_licenses: frozenset[str] | None = None
    """Licences a base model may have; None: any, also none."""
    watchdog_s: float = 900.0
    """A running child without a sign of progress for so long is stopped once and counted as an infrastructure failure."""
    unready_grace_s: float = 30.0
    """An arm that was ready may be unready for so long before it counts as unhealthy."""
    stale_after_s: float = 30.0
    """Metrics older than that never pass."""
    missing_data_grace_s: float = 120.0
    """Metrics missing for so long make a step Inconclusive."""
    has_default_store: bool = True
    """Whether a job without spec.output.uri has a place to publish to."""
    allowed_node_selector_keys: frozenset[str] | None = None
    """Keys that spec.runtime.nodeSelector may have; None: any."""
    allowed_toleration_keys: frozenset[str] | None = None
    """Keys that spec.runtime.tolerations may have; None: any."""


# ---------------------------------------------------------------- FineTuneJob


@dataclass(frozen=True, slots=True)
class Absent:
    """There is nothing under the child's name."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """The name is taken by something that is not ours."""

    owner: str
    """Whose it is, as far as one can tell."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """The child exists and does not run."""

    by: Literal["spec", "queue"]
    """spec: stopped by `StopReason.SUSPEND`; queue: not admitted yet."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The child exists and has not started, or waits for its next attempt."""

    since: datetime
    reason: str
    """CamelCase, e.g. ImagePullBackOff, BackOff."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The child works."""

    since: datetime
    """Start of this attempt; tells attempts apart."""
    resumed_from_step: int = 0
    last_end: str = ""
    """Exit class of the attempt before, if there was one."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The child ended with exit code 0."""

    at: datetime
    report: TrainReport


@dataclass(frozen=True, slots=True)
class Failed:
    """The child ended and will not be restarted: its class is not restartable, or its restarts are used up."""

    exit_class: ExitClass
    message: str = ""
    path: str = ""
    """Field path or file:line the message is about."""
    restarts: int = 0
    is_retried: bool = False
    """What runs the child would start it once more all the same; it is stopped for that."""


@dataclass(frozen=True, slots=True)
class Terminating:
    """The child was told to stop and has not yet."""


ChildState = Absent | Foreign | Suspended | Pending | Running | Succeeded | Failed | Terminating


@dataclass(frozen=True, slots=True)
class Child:
    """What lies under a child's name (`render.names.child_name`)."""

    name: str
    state: ChildState
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class ArtifactAbsent:
    """No manifest for this job's uid."""

    looked_at: datetime


@dataclass(frozen=True, slots=True)
class ArtifactFound:
    """A manifest for this job's uid that verifies: its own digest and every file's."""

    manifest: AdapterManifest
    uri: str
    """Folder of the artifact."""


@dataclass(frozen=True, slots=True)
class ArtifactCorrupt:
    """There is one, and it does not verify."""

    message: str
    looked_at: datetime


@dataclass(frozen=True, slots=True)
class ArtifactUnreachable:
    """The store did not answer."""

    message: str


@dataclass(frozen=True, slots=True)
class ArtifactReported:
    """The train child published it, read it back and says so in its report; the shell has no credentials to look for itself."""

    report: TrainReport
    """Of the succeeded child; its `artifact` is set."""


ArtifactState = ArtifactAbsent | ArtifactFound | ArtifactCorrupt | ArtifactUnreachable
"""What a look into the store finds."""


@dataclass(frozen=True, slots=True)
class ObservedFineTuneJob:
    """Everything about one FineTuneJob."""

    job: FineTuneJob
    check: Child
    train: Child
    artifact: ArtifactState | ArtifactReported
    progress: Progress | None = None
    """Last line of the train child's progress."""
    progress_age_s: float | None = None
    """Seconds since that line arrived, by the shell's own clock."""
    policy: Policy = field(default_factory=Policy)
    capabilities: Capabilities = LOCAL_SHELL


# ---------------------------------------------------------------- ModelRelease


@dataclass(frozen=True, slots=True)
class Target:
    """The wanted model, found and verified (`reconcile.target.resolve_target`)."""

    revision: str
    """Ten hex digits, `render.revision.revision_of`."""
    uri: str
    """Folder of the adapter."""
    digest: str
    base_model: str
    base_revision: str
    task: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """The wanted model may come: its job still trains, or the store does not answer."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The wanted model must not be served."""

    reason: str
    message: str


Wanted = Target | NotYet | Refused


@dataclass(frozen=True, slots=True)
class Arm:
    """One predictor of this release, ours by label or record."""

    revision: str
    digest: str
    ready: bool
    weight_observed: int
    """Percent that the gateway acknowledged."""
    message: str = ""
    """Why it is not ready; empty while it just starts."""
    terminating: bool = False
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The split as it is written; what is in force stands at the arms."""

    requested: Mapping[str, int] = field(default_factory=dict[str, int])
    """Percent by revision; arms that are not named have 0."""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """What one arm's metrics grew by between two scrapes; counters as in `graft_core.contracts.serving_metrics`.

    Values stand as scraped: NaN, infinite and negative ones are the judge's to refuse.
    """

    revision: str
    """The label the figures carried."""
    since: datetime
    """Scrape the window starts with; at or after the moment that was asked for (`weight_since`, `promoted_at`)."""
    scraped_at: datetime
    """Latest scrape."""
    ok: float = 0.0
    errors: float = 0.0
    blocked: float = 0.0
    latency: tuple[tuple[float, float], ...] = ()
    """(upper bound in s, cumulative count), rising, the last bound +inf; answers of the engine alone (cache = miss or bypass), since a
    new arm starts with a cold cache."""
    first_token: tuple[tuple[float, float], ...] = ()
    """Same, of the time to the first token of streamed answers."""
    feedback_sum: float = 0.0
    feedback_count: float = 0.0

    @property
    def requests(self) -> float:
        """Requests that count; a client's own errors are nobody's fault here."""
        return self.ok + self.errors + self.blocked


@dataclass(frozen=True, slots=True)
class ObservedModelRelease:
    """Everything about one ModelRelease."""

    release: ModelRelease
    target: Wanted
    arms: tuple[Arm, ...] = ()
    """Every arm of this release's uid, whatever its revision."""
    traffic: Traffic = field(default_factory=Traffic)
    foreign: str = ""
    """Who owns the service instead of us; empty: nobody."""
    windows: Mapping[str, Window] = field(default_factory=dict[str, Window])
    """By revision: since the candidate's `weight_since`; with no candidate, since the stable arm's `promoted_at`."""
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    """Revisions whose config the shell keeps, with the adapter's digest: what can be gone back to."""
    url: str = ""
    """Where the service answers."""
    policy: Policy = field(default_factory=Policy)
    capabilities: Capabilities = LOCAL_SHELL
    spec_refusals: tuple[Refusal, ...] | None = None
    """What `acceptance.KeptRefusals` holds of this generation of the spec; None: `decide` looks for itself."""
    refusals: tuple[Refusal, ...] = ()
    """What the shell refuses besides: by its settings, or by what the cluster has."""
