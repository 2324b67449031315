"""What the operator may do in a cluster, each right with its reason: chart, manifests and docs/user/rbac.md are written from here.

`tests/delivery/test_rights_used.py` runs the operator on a real API server with these rights and holds its audit log against them: what
is not granted would be refused, and what is granted but never used fails the test.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from graft_operator.ports import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    FINE_TUNE_JOBS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    JOBS,
    KNATIVE_REVISIONS,
    LEASES,
    MODEL_RELEASES,
    PODS,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
    Resource,
)

__all__ = ["CRDS", "EDITORS", "GRANTS", "VIEWERS", "Grant", "Scope", "render_rules"]

CRDS: Final = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")


class Scope(StrEnum):
    """Where a right holds."""

    SERVED = "the namespaces served"
    OWN = "the operator's own namespace"
    CLUSTER = "the whole cluster"


@dataclass(frozen=True, slots=True)
class Grant:
    """Verbs on one resource."""

    resource: Resource
    verbs: tuple[str, ...]
    why: str
    scope: Scope = Scope.SERVED
    subresource: str = ""
    is_of_lease: bool = False
    """Whether it holds for the operator's own Lease alone."""

    @property
    def name(self) -> str:
        """As in a rule, e.g. `finetunejobs/status`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    @property
    def pairs(self) -> frozenset[tuple[str, str, str]]:
        """Group, resource and verb of each right, as an audit log tells them."""
        return frozenset((self.resource.group, self.name, verb) for verb in self.verbs)


GRANTS: Final[tuple[Grant, ...]] = (
    Grant(FINE_TUNE_JOBS, ("get", "list", "watch", "patch"), "reads jobs, and puts its finalizer on and takes it off"),
    Grant(FINE_TUNE_JOBS, ("patch",), "writes their status", subresource="status"),
    Grant(
        MODEL_RELEASES, ("get", "list", "watch", "patch"), "reads releases, and puts its finalizer on and takes it off"
    ),
    Grant(MODEL_RELEASES, ("patch",), "writes their status", subresource="status"),
    Grant(
        JOBS,
        ("get", "list", "watch", "create", "patch", "delete"),
        "runs check and training; a patch moves a queued Job to another queue, and notes a stalled trainer",
    ),
    Grant(
        CONFIG_MAPS,
        ("get", "list", "create", "patch", "delete"),
        "keeps what a trainer is asked and what each revision is made of; never watched, so none is held in memory",
    ),
    Grant(
        PODS,
        ("get", "list", "watch", "delete"),
        "reads why a pod does not start and how it ended, asks it for progress or figures by its address, and deletes a trainer that stalled",
    ),
    Grant(EVENTS, ("get", "create", "patch"), "tells what happened, and counts what happens again"),
    Grant(
        TRAIN_JOBS,
        ("get", "list", "watch", "create", "patch", "delete"),
        "Kubeflow Trainer, for more than one node: as for Jobs",
    ),
    Grant(TRAINING_RUNTIMES, ("get", "create", "delete"), "the pod of a TrainJob"),
    Grant(
        INFERENCE_SERVICES,
        ("get", "list", "watch", "create", "patch", "delete"),
        "KServe: serves the revisions of a release",
    ),
    Grant(
        HTTP_ROUTES,
        ("get", "list", "watch", "create", "patch", "delete"),
        "reads the weights that KServe set; splits traffic itself where KServe does not",
    ),
    Grant(DEPLOYMENTS, ("list", "watch"), "sees whether a revision is ready"),
    Grant(KNATIVE_REVISIONS, ("list",), "the same where KServe runs on Knative"),
    Grant(LEASES, ("create",), "one replica leads", Scope.OWN),
    Grant(LEASES, ("get", "patch"), "takes, renews and gives back its own Lease", Scope.OWN, is_of_lease=True),
    Grant(CRDS, ("list", "watch"), "begins when a kind comes to be served, and stops when it goes", Scope.CLUSTER),
)
"""All rights there are; Secrets are not among them."""

VIEWERS: Final = (
    {
        "apiGroups": [FINE_TUNE_JOBS.group],
        "resources": [FINE_TUNE_JOBS.plural, MODEL_RELEASES.plural],
        "verbs": ["get", "list", "watch"],
    },
)
"""Rights that the roles `view`, `edit` and `admin` of a cluster get over Graft's objects."""
EDITORS: Final = (
    {
        "apiGroups": [FINE_TUNE_JOBS.group],
        "resources": [FINE_TUNE_JOBS.plural, MODEL_RELEASES.plural],
        "verbs": ["create", "update", "patch", "delete", "deletecollection"],
    },
)
"""Rights that `edit` and `admin` get beside them."""


def render_rules(scopes: Iterable[Scope], lease: str = "") -> list[dict[str, Any]]:
    """Render the rules of a role.

    Args:
        scopes: Which grants it holds.
        lease: Name of the operator's Lease.

    Returns:
        As in a Role or ClusterRole.
    """
    wanted = frozenset(scopes)
    return [
        {
            "apiGroups": [grant.resource.group],
            "resources": [grant.name],
            **({"resourceNames": [lease]} if grant.is_of_lease else {}),
            "verbs": list(grant.verbs),
        }
        for grant in GRANTS
        if grant.scope in wanted
    ]
