"""The verbs of the commands on a running `graft up`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from urllib.parse import quote

from graft_core.api.v1alpha1.names import API_VERSION
from graft_core.errors import NotSupported, Unavailable
from graft_operator.cli.session import Change, Listing, LogQuery
from graft_operator.local.client import Client
from graft_operator.local.fields import Json, as_object, child, children, name_of, text
from graft_operator.local.resources import Kind, Target

__all__ = ["LocalSession"]


@dataclass(frozen=True)
class LocalSession:
    """`graft_operator.cli.session.Session` over the socket of a state folder."""

    client: Client
    namespace: str = "default"
    is_namespace_given: bool = False
    server: str = "graft up"

    def list_objects(self, kind: Kind, *, all_namespaces: bool = False, name: str = "") -> Listing:
        """Return the objects of a kind, or the one of that name."""
        answer = as_object(self.client.call("GET", self._path(kind, None if all_namespaces else self.namespace)))
        items = [one for one in children(answer, "items") if name in {"", name_of(one)}]
        return Listing(items, text(answer, "metadata", "resourceVersion"))

    def get(self, target: Target) -> Json:
        """Return one object; NotFound where there is none."""
        return as_object(self.client.call("GET", self._object_path(target)))

    def change_spec(self, target: Target, found: Json, fields: Mapping[str, object]) -> None:
        """Set fields of the spec of an object as it was found; Conflict where it has changed since."""
        body = {**found, "spec": {**child(found, "spec"), **fields}}
        self.client.call("PUT", self._object_path(target), body=body)

    def delete(self, target: Target) -> None:
        """Ask for the end of one object; NotFound where there is none."""
        self.client.call("DELETE", self._object_path(target))

    def watch(
        self, kind: Kind, since: Listing, stop: Event, *, all_namespaces: bool = False, name: str = ""
    ) -> Iterator[Change]:
        """Yield what changes after a listing; Unavailable where `graft up` ends."""
        del stop  # a stream that has ended is not asked for again
        query = {"watch": "true", "resourceVersion": since.resource_version}
        path = self._path(kind, None if all_namespaces else self.namespace)
        for line in self.client.stream_json(path, query=query):
            change = Change(text(line, "type"), child(line, "object"))
            if name in {"", name_of(change.object)}:
                yield change
        raise Unavailable("graft up ended; start it again with `graft up`, and then this command")

    def events(self, target: Target, obj: Json) -> list[Json]:
        """Return the object's events, oldest first."""
        del obj  # the store knows of whom its events tell
        path = f"/api/v1/namespaces/{_quoted(target.namespace or self.namespace)}/events"
        answer = self.client.call("GET", path, query={"involved": f"{target.kind.kind}/{target.name}"})
        return children(as_object(answer), "items")

    def log(self, target: Target, query: LogQuery) -> Iterator[bytes]:
        """Yield the log of the object's child as it is written; what only pods have is refused."""
        pods_only = {"--container": query.container, "--tail": query.tail, "--previous": query.previous or None}
        for option, value in pods_only.items():
            if value is not None:
                raise NotSupported(
                    f"{option} {value!r} is for the pods of a cluster; a child of `graft up` has one log, which is shown whole"
                )
        options = {"role": query.role, "revision": query.revision, "follow": "true" if query.follow else None}
        asked = {key: value for key, value in options.items() if value is not None}
        yield from self.client.stream_bytes(f"{self._object_path(target)}/log", query=asked)

    def apply(self, documents: Sequence[Json], *, dry_run: bool, force: bool = False) -> list[Json]:
        """Create or change all documents, or none where one is refused."""
        if force:
            raise NotSupported(
                "--force-conflicts is for a cluster; `graft up` knows no field managers, so nothing can conflict"
            )
        body = {"namespace": self.namespace, "items": list(documents)}
        answer = self.client.call("POST", "/apply", body=body, query={"dryRun": "true"} if dry_run else {})
        return children(as_object(answer), "items")

    def server_version(self) -> str:
        """Return the version of the running `graft up`."""
        return text(as_object(self.client.call("GET", "/version")), "version")

    def in_namespace(self, namespace: str | None) -> "LocalSession":
        """Return the session for another namespace; None: the same one."""
        return self if namespace in {None, self.namespace} else LocalSession(self.client, str(namespace), True)

    def _path(self, kind: Kind, namespace: str | None) -> str:
        scope = "" if namespace is None else f"/namespaces/{_quoted(namespace)}"
        return f"/apis/{API_VERSION}{scope}/{kind.plural}"

    def _object_path(self, target: Target) -> str:
        return f"{self._path(target.kind, target.namespace or self.namespace)}/{_quoted(target.name)}"


def _quoted(name: str) -> str:
    return quote(name, safe="")
