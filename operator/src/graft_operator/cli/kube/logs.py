"""Which pod and container a log is read from, and reading it."""

import re
import threading
from collections.abc import Iterator
from typing import Final

import click

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, LABEL_REVISION, LABEL_ROLE, LABEL_UID
from graft_core.errors import GraftError
from graft_operator.cli.kube.client import KubeClient, Request
from graft_operator.cli.kube.paths import collection_path, object_path
from graft_operator.cli.session import LogQuery
from graft_operator.local.faults import NotFound
from graft_operator.local.fields import Json, children, name_of, namespace_of, text
from graft_operator.ports import PODS

__all__ = ["PREDICTOR", "read_log"]

PREDICTOR: Final = "kserve-container"
"""The container of a predictor's pod that answers; KServe gives it this name."""
RANK: Final = "batch.kubernetes.io/job-completion-index"
"""Label of the pods of a training on several nodes; the first one tells the most."""

_STARTING: Final = re.compile(r"is waiting to start: (ContainerCreating|PodInitializing)")
POLL_S: Final = 1.0
"""How soon -f sees that a container has started."""


def read_log(client: KubeClient, owner: Json, query: LogQuery) -> Iterator[bytes]:
    """Yield the log of one of an object's pods; NotFound where there is no such pod or container.

    Args:
        client: Where to.
        owner: The job or release.
        query: Which pod and container, and how much.

    Yields:
        Bytes as they are written.

    Raises:
        GraftError: The server refuses, e.g. because the container has not started.
    """
    pods = _find_pods(client, owner, query)
    pod = pods[-1]
    container = _choose_container(pod, query.container)
    if len(pods) > 1:
        click.echo(f"found {len(pods)} pods, using pod/{name_of(pod)}, container {container}", err=True)
    path = object_path(PODS, namespace_of(pod), name_of(pod), "log")
    asked = {"container": container, "follow": "true" if query.follow else None}
    asked |= {"previous": "true" if query.previous else None}
    asked |= {"tailLines": None if query.tail is None else str(query.tail)}
    request = Request("GET", path, {key: value for key, value in asked.items() if value is not None})
    while True:
        try:
            yield from client.pieces(request)
        except GraftError as error:
            if not (query.follow and _STARTING.search(str(error))):
                raise
            threading.Event().wait(POLL_S)
        else:
            return


def _find_pods(client: KubeClient, owner: Json, query: LogQuery) -> list[Json]:
    """Return the pods that were asked for, the one to read last: that which began last, or the first node's of those that began together."""
    labels = {LABEL_UID: text(owner, "metadata", "uid")}
    is_job = text(owner, "kind") == KIND_FINETUNEJOB
    if not is_job:
        labels[LABEL_ROLE] = "predictor"
    if query.role is not None:
        labels[LABEL_ROLE] = query.role
    revision = query.revision or ("" if is_job else _newest_revision(owner))
    if revision:
        labels[LABEL_REVISION] = revision
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    path = collection_path(PODS, namespace_of(owner))
    pods = children(client.call(Request("GET", path, {"labelSelector": selector})), "items")
    if not pods:
        which = query.role or revision
        of = f"{text(owner, 'kind').lower()}/{name_of(owner)}"
        raise NotFound(
            f"no pod of {of}{f' ({which})' if which else ''} is there, so there is no log;"
            f" `graft describe {of}` says what it waits for"
        )
    return sorted(pods, key=_age)


def _newest_revision(release: Json) -> str:
    return text(release, "status", "candidate", "revision") or text(release, "status", "stable", "revision")


def _age(pod: Json) -> tuple[bool, str, int, str]:
    rank = text(pod, "metadata", "labels", RANK)
    is_first = -int(rank) if rank.isdecimal() else 0
    is_staying = not text(pod, "metadata", "deletionTimestamp")
    return is_staying, text(pod, "metadata", "creationTimestamp"), is_first, name_of(pod)


def _choose_container(pod: Json, wanted: str | None) -> str:
    names = [text(one, "name") for one in children(pod, "spec", "containers")]
    init = [text(one, "name") for one in children(pod, "spec", "initContainers")]
    if wanted is None:
        return PREDICTOR if PREDICTOR in names else names[0]
    if wanted not in names + init:
        raise NotFound(f"pod {name_of(pod)} has no container {wanted!r}; expected one of {', '.join(names + init)}")
    return wanted
