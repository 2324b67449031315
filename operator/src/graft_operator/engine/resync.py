"""What watches may have missed: every object is listed now and then, page by page; so are children whose owner is gone.

The list is held against what the watches told. A watch that has not told of a version that was listed, minutes later, is stale: that is
what liveness asks.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from graft_core.api.v1alpha1.names import GROUP, LABEL_UID
from graft_core.errors import Conflict, GraftError
from graft_core.telemetry.logs import get_log
from graft_operator.engine.cycle import RESOURCES
from graft_operator.engine.directory import Directory, Key, key_of
from graft_operator.engine.pump import RESYNC_S, Pump
from graft_operator.ports import (
    CONFIG_MAPS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    JOBS,
    TRAIN_JOBS,
    Cluster,
    Json,
    Resource,
)
from graft_operator.reconcile.kube.parts import parts, text

__all__ = ["SWEPT", "Resync"]

_LOG = get_log(__name__)

SWEPT: Final = (JOBS, TRAIN_JOBS, CONFIG_MAPS, INFERENCE_SERVICES, HTTP_ROUTES)
"""What Graft makes for its objects. Each is owned by one, so a cluster's garbage collector takes it too."""

WATCH_PATIENCE_S: Final = 90.0
"""A watch that was silent for 70 s is opened anew; what was listed must have been told of by then."""


class Resync:
    """Lists, compares, sweeps."""

    def __init__(
        self,
        cluster: Cluster,
        directory: Directory,
        pump: Pump,
        *,
        namespaces: Sequence[str],
        is_leading: Callable[[], bool],
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare.

        Args:
            cluster: Where to list.
            directory: What the watches told.
            pump: Takes what was missed.
            namespaces: Those served; one `""` is all of them.
            is_leading: Only the leader sweeps and has passes.
            wait: Waits so many seconds.
        """
        self._cluster = cluster
        self._directory = directory
        self._pump = pump
        self._namespaces = namespaces
        self._is_leading = is_leading
        self._wait = wait
        self.is_watch_fresh = True
        """Whether the watches told of everything that a list knew."""

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._wait(RESYNC_S * random.uniform(0.9, 1.1))
            try:
                await self.look()
            except GraftError as error:
                _LOG.warning("resync_failed", reason=error.reason)

    async def look(self) -> None:
        """List everything once, have passes, and see whether the watches come to tell what the list knew."""
        known = {key: (line.uid, line.version) for key, line in self._directory.items()}
        listed = await self._list()
        # What a watch had not told as the list was made; "" where it is gone.
        untold = {key: line for key, line in listed.items() if known.get(key) != line}
        if listed:  # nothing at all is rather a CRD that went than that everything was deleted at a time
            untold |= dict.fromkeys(known.keys() - listed.keys(), ("", ""))
        if self._is_leading():
            await self._sweep({uid for uid, _ in listed.values()})
            for key in listed:
                self._pump.look_again(key)
        if untold:
            await self._wait(WATCH_PATIENCE_S)
        missed = [key for key in untold if self._line(key) == known.get(key, ("", ""))]
        if missed and self.is_watch_fresh:
            _LOG.warning("watch_stale", missed=len(missed), object=str(missed[0]))
        self.is_watch_fresh = not missed
        for key in missed:
            await self._take(key, known.get(key, ("", ""))[0])

    async def _list(self) -> dict[Key, tuple[str, str]]:
        """Return uid and resourceVersion of every object."""
        found: dict[Key, tuple[str, str]] = {}
        for resource in RESOURCES.values():
            for namespace in self._namespaces:
                async for page in self._cluster.walk(resource, namespace, {}):
                    for body in page:
                        meta = body["metadata"]
                        found[key_of(body)] = (str(meta["uid"]), str(meta["resourceVersion"]))
        return found

    def _line(self, key: Key) -> tuple[str, str]:
        found = self._directory.find(key)
        return (found.uid, found.version) if found is not None else ("", "")

    async def _take(self, key: Key, uid: str) -> None:
        """Tell of an object in the watches' place."""
        body = await self._cluster.get(RESOURCES[key.kind], key.namespace, key.name)
        if body is not None:
            self._pump.take_object("MODIFIED", body)
        else:
            meta = {"namespace": key.namespace, "name": key.name, "uid": uid}
            self._pump.take_object("DELETED", {"kind": key.kind, "metadata": meta})

    async def _sweep(self, uids: set[str]) -> None:
        for resource in SWEPT:
            for namespace in self._namespaces:
                async for page in self._cluster.walk(resource, namespace, {LABEL_UID: ""}):
                    for child in page:
                        owner = _owner(child)
                        if owner is not None and owner["uid"] not in uids:
                            await self._delete_orphan(resource, child, owner)

    async def _delete_orphan(self, resource: Resource, child: Json, owner: Json) -> None:
        """Delete a child, once its owner was looked for by name and is not there, or is another."""
        meta, own = child["metadata"], RESOURCES.get(str(owner["kind"]))
        if own is None:
            return
        found = await self._cluster.get(own, meta["namespace"], owner["name"])
        if found is not None and found["metadata"]["uid"] == owner["uid"]:
            return
        try:
            await self._cluster.delete(
                resource, meta["namespace"], meta["name"], uid=meta["uid"], resource_version=meta["resourceVersion"]
            )
        except Conflict:
            return  # somebody has it in hand
        _LOG.info("orphan_deleted", kind=resource.kind, object=f"{meta['namespace']}/{meta['name']}")


def _owner(child: Json) -> Json | None:
    """Return the reference to the object of Graft's own that owns a child, where its label says the same."""
    label = text(child, "metadata", "labels", LABEL_UID)
    for owner in parts(child, "metadata", "ownerReferences"):
        if text(owner, "apiVersion").startswith(f"{GROUP}/") and text(owner, "uid") == label:
            return owner
    return None
