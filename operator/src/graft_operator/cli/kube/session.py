"""The verbs of the commands on a Kubernetes API server."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Final

from graft_operator.cli.kube.apply import FIELD_MANAGER, apply_all
from graft_operator.cli.kube.client import KubeClient, Request
from graft_operator.cli.kube.logs import read_log
from graft_operator.cli.kube.paths import collection_path, object_path, resource_of
from graft_operator.cli.kube.watch import follow_changes
from graft_operator.cli.session import Change, Listing, LogQuery
from graft_operator.local.fields import Json, child, children, text
from graft_operator.local.resources import Kind, Target
from graft_operator.ports import EVENTS

__all__ = ["ClusterSession"]

PAGE: Final = 500
"""Objects asked for at a time."""


@dataclass(frozen=True)
class ClusterSession:
    """`graft_operator.cli.session.Session` over HTTP."""

    client: KubeClient
    namespace: str = "default"
    is_namespace_given: bool = False
    server: str = "Kubernetes"

    def list_objects(self, kind: Kind, *, all_namespaces: bool = False, name: str = "") -> Listing:
        """Return the objects of a kind, or the one of that name, page by page."""
        resource = resource_of(kind)
        path = collection_path(resource, "" if all_namespaces else self.namespace)
        items: list[Json] = []
        query = {"limit": str(PAGE), **_selecting(name)}
        while True:
            page = self.client.call(Request("GET", path, query))
            items += [
                _shown({"apiVersion": resource.api_version, "kind": kind.kind, **one})
                for one in children(page, "items")
            ]
            if not (follows := text(page, "metadata", "continue")):
                return Listing(items, text(page, "metadata", "resourceVersion"))
            query = {**query, "continue": follows}

    def get(self, target: Target) -> Json:
        """Return one object; NotFound where there is none."""
        return _shown(self.client.call(Request("GET", self._path(target))))

    def change_spec(self, target: Target, found: Json, fields: Mapping[str, object]) -> None:
        """Set fields of the spec of an object as it was found; Conflict where it has changed since."""
        body: Json = {"metadata": {"resourceVersion": text(found, "metadata", "resourceVersion")}, "spec": dict(fields)}
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        self.client.call(Request("PATCH", self._path(target), query, body, "application/merge-patch+json"))

    def delete(self, target: Target) -> None:
        """Ask for the end of one object and, behind it, of what it owns; NotFound where there is none."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        self.client.call(Request("DELETE", self._path(target), body=options))

    def watch(
        self, kind: Kind, since: Listing, stop: Event, *, all_namespaces: bool = False, name: str = ""
    ) -> Iterator[Change]:
        """Yield what changes after a listing of the same arguments, until nobody listens."""
        path = collection_path(resource_of(kind), "" if all_namespaces else self.namespace)

        def relist() -> Listing:
            return self.list_objects(kind, all_namespaces=all_namespaces, name=name)

        request = Request("GET", path, _selecting(name))
        for change in follow_changes(self.client, request, since, relist, stop):
            yield Change(change.type, _shown(change.object))

    def events(self, target: Target, obj: Json) -> list[Json]:
        """Return the object's events, oldest first; those of an earlier object of its name are left out."""
        about = {"kind": target.kind.kind, "name": target.name, "uid": text(obj, "metadata", "uid")}
        selector = ",".join(f"involvedObject.{field}={value}" for field, value in about.items())
        path = collection_path(EVENTS, target.namespace or self.namespace)
        answer = self.client.call(Request("GET", path, {"fieldSelector": selector, "limit": str(PAGE)}))
        return sorted(map(_dated, children(answer, "items")), key=lambda one: text(one, "lastTimestamp"))

    def log(self, target: Target, query: LogQuery) -> Iterator[bytes]:
        """Yield the log of one of the object's pods as it is written."""
        return read_log(self.client, self.get(target), query)

    def apply(self, documents: Sequence[Json], *, dry_run: bool, force: bool = False) -> list[Json]:
        """Create or change all documents, or none where one is refused."""
        return apply_all(self.client, self.namespace, documents, dry_run=dry_run, force=force)

    def server_version(self) -> str:
        """Return the version of the API server, and where it is."""
        return f"{text(self.client.call(Request('GET', '/version')), 'gitVersion')} at {self.client.where}"

    def in_namespace(self, namespace: str | None) -> "ClusterSession":
        """Return the session for another namespace; None: the same one."""
        return self if namespace in {None, self.namespace} else ClusterSession(self.client, str(namespace), True)

    def _path(self, target: Target) -> str:
        return object_path(resource_of(target.kind), target.namespace or self.namespace, target.name)


def _selecting(name: str) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"} if name else {}


def _shown(obj: Json) -> Json:
    """Leave out who manages which field, as kubectl does."""
    meta = {key: value for key, value in child(obj, "metadata").items() if key != "managedFields"}
    return {**obj, "metadata": meta}


def _dated(event: Json) -> Json:
    """Fill in when it was last seen: events of the newer API leave these fields empty."""
    last = text(event, "series", "lastObservedTime") or text(event, "eventTime")
    made = text(event, "metadata", "creationTimestamp")
    return {
        **event,
        "lastTimestamp": text(event, "lastTimestamp") or last or made,
        "firstTimestamp": text(event, "firstTimestamp") or text(event, "eventTime") or made,
        "count": event.get("count") or child(event, "series").get("count"),
    }
