"""The verbs of the commands, whatever they speak to: a running `graft up` (`local_session`) or a Kubernetes API server (`kube`)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple, Protocol

from graft_operator.local.fields import Json
from graft_operator.local.resources import Kind, Target

__all__ = ["Change", "Listing", "LogQuery", "Session"]


class Listing(NamedTuple):
    """Objects of a kind, and the point in time to watch on from."""

    items: list[Json]
    resource_version: str


class Change(NamedTuple):
    """One change of one object: ADDED, MODIFIED or DELETED."""

    type: str
    object: Json


@dataclass(frozen=True)
class LogQuery:
    """Which log of an object, and how much of it."""

    role: str | None = None
    """Of a job: check or train; None: the newest."""
    revision: str | None = None
    """Of a release; None: the newest."""
    follow: bool = False
    container: str | None = None
    """Of a pod; None: the one that trains or answers."""
    tail: int | None = None
    """Lines from the end; None: all."""
    previous: bool = False
    """Of the container before its last restart."""


class Session(Protocol):
    """Verbs on objects of one namespace. What is refused is a GraftError; see `graft_operator.local.faults`."""

    @property
    def namespace(self) -> str:
        """Namespace of objects that name none."""
        ...

    @property
    def is_namespace_given(self) -> bool:
        """-n was given, so that files may not say another namespace."""
        ...

    @property
    def server(self) -> str:
        """What answers, in a word or two, e.g. `graft up`."""
        ...

    def list_objects(self, kind: Kind, *, all_namespaces: bool = False, name: str = "") -> Listing:
        """Return the objects of a kind, or the one of that name."""
        ...

    def get(self, target: Target) -> Json:
        """Return one object; NotFound where there is none."""
        ...

    def change_spec(self, target: Target, found: Json, fields: Mapping[str, object]) -> None:
        """Set fields of the spec of an object as it was found; Conflict where it has changed since."""
        ...

    def delete(self, target: Target) -> None:
        """Ask for the end of one object; NotFound where there is none."""
        ...

    def watch(
        self, kind: Kind, since: Listing, stop: Event, *, all_namespaces: bool = False, name: str = ""
    ) -> Iterator[Change]:
        """Yield what changes after a listing of the same arguments, until nobody listens; an error where the server is lost."""
        ...

    def events(self, target: Target, obj: Json) -> list[Json]:
        """Return an object's events, oldest first."""
        ...

    def log(self, target: Target, query: LogQuery) -> Iterator[bytes]:
        """Yield a log as it is written."""
        ...

    def apply(self, documents: Sequence[Json], *, dry_run: bool, force: bool = False) -> list[Json]:
        """Create or change all documents, or none where one is refused.

        That is an Invalid with all faults of all documents; where there are several, each field begins with `Kind/name: `.

        Args:
            documents: As written.
            dry_run: Check only.
            force: Take fields over that others manage.

        Returns:
            Kind, namespace, name and result (created, configured, unchanged) of each.
        """
        ...

    def server_version(self) -> str:
        """Return the version of what answers."""
        ...

    def in_namespace(self, namespace: str | None) -> "Session":
        """Return the session for another namespace; None: the same one."""
        ...
