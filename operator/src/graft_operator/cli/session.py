"""The connection of a command: which state folder, which namespace, and the verbs it may use on the running `graft up`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

import click

from graft_core.api.v1alpha1.names import GROUP, VERSION
from graft_operator.cli.resources import Kind, Target
from graft_operator.local.client import Client

__all__ = ["Session", "connected"]


@dataclass(frozen=True)
class Session:
    """Verbs on objects of one namespace."""

    client: Client
    namespace: str

    def list_objects(self, kind: Kind, *, all_namespaces: bool = False) -> dict[str, Any]:
        """Return the List object with its resourceVersion."""
        return self.client.call("GET", self._path(kind, all_namespaces=all_namespaces))

    def get(self, target: Target) -> dict[str, Any]:
        """Return one object."""
        return self.client.call("GET", f"{self._path(target.kind)}/{target.name}")

    def update(self, target: Target, body: dict[str, Any]) -> dict[str, Any]:
        """Replace one object; its resourceVersion guards against a change in between."""
        return self.client.call("PUT", f"{self._path(target.kind)}/{target.name}", body=body)

    def delete(self, target: Target) -> dict[str, Any]:
        """Ask for the end of one object."""
        return self.client.call("DELETE", f"{self._path(target.kind)}/{target.name}")

    def watch(self, kind: Kind, resource_version: str, *, all_namespaces: bool = False) -> Iterator[dict[str, Any]]:
        """Yield `{"type": ADDED|MODIFIED|DELETED, "object": …}` from after a resourceVersion until the server ends."""
        query = {"watch": "true", "resourceVersion": resource_version}
        yield from self.client.stream_json(self._path(kind, all_namespaces=all_namespaces), query=query)

    def events(self, target: Target) -> list[dict[str, Any]]:
        """Return the object's events, oldest first."""
        involved = f"{target.kind.kind}/{target.name}"
        answer = self.client.call("GET", f"/api/v1/namespaces/{self.namespace}/events", query={"involved": involved})
        items: list[dict[str, Any]] = answer["items"]
        return items

    def log(self, target: Target, query: dict[str, str]) -> Iterator[bytes]:
        """Yield the log of the object's child as it is written."""
        yield from self.client.stream_bytes(f"{self._path(target.kind)}/{target.name}/log", query=query)

    def apply(self, documents: list[dict[str, Any]], *, dry_run: bool) -> list[dict[str, Any]]:
        """Create or change all documents, or none where one is refused."""
        answer = self.client.call(
            "POST",
            "/apply",
            body={"namespace": self.namespace, "items": documents},
            query={"dryRun": "true"} if dry_run else {},
        )
        items: list[dict[str, Any]] = answer["items"]
        return items

    def _path(self, kind: Kind, *, all_namespaces: bool = False) -> str:
        scope = "" if all_namespaces else f"/namespaces/{self.namespace}"
        return f"/apis/{GROUP}/{VERSION}{scope}/{kind.plural}"


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--state` and `-n`, and hand it a `Session` as its first argument."""

    @click.option(
        "--state",
        envvar="GRAFT_STATE",
        default=".graft",
        show_default=True,
        type=click.Path(file_okay=False),
        help="State folder of `graft up`.",
    )
    @click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the objects.")
    def run(state: str, namespace: str, **options: object) -> None:
        command(Session(Client(state), namespace), **options)

    return update_wrapper(run, command)
