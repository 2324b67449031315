"""The writes that a ModelRelease may ask of a cluster, as values: each is one write of one object, absolute and guarded by its resourceVersion.

`cluster.release_shell` carries them out; what the objects look like is `render.kube`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "AddCanary",
    "CreateService",
    "DeleteRoute",
    "DeleteService",
    "Move",
    "PromoteCanary",
    "RemoveCanary",
    "ReplaceTemplate",
    "SetCanaryShares",
    "SetPercent",
    "SplitRoute",
]


@dataclass(frozen=True, slots=True)
class CreateService:
    """Make an InferenceService that runs one revision."""

    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class DeleteService:
    """Delete an InferenceService, and with it all that KServe made for it."""

    name: str


@dataclass(frozen=True, slots=True)
class AddCanary:
    """KServeWeights: put a revision beside the predictor, at weight 0."""

    revision: str


@dataclass(frozen=True, slots=True)
class SetCanaryShares:
    """KServeWeights: give the canaries these percents; the predictor has what is left."""

    shares: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RemoveCanary:
    """KServeWeights: take a canary away; its weight was observed 0."""

    revision: str


@dataclass(frozen=True, slots=True)
class PromoteCanary:
    """KServeWeights: make a canary the predictor, under its own name, so that its pods live on; the predictor's weight was observed 0."""

    revision: str


@dataclass(frozen=True, slots=True)
class ReplaceTemplate:
    """Knative: put another revision into the template, in one write with its percent."""

    revision: str
    percent: int | None


@dataclass(frozen=True, slots=True)
class SetPercent:
    """Knative: give the template's revision this percent; None is all, for good."""

    percent: int | None


@dataclass(frozen=True, slots=True)
class SplitRoute:
    """Slots: send these percents to these Services; none is 0."""

    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Slots: nobody answers any more."""


Move = (
    CreateService
    | DeleteService
    | AddCanary
    | SetCanaryShares
    | RemoveCanary
    | PromoteCanary
    | ReplaceTemplate
    | SetPercent
    | SplitRoute
    | DeleteRoute
)
