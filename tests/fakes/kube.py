"""A double of a Kubernetes API server, in memory, behind `graft_operator.ports.Cluster`.

It keeps what Graft's shells rest on: uids, resourceVersions that move on a change and on nothing else, generations, the status
subresource, finalizers and deletion, preconditions, garbage collection of what is owned, server-side apply as one manager (fields it no longer
applies go), paging's result, and events to whoever listens. It validates names and labels, no schemas. `tests/operator/cluster/test_contract.py`
runs the same cases against this double and, where its binaries are there, a real API server.

    kube = FakeKube()
    kube.add(JOBS, {...})                       # as somebody else: a user, a controller
    kube.set_status(JOBS, "ml", "x", {...})     # as a controller
    kube.fail("apply", Conflict("..."), JOBS)   # the next such call fails, and changes nothing
    kube.writes                                 # what was written through the Cluster protocol, in order
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from graft_core.errors import Conflict, InvalidInput, NotReady
from graft_operator.ports import Json, Objects, Resource
from tests.fakes.merging import Path, apply_over, copied, find_leaves, merge_patch, remove_path

__all__ = ["Change", "FakeKube", "Write"]

Key = tuple[str, str, str, str]
"""Group version, plural, namespace, name."""

_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_SERVER_OWNED = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields")


ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True)
class Change:
    """What a watch tells."""

    type: ChangeType
    resource: Resource
    object: Json


@dataclass(frozen=True)
class Write:
    """A write that went through the Cluster protocol."""

    verb: Literal["create", "apply", "patch", "delete"]
    resource: Resource
    namespace: str
    name: str
    body: Json = field(default_factory=dict[str, object])
    subresource: str = ""


class FakeKube:
    """An API server's memory, and the protocol in front of it."""

    def __init__(self, *, now: str = "2026-01-31T09:00:00Z", collects: bool = True) -> None:
        self.now = now
        """What `creationTimestamp` and `deletionTimestamp` are set to."""
        self.collects = collects
        """Whether what is owned goes with its owner, as with a controller-manager."""
        self.unserved: set[Resource] = set()
        """Resources whose CRD is not there."""
        self.writes: list[Write] = []
        self.reads: list[tuple[str, Resource, str, str]] = []
        """Verb, resource, namespace, name (empty for a list)."""
        self.pods: dict[tuple[str, str, int, str], bytes | Exception] = {}
        """What `fetch_pod` answers, by namespace, name, port and path."""
        self._objects: dict[Key, Json] = {}
        self._owned: dict[Key, set[Path]] = {}
        """Leaves that Graft applied."""
        self._listeners: list[Callable[[Change], None]] = []
        self._faults: list[tuple[str, Resource | None, Exception, bool]] = []
        self._version = 0
        self._uids = 0

    # ------------------------------------------------------------ the protocol

    async def serves(self, resource: Resource) -> bool:
        """Say whether the resource is served."""
        return resource not in self.unserved

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Read one object."""
        self.reads.append(("get", resource, namespace, name))
        self._meet("get", resource)
        found = self._objects.get(_key(resource, namespace, name))
        return None if found is None or resource in self.unserved else copied(found)

    async def list(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> Objects:
        """Read all objects that carry the labels."""
        self.reads.append(("list", resource, namespace, ""))
        self._meet("list", resource)
        return [] if resource in self.unserved else self.all(resource, namespace, labels)

    async def walk(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> AsyncIterator[Objects]:
        """Read the metadata alone of all objects that carry the labels."""
        found = await self.list(resource, namespace, labels)
        yield [{name: body[name] for name in ("apiVersion", "kind", "metadata")} for body in found]

    async def create(self, resource: Resource, body: Json) -> Json:
        """Create an object."""
        name = _name_of(body, self._uids + 1)
        body = _merged(body, {"metadata": {"name": name}})
        self.writes.append(Write("create", resource, _namespace(body), name, copied(body)))
        return self._meet_around("create", resource, lambda: self._create(resource, body))

    async def apply(self, resource: Resource, body: Json) -> Json:
        """Apply an object server-side."""
        meta = body["metadata"]
        self.writes.append(Write("apply", resource, _namespace(body), meta["name"], copied(body)))
        return self._meet_around("apply", resource, lambda: self._apply(resource, body))

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        resource_version: str | None = None,
        subresource: str = "",
    ) -> Json:
        """Patch an object."""
        self.writes.append(Write("patch", resource, namespace, name, copied(patch), subresource))

        def do() -> Json:
            return self._patch(resource, namespace, name, patch, resource_version, subresource)

        return self._meet_around("patch", resource, do)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        grace_s: int | None = None,
    ) -> None:
        """Delete an object."""
        self.writes.append(Write("delete", resource, namespace, name, {"uid": uid, "gracePeriodSeconds": grace_s}))

        def do() -> Json:
            found = self._objects.get(_key(resource, namespace, name))
            if found is None:
                return {}
            if found["metadata"]["uid"] != uid:
                raise Conflict(f"{resource.kind} {namespace}/{name} has uid {found['metadata']['uid']!r}, not {uid!r}")
            _check_version(found, resource_version)
            self._delete(resource, namespace, name)
            return {}

        self._meet_around("delete", resource, do)

    async def fetch_pod(self, namespace: str, name: str, port: int, path: str) -> bytes:
        """GET from a pod."""
        found = self.pods.get((namespace, name, port, path), NotReady(f"pod {namespace}/{name} does not answer"))
        if isinstance(found, Exception):
            raise found
        return found

    # ------------------------------------------------------------ the others: users, controllers, the test

    def add(self, resource: Resource, body: Json) -> Json:
        """Create an object as somebody else, its status included."""
        status = body.get("status")
        made = self._create(resource, {**body, "apiVersion": resource.api_version, "kind": resource.kind})
        meta = made["metadata"]
        return made if status is None else self.set_status(resource, meta["namespace"], meta["name"], status)

    def edit(self, resource: Resource, namespace: str, name: str, patch: Json) -> Json:
        """Patch an object as somebody else (not its status)."""
        return self._patch(resource, namespace, name, patch, None, "")

    def set_status(self, resource: Resource, namespace: str, name: str, status: Json) -> Json:
        """Replace an object's status as its controller does."""
        found = self._need(resource, namespace, name)
        return self._store(resource, {**found, "status": copied(status)})

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object as somebody else; it stays, being deleted, while it has finalizers."""
        self._need(resource, namespace, name)
        self._delete(resource, namespace, name)

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Look at an object."""
        found = self.peek(resource, namespace, name)
        return None if found is None else copied(found)

    def all(self, resource: Resource, namespace: str = "", labels: Mapping[str, str] | None = None) -> Objects:
        """Look at all objects of a resource, by name."""
        return [copied(body) for body in self.peek_all(resource, namespace, labels)]

    def peek(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Look at an object as it is kept; for who changes nothing in it. What is written later is another object."""
        return self._objects.get(_key(resource, namespace, name))

    def peek_all(self, resource: Resource, namespace: str = "", labels: Mapping[str, str] | None = None) -> Objects:
        """Look at all objects of a resource as they are kept, by name; for who changes nothing in them."""
        kind, wanted = (resource.api_version, resource.plural), labels or {}
        found = {
            key: body
            for key, body in self._objects.items()
            if key[:2] == kind and namespace in {"", key[2]} and _carries(body["metadata"].get("labels", {}), wanted)
        }
        return [found[key] for key in sorted(found)]

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Have every change told, as it happens."""
        self._listeners.append(listener)

    def fail(self, verb: str, error: Exception, resource: Resource | None = None, *, is_done: bool = False) -> None:
        """Have the next such call fail.

        Args:
            verb: get, list, create, apply, patch or delete.
            error: What it raises.
            resource: Only calls on this resource.
            is_done: The call is carried out all the same, and only its answer is lost.
        """
        self._faults.append((verb, resource, error, is_done))

    # ------------------------------------------------------------ inside

    def _meet(self, verb: str, resource: Resource) -> None:
        self._meet_around(verb, resource, dict[str, object])

    def _meet_around(self, verb: str, resource: Resource, do: Callable[[], Json]) -> Json:
        for index, (wanted, only, error, is_done) in enumerate(self._faults):
            if wanted == verb and only in {None, resource}:
                del self._faults[index]
                if is_done:
                    do()
                raise error
        if resource in self.unserved and verb in {"create", "apply", "patch", "delete"}:
            raise InvalidInput(f"{verb} {resource.plural}: the server could not find the requested resource")
        return copied(do())

    def _create(self, resource: Resource, body: Json) -> Json:
        _check_metadata(body)
        meta = body["metadata"]
        key = _key(resource, _namespace(body), meta["name"])
        if key in self._objects:
            raise Conflict(f"{resource.kind} {key[2]}/{key[3]} already exists")
        self._uids += 1
        kept = {name: value for name, value in meta.items() if name not in _SERVER_OWNED}
        made = {name: copied(value) for name, value in body.items() if name != "status"}
        made["metadata"] = {
            **copied(kept),
            "namespace": key[2],
            "uid": f"00000000-0000-4000-8000-{self._uids:012d}",
            "generation": 1,
            "creationTimestamp": self.now,
        }
        return self._store(resource, made)

    def _apply(self, resource: Resource, body: Json) -> Json:
        _check_metadata(body)
        meta = body["metadata"]
        key = _key(resource, _namespace(body), meta["name"])
        found = self._objects.get(key)
        wanted = {name: copied(value) for name, value in body.items() if name != "status"}
        wanted["metadata"] = {name: value for name, value in wanted["metadata"].items() if name not in _SERVER_OWNED}
        if found is None:
            made = self._create(resource, wanted)
        else:
            _check_version(found, meta.get("resourceVersion"))
            base = copied(found)
            for path in self._owned.get(key, set()) - set(find_leaves(wanted)):
                remove_path(base, path)
            made = self._store(resource, apply_over(base, wanted))
        self._owned[key] = set(find_leaves(wanted))
        return made

    def _patch(
        self, resource: Resource, namespace: str, name: str, patch: Json, version: str | None, subresource: str
    ) -> Json:
        found = self._need(resource, namespace, name)
        _check_version(found, version)
        _check_version(found, patch.get("metadata", {}).get("resourceVersion"))
        if subresource == "status":
            changed = merge_patch(found, {"status": patch.get("status")})
        else:
            meta = {k: v for k, v in (patch.get("metadata") or {}).items() if k not in _SERVER_OWNED}
            rest = {k: v for k, v in patch.items() if k not in {"status", "metadata"}}
            changed = merge_patch(found, {**rest, **({"metadata": meta} if meta else {})})
        _check_metadata(changed)
        return self._store(resource, changed)

    def _need(self, resource: Resource, namespace: str, name: str) -> Json:
        found = self._objects.get(_key(resource, namespace, name))
        if found is None:
            raise InvalidInput(f"{resource.plural} {namespace}/{name} not found", reason="NotFound")
        return found

    def _delete(self, resource: Resource, namespace: str, name: str) -> None:
        found = self._need(resource, namespace, name)
        if not found["metadata"].get("finalizers"):
            self._drop(resource, found)
        elif "deletionTimestamp" not in found["metadata"]:
            self._store(resource, _merged(found, {"metadata": {"deletionTimestamp": self.now}}))

    def _store(self, resource: Resource, body: Json) -> Json:
        meta = body["metadata"]
        key = _key(resource, meta["namespace"], meta["name"])
        old = self._objects.get(key)
        if old is not None and _stripped(old) == _stripped(body):
            return old
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            self._drop(resource, body)
            return body
        meta = {**meta, "resourceVersion": self._next_version()}
        if old is not None and old.get("spec") != body.get("spec"):
            meta["generation"] = old["metadata"]["generation"] + 1
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body, "metadata": meta}
        self._objects[key] = body
        self._tell("MODIFIED" if old is not None else "ADDED", resource, body)
        return body

    def _drop(self, resource: Resource, body: Json) -> None:
        meta = body["metadata"]
        key = _key(resource, meta["namespace"], meta["name"])
        del self._objects[key]
        self._owned.pop(key, None)
        gone = {**body, "metadata": {**meta, "resourceVersion": self._next_version()}}
        self._tell("DELETED", resource, gone)
        if self.collects:
            self._collect(meta["uid"])

    def _collect(self, uid: str) -> None:
        for (version, plural, namespace, name), body in list(self._objects.items()):
            owners = body["metadata"].get("ownerReferences", [])
            if any(owner["uid"] == uid for owner in owners) and (version, plural, namespace, name) in self._objects:
                self._delete(Resource(version, str(body["kind"]), plural), namespace, name)

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _tell(self, kind: ChangeType, resource: Resource, body: Json) -> None:
        for listener in self._listeners:
            listener(Change(kind, resource, copied(body)))


def _merged(body: Json, patch: Json) -> Json:
    return merge_patch(copied(body), patch)


def _stripped(body: Json) -> Json:
    meta = {k: v for k, v in body["metadata"].items() if k not in {"resourceVersion", "generation"}}
    return {**body, "metadata": meta}


def _key(resource: Resource, namespace: str, name: str) -> Key:
    return resource.api_version, resource.plural, namespace, name


def _namespace(body: Json) -> str:
    return str(body["metadata"].get("namespace") or "default")


def _name_of(body: Json, number: int) -> str:
    meta = body["metadata"]
    return str(meta.get("name") or f"{meta['generateName']}{number:05d}")


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(name in labels and value in {"", labels[name]} for name, value in wanted.items())


def _check_version(found: Json, version: str | None) -> None:
    now = found["metadata"]["resourceVersion"]
    if version and version != now:
        raise Conflict(f"the object has been modified: resourceVersion is {now!r}, not {version!r}")


def _check_metadata(body: Json) -> None:
    meta = body["metadata"]
    if not _NAME.fullmatch(str(meta.get("name", ""))):
        raise InvalidInput(f"metadata.name: invalid value {meta.get('name')!r}", path="metadata.name")
    for name, value in (meta.get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL.fullmatch(value):
            raise InvalidInput(f"metadata.labels: invalid value {value!r} of {name!r}", path="metadata.labels")
