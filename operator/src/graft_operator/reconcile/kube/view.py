"""What a pass over a ModelRelease saw of the cluster: Kubernetes objects as they are, and which place holds which revision.

A *place* is where KServe runs one revision: a predictor of an InferenceService, a canary entry beside it, a slot, or a Knative Revision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import LABEL_REVISION, LABEL_UID
from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import parts, text

__all__ = [
    "MAX_NAME",
    "SLOTS",
    "KubeView",
    "Place",
    "Strategy",
    "is_owned",
    "is_terminating",
    "predictor_name",
    "read_revision",
    "slot_name",
    "version_of",
]

SLOTS: Final = ("a", "b")
"""Suffixes of the two InferenceServices of `Strategy.SLOTS`."""

MAX_NAME: Final = 36
"""Longest name of a release: the label `app: isvc.<name>-r<revision>-predictor` has 63 characters, 27 of them not the name's own."""


class Strategy(StrEnum):
    """How traffic is split between two revisions."""

    KNATIVE = "Knative"
    """One InferenceService, `canaryTrafficPercent`, Knative Revisions."""
    WEIGHTS = "KServeWeights"
    """One InferenceService, `spec.canary[]`; KServe writes the weights into its HTTPRoutes."""
    SLOTS = "Slots"
    """Two InferenceServices without a route of their own, and one HTTPRoute of ours: for every KServe that splits nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one revision runs."""

    revision: str
    kind: Literal["predictor", "canary", "slot", "revision"]
    service: str
    """The InferenceService it belongs to."""
    backend: str
    """What traffic names it by: a Service, or (Knative) a Revision."""
    resource_version: str
    is_terminating: bool = False


@dataclass(frozen=True, slots=True)
class KubeView:
    """The objects, by name; all of one namespace."""

    release: ModelRelease
    strategy: Strategy
    services: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """InferenceServices of this release."""
    deployments: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """Deployments of these InferenceServices."""
    routes: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """HTTPRoutes named `<release>` and `<release>-predictor`, whoever made them."""
    revisions: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """Knative Revisions of the InferenceService."""
    pods: tuple[Json, ...] = ()
    """Pods that carry this release's uid."""
    records: Mapping[str, str] = field(default_factory=dict[str, str])
    """Digest by revision, of every recipe that is kept."""

    @property
    def name(self) -> str:
        """Name of the release, and of its InferenceService."""
        return self.release.metadata.name

    @property
    def service(self) -> Json | None:
        """The one InferenceService of the strategies that have one."""
        return self.services.get(self.name)

    @property
    def stable(self) -> str:
        """Revision that the status says is stable; empty for none."""
        return self.release.status.stable.revision if self.release.status.stable is not None else ""

    def noted_weight(self, revision: str) -> int:
        """Percent that the status noted for a revision when it was last observed."""
        status = self.release.status
        return max(
            (
                arm.weight
                for arm in (status.stable, status.candidate, status.draining)
                if arm is not None and arm.revision == revision
            ),
            default=0,
        )


def slot_name(name: str, slot: str) -> str:
    """Name a slot's InferenceService."""
    return f"{name}-{slot}"


def predictor_name(revision: str) -> str:
    """Name a predictor after its revision: KServe's names must begin with a letter, and one name never means two revisions."""
    return f"r{revision}"


def read_revision(meta: Json | None) -> str:
    """Read the revision from metadata-like JSON (`metadata`, or a predictor with its own annotations); empty for none."""
    return text(meta, "annotations", LABEL_REVISION)


def version_of(body: Json | None) -> str:
    """Return an object's resourceVersion; empty for none."""
    return text(body, "metadata", "resourceVersion")


def is_terminating(body: Json) -> bool:
    """Say whether an object is being deleted."""
    return bool(body["metadata"].get("deletionTimestamp"))


def is_owned(body: Json, release: ModelRelease) -> bool:
    """Say whether the release is the object's controller; a label alone could be anybody's."""
    uid = release.metadata.uid
    owners = parts(body, "metadata", "ownerReferences")
    return text(body, "metadata", "labels", LABEL_UID) == uid and any(
        bool(owner.get("controller")) and owner.get("uid") == uid for owner in owners
    )
