"""The connection of a command: which state folder, which namespace, and the verbs it may use on the running `graft up`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import NamedTuple
from urllib.parse import quote

import click

from graft_core.api.v1alpha1.names import GROUP, VERSION
from graft_core.errors import Unavailable
from graft_operator.local.client import Client
from graft_operator.local.fields import Json, as_object, child, children, text
from graft_operator.local.resources import Kind, Target

__all__ = ["Change", "Listing", "Session", "connected", "with_state"]


class Listing(NamedTuple):
    """Objects of a kind, and the point in time to watch on from."""

    items: list[Json]
    resource_version: str


class Change(NamedTuple):
    """One change of one object: ADDED, MODIFIED or DELETED."""

    type: str
    object: Json


@dataclass(frozen=True)
class Session:
    """Verbs on objects of one namespace."""

    client: Client
    namespace: str = "default"
    is_namespace_given: bool = False
    """-n was given, so that files may not say another namespace."""

    def list_objects(self, kind: Kind, *, all_namespaces: bool = False) -> Listing:
        """Return the objects of a kind."""
        answer = as_object(self.client.call("GET", self._path(kind, None if all_namespaces else self.namespace)))
        return Listing(children(answer, "items"), text(answer, "metadata", "resourceVersion"))

    def get(self, target: Target) -> Json:
        """Return one object; NotFound where there is none."""
        return as_object(self.client.call("GET", self._object_path(target)))

    def update(self, target: Target, body: Json) -> None:
        """Replace one object; its resourceVersion guards against a change in between."""
        self.client.call("PUT", self._object_path(target), body=body)

    def delete(self, target: Target) -> None:
        """Ask for the end of one object; NotFound where there is none."""
        self.client.call("DELETE", self._object_path(target))

    def watch(self, kind: Kind, resource_version: str, *, all_namespaces: bool = False) -> Iterator[Change]:
        """Yield what changes from after a resourceVersion until the server ends."""
        query = {"watch": "true", "resourceVersion": resource_version}
        path = self._path(kind, None if all_namespaces else self.namespace)
        for line in self.client.stream_json(path, query=query):
            yield Change(text(line, "type"), child(line, "object"))

    def events(self, target: Target) -> list[Json]:
        """Return the object's events, oldest first."""
        path = f"/api/v1/namespaces/{_quoted(target.namespace or self.namespace)}/events"
        answer = self.client.call("GET", path, query={"involved": f"{target.kind.kind}/{target.name}"})
        return children(as_object(answer), "items")

    def log(self, target: Target, query: dict[str, str]) -> Iterator[bytes]:
        """Yield the log of the object's child as it is written."""
        yield from self.client.stream_bytes(f"{self._object_path(target)}/log", query=query)

    def apply(self, documents: Sequence[Json], *, dry_run: bool) -> list[Json]:
        """Create or change all documents, or none where one is refused."""
        body = {"namespace": self.namespace, "items": list(documents)}
        answer = self.client.call("POST", "/apply", body=body, query={"dryRun": "true"} if dry_run else {})
        return children(as_object(answer), "items")

    def server_version(self) -> str:
        """Return the version of the running `graft up`."""
        return text(as_object(self.client.call("GET", "/version")), "version")

    def in_namespace(self, namespace: str | None) -> "Session":
        """Return the session for another namespace; None: the same one."""
        return self if namespace in {None, self.namespace} else Session(self.client, str(namespace), True)

    def lost(self) -> Unavailable:
        """Return the error to raise where the server ended in the middle of a stream."""
        return Unavailable("graft up ended; start it again with `graft up`, and then this command")

    def _path(self, kind: Kind, namespace: str | None) -> str:
        scope = "" if namespace is None else f"/namespaces/{_quoted(namespace)}"
        return f"/apis/{GROUP}/{VERSION}{scope}/{kind.plural}"

    def _object_path(self, target: Target) -> str:
        return f"{self._path(target.kind, target.namespace or self.namespace)}/{_quoted(target.name)}"


def with_state(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--state`."""
    return click.option(
        "--state",
        envvar="GRAFT_STATE",
        default=".graft",
        show_default=True,
        metavar="DIR",
        type=click.Path(file_okay=False),
        help="State folder of `graft up` (or GRAFT_STATE).",
    )(command)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--state` and `-n`, and hand it a `Session` as its first argument."""

    @with_state
    @click.option(
        "-n",
        "--namespace",
        default=None,
        metavar="NAME",
        help="Namespace of the objects.  [default: default]",
    )
    def run(state: str, namespace: str | None, **options: object) -> None:
        command(Session(Client(state), namespace or "default", namespace is not None), **options)

    return update_wrapper(run, command)


def _quoted(name: str) -> str:
    return quote(name, safe="")
