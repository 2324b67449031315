"""The object store: the Kubernetes verbs that a local shell needs, and no more, over one SQLite file.

    create          409 if the name is taken; uid, creationTimestamp, generation 1 and the finalizer are the store's to set
    update          409 unless resourceVersion is the stored one; a changed spec raises generation; status is not touched
    update_status   the status alone; never raises generation
    delete          with a finalizer left: deletionTimestamp now, gone when the last finalizer is
    apply           a list of documents, all or nothing: created | configured | unchanged
    watch           what changed after a revision, in order; older than the ring: Expired, list again

What a user writes into status, uid, finalizers or ownerReferences is not his to write and is dropped, as an API server does.
"""

import asyncio
import json
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from graft_core.api.v1alpha1.names import FINALIZER, GROUP, PLURALS
from graft_core.clock import Clock, to_rfc3339
from graft_core.errors import Conflict
from graft_operator.local.database import Database
from graft_operator.local.documents import Body, ObjectKey, label_of, strings_of, to_key, user_meta
from graft_operator.local.faults import AlreadyExists, Cause, Expired, Invalid, NotFound, TooLarge

__all__ = ["Admit", "Applied", "ObjectStore", "WatchEvent"]

MAX_OBJECT_BYTES = 1_500_000
"""etcd's limit on a request, so that what is taken here is taken there."""

MAX_ANNOTATION_BYTES = 256 * 1024
"""Kubernetes' limit on all annotations together."""

WATCH_RING = 4096
"""Changes kept for watchers that come back; one further behind lists again."""

Admit = Callable[[Body, Body | None], Body]
"""Checks a new object against its schema, its rules and its older self; returns it with defaults filled in, raises Invalid."""


@dataclass(frozen=True)
class WatchEvent:
    """One change of one object."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    revision: int
    key: ObjectKey
    object: Body


@dataclass(frozen=True)
class Applied:
    """What became of one document."""

    outcome: Literal["created", "configured", "unchanged"]
    object: Body


class ObjectStore:
    """Objects by kind, namespace and name; each body handed out is a copy of the caller's own."""

    def __init__(self, database: Database, clock: Clock, admit: Admit) -> None:
        self._db = database
        self._clock = clock
        self._admit = admit
        self._ring: deque[WatchEvent] = deque(maxlen=WATCH_RING)
        self._ring_start = database.revision()
        self._watchers: set[asyncio.Queue[WatchEvent]] = set()

    def get(self, key: ObjectKey) -> Body:
        """Read one object.

        Raises:
            NotFound: There is none.
        """
        found = self.find(key)
        if found is None:
            raise NotFound(f'{PLURALS[key.kind]}.{GROUP} "{key.name}" not found in namespace {key.namespace!r}')
        return found

    def find(self, key: ObjectKey) -> Body | None:
        """Read one object, or None."""
        rows = self._db.rows(
            "SELECT body FROM objects WHERE kind = ? AND namespace = ? AND name = ?", key.kind, key.namespace, key.name
        )
        return None if not rows else json.loads(rows[0][0])

    def find_all(self, kind: str | None = None, namespace: str | None = None) -> tuple[list[Body], int]:
        """Read all objects of a kind (None: every kind) in a namespace (None: all), and the revision they are of."""
        rows = self._db.rows(
            "SELECT body FROM objects WHERE ? IN ('', kind) AND ? IN ('', namespace) ORDER BY kind, namespace, name",
            kind or "",
            namespace or "",
        )
        return [json.loads(row[0]) for row in rows], self._db.revision()

    def create(self, body: Body, *, dry_run: bool = False) -> Body:
        """Store a new object.

        Args:
            body: As the user wrote it.
            dry_run: Check only.

        Returns:
            What was (or would be) stored.

        Raises:
            AlreadyExists: The name is taken.
        """
        key = to_key(body)
        checked = self._checked(body, None)
        if self.find(key) is not None:
            raise AlreadyExists(f"{key} already exists in namespace {key.namespace!r}")
        meta = user_meta(checked)
        meta |= {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": to_rfc3339(self._clock.now())}
        # The reconciler's own finalizer from the first moment on: no deletion can overtake the first pass.
        meta["finalizers"] = [FINALIZER]
        stored = {**checked, "metadata": meta, "status": {}}
        return stored if dry_run else self._write(key, stored, "ADDED")

    def update(self, body: Body, *, dry_run: bool = False) -> Body:
        """Replace spec, labels and annotations.

        Args:
            body: The whole object, with the resourceVersion that it was read at.
            dry_run: Check only.

        Returns:
            What was (or would be) stored.

        Raises:
            Invalid: The resourceVersion is missing.
            Conflict: The object was changed since.
        """
        key = to_key(body)
        old = self.get(key)
        revision = body["metadata"].get("resourceVersion")
        if not revision:
            raise Invalid(
                str(key), [Cause("metadata.resourceVersion", "must be specified for an update; read the object first")]
            )
        if revision != old["metadata"]["resourceVersion"]:
            raise Conflict(f"{key} was changed since resourceVersion {revision!r}; read it again and redo the change")
        return self._replace(key, old, body, dry_run=dry_run)

    def update_status(self, key: ObjectKey, uid: str, status: Body, revision: str | None = None) -> Body:
        """Replace the status of the object with this uid; generation stays.

        Args:
            key: The object.
            uid: Whom the status is about; an object made anew under the name is not it.
            status: Whole new status.
            revision: resourceVersion it was decided on; None: whatever is stored.

        Returns:
            What was stored.

        Raises:
            Conflict: Another object, or another version.
        """
        old = self._mine(key, uid)
        if revision is not None and revision != old["metadata"]["resourceVersion"]:
            raise Conflict(f"{key} was changed since resourceVersion {revision!r}")
        return self._write(key, {**old, "status": status}, "MODIFIED")

    def remove_finalizer(self, key: ObjectKey, uid: str) -> None:
        """Take the reconciler's finalizer off; an object under deletion is gone with it."""
        old = self._mine(key, uid)
        old["metadata"]["finalizers"] = [f for f in old["metadata"]["finalizers"] if f != FINALIZER]
        if old["metadata"].get("deletionTimestamp") and not old["metadata"]["finalizers"]:
            self._remove(key, old)
        else:
            self._write(key, old, "MODIFIED")

    def add_finalizer(self, key: ObjectKey, uid: str) -> None:
        """Put the reconciler's finalizer on; one that is there already is fine."""
        old = self._mine(key, uid)
        if FINALIZER not in old["metadata"]["finalizers"] and not old["metadata"].get("deletionTimestamp"):
            old["metadata"]["finalizers"].append(FINALIZER)
            self._write(key, old, "MODIFIED")

    def delete(self, key: ObjectKey, *, dry_run: bool = False) -> Body:
        """Ask for an object's end; asking twice is fine.

        Args:
            key: The object.
            dry_run: Check only.

        Returns:
            The object as it is now.
        """
        old = self.get(key)
        if dry_run or old["metadata"].get("deletionTimestamp"):
            return old
        if not old["metadata"].get("finalizers"):
            return self._remove(key, old)
        old["metadata"]["deletionTimestamp"] = to_rfc3339(self._clock.now())
        old["metadata"]["generation"] += 1
        return self._write(key, old, "MODIFIED")

    def apply(self, bodies: Sequence[Body], *, dry_run: bool = False) -> list[Applied]:
        """Create or change all of them, or none.

        Spec is replaced; labels and annotations are merged into what is there. A resourceVersion in a document is honoured.

        Args:
            bodies: Documents as the user wrote them.
            dry_run: Check only.

        Returns:
            What became of each, in order.

        Raises:
            Invalid: Any of them is; all faults of all documents, each named with its kind and name.
        """
        causes: list[Cause] = []
        for body in bodies:
            try:
                self._apply_one(body, dry_run=True)
            except Invalid as error:
                label = label_of(body)
                causes += [
                    Cause(f"{label}: {c.field}" if len(bodies) > 1 else c.field, c.message) for c in error.causes
                ]
        if causes:
            raise Invalid("the request" if len(bodies) > 1 else label_of(bodies[0]), causes)
        if dry_run:
            return [self._apply_one(body, dry_run=True) for body in bodies]
        with self._db.transaction():
            return [self._apply_one(body, dry_run=False) for body in bodies]

    async def watch(
        self, since: int, kind: str | None = None, namespace: str | None = None, name: str | None = None
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield changes after a revision, for ever; close the iterator to stop.

        Args:
            since: Revision of a list or of the last change seen.
            kind: Only this kind.
            namespace: Only this namespace.
            name: Only this name.

        Yields:
            Changes in order.

        Raises:
            Expired: The ring does not go back that far, e.g. because `graft up` was restarted.
        """
        if since < self._ring_start or (len(self._ring) == WATCH_RING and since < self._ring[0].revision - 1):
            raise Expired(f"resourceVersion {since!r} is too old to watch from; list again")
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        for event in self._ring:
            if event.revision > since:
                queue.put_nowait(event)
        self._watchers.add(queue)
        try:
            while True:
                event = await queue.get()
                if (kind, namespace, name) == (
                    kind and event.key.kind,
                    namespace and event.key.namespace,
                    name and event.key.name,
                ):
                    yield event
        finally:
            self._watchers.discard(queue)

    async def changed(self, key: ObjectKey, since: int) -> WatchEvent:
        """Wait for the next change of one object."""
        async with aclosing(self.watch(since, key.kind, key.namespace, key.name)) as events:
            async for event in events:
                return event
        raise AssertionError("a watch has no end")

    def _apply_one(self, body: Body, *, dry_run: bool) -> Applied:
        key = to_key(body)
        old = self.find(key)
        if old is None:
            return Applied("created", self.create(body, dry_run=dry_run))
        meta = dict(body.get("metadata") or {})
        revision = meta.get("resourceVersion", old["metadata"]["resourceVersion"])
        for field in ("labels", "annotations"):
            meta[field] = {**old["metadata"].get(field, {}), **strings_of(meta.get(field), f"metadata.{field}", key)}
        new = self.update({**body, "metadata": {**meta, "resourceVersion": revision}}, dry_run=dry_run)
        is_same = new["spec"] == old["spec"] and user_meta(new) == user_meta(old)
        return Applied("unchanged" if is_same else "configured", new)

    def _replace(self, key: ObjectKey, old: Body, body: Body, *, dry_run: bool) -> Body:
        checked = self._checked(body, old)
        meta = {**old["metadata"], **user_meta(checked)}
        for field in ("labels", "annotations"):
            if field not in checked["metadata"]:
                meta.pop(field, None)
        new = {**old, "spec": checked["spec"], "metadata": meta}
        if new == old:
            return old
        if new["spec"] != old["spec"]:
            if old["metadata"].get("deletionTimestamp"):
                raise Conflict(f"{key} is being deleted; its spec can't change any more")
            meta["generation"] += 1
        return new if dry_run else self._write(key, new, "MODIFIED")

    def _checked(self, body: Body, old: Body | None) -> Body:
        size = len(json.dumps(body, ensure_ascii=False).encode(errors="replace"))
        if size > MAX_OBJECT_BYTES:
            raise TooLarge(f"{label_of(body)} has {size} bytes; expected at most {MAX_OBJECT_BYTES}")
        key = to_key(body)
        for field in ("labels", "annotations"):
            held = strings_of(body["metadata"].get(field), f"metadata.{field}", key)
            if sum(len(k.encode()) + len(v.encode()) for k, v in held.items()) > MAX_ANNOTATION_BYTES:
                raise Invalid(
                    str(key), [Cause(f"metadata.{field}", f"too long: must have at most {MAX_ANNOTATION_BYTES} bytes")]
                )
        return self._admit({k: v for k, v in body.items() if k != "status"}, old)

    def _mine(self, key: ObjectKey, uid: str) -> Body:
        found = self.get(key)
        if found["metadata"]["uid"] != uid:
            raise Conflict(
                f"{key} has uid {found['metadata']['uid']!r}, expected {uid!r}: it was deleted and made anew"
            )
        return found

    def _write(self, key: ObjectKey, body: Body, kind: Literal["ADDED", "MODIFIED"]) -> Body:
        with self._db.transaction() as sql:
            revision = self._db.next_revision()
            stored = {**body, "metadata": {**body["metadata"], "resourceVersion": str(revision)}}
            sql.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
                (
                    key.kind,
                    key.namespace,
                    key.name,
                    stored["metadata"]["uid"],
                    revision,
                    json.dumps(stored, ensure_ascii=False),
                ),
            )
            self._db.after_commit(lambda: self._tell(WatchEvent(kind, revision, key, stored)))
        return stored

    def _remove(self, key: ObjectKey, body: Body) -> Body:
        with self._db.transaction() as sql:
            revision = self._db.next_revision()
            sql.execute("DELETE FROM objects WHERE uid = ?", (body["metadata"]["uid"],))
            gone = {**body, "metadata": {**body["metadata"], "resourceVersion": str(revision)}}
            self._db.after_commit(lambda: self._tell(WatchEvent("DELETED", revision, key, gone)))
        return gone

    def _tell(self, event: WatchEvent) -> None:
        self._ring.append(event)
        for queue in self._watchers:
            queue.put_nowait(event)
