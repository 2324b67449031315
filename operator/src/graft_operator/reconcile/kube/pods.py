"""Why pods are not ready, in words: waiting and terminated containers, and what the scheduler says."""

from collections.abc import Iterator, Sequence
from typing import Final

from graft_core.api.v1alpha1.names import LABEL_REVISION
from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import find_condition, number, part, parts, text

__all__ = ["describe_pods", "pods_of", "running_pods"]

MAX_MESSAGE: Final = 200
"""Characters that are taken over from a container's last words."""
_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


def pods_of(pods: Sequence[Json], revision: str) -> tuple[Json, ...]:
    """Return the pods of one revision that are not being deleted."""
    return tuple(
        pod
        for pod in pods
        if text(pod, "metadata", "labels", LABEL_REVISION) == revision and not pod["metadata"].get("deletionTimestamp")
    )


def running_pods(pods: Sequence[Json], revision: str) -> tuple[Json, ...]:
    """Return the revision's pods that are ready to answer."""
    return tuple(pod for pod in pods_of(pods, revision) if find_condition(pod, "Ready").get("status") == "True")


def describe_pods(pods: Sequence[Json], revision: str) -> str:
    """Say what keeps a revision's pods from being ready; empty where they just start."""
    found = dict.fromkeys(reason for pod in pods_of(pods, revision) for reason in _reasons(pod))
    return "; ".join(found)


def _reasons(pod: Json) -> Iterator[str]:
    scheduled = find_condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        yield f"{text(scheduled, 'reason') or 'Unschedulable'}: {text(scheduled, 'message')[:MAX_MESSAGE]}"
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in parts(pod, "status", kind):
            yield from _container_reasons(container)


def _container_reasons(container: Json) -> Iterator[str]:
    name, waiting = text(container, "name"), text(container, "state", "waiting", "reason")
    ended = part(container, "state", "terminated") or part(container, "lastState", "terminated")
    if waiting not in _STARTING:
        yield f"{name}: {waiting}"
    if number(ended, "exitCode"):
        words = text(ended, "message").strip()[:MAX_MESSAGE]
        how = f"{name} ended with exit code {number(ended, 'exitCode')} ({text(ended, 'reason') or 'Error'})"
        yield f"{how}: {words}" if words else how
