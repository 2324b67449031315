"""Changes of one kind on an API server, for as long as somebody asks: bookmarks, watches that the server ends, versions that are too old."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from graft_core.errors import Forbidden, Unavailable
from graft_operator.cli.kube.client import KubeClient, Request
from graft_operator.cli.kube.refusals import Busy, refusal_of
from graft_operator.cli.session import Change, Listing
from graft_operator.local.faults import Expired
from graft_operator.local.fields import Json, child, name_of, namespace_of, number, text

__all__ = ["follow_changes"]

WATCH_S: Final = 300
"""How long the server is asked to keep one watch open."""
SILENCE_S: Final = 330.0
"""A watch that says nothing for so long, not even its end, has lost its connection."""
PATIENCE: Final = 5
"""Times in a row that an unreachable server is asked again."""
FIRST_PAUSE_S: Final = 0.5
"""Before the first of them; each next one twice as long."""

_WATCHING: Final = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S)}

Relist = Callable[[], Listing]


def follow_changes(
    client: KubeClient, request: Request, since: Listing, relist: Relist, stop: threading.Event
) -> Iterator[Change]:
    """Yield what changes after a listing.

    Args:
        client: Where to.
        request: That of the listing.
        since: The listing.
        relist: Lists anew, where the server has forgotten what changed in between.
        stop: Set when nobody listens any more.

    Yields:
        Changes; after a new listing those that lead from the last known state to it.

    Raises:
        Unavailable: The server is out of reach and stays so.
        Forbidden: It refuses.
    """
    known = {_key(one): one for one in since.items}
    version, failures = since.resource_version, 0
    while not stop.is_set():
        try:
            if not version:
                fresh = relist()
                yield from _differences(known, fresh.items)
                known, version = {_key(one): one for one in fresh.items}, fresh.resource_version
            query = {**request.query, **_WATCHING, "resourceVersion": version}
            for event in client.lines(replace(request, query=query), SILENCE_S):
                failures = 0
                body = _object_of(event, client.where)
                version = text(body, "metadata", "resourceVersion", default=version)
                if text(event, "type") != "BOOKMARK":
                    _note(known, text(event, "type"), body)
                    yield Change(text(event, "type"), body)
            stop.wait(FIRST_PAUSE_S)  # so that a server which ends every watch at once is not asked without end
        except Expired:
            version = ""
        except Forbidden:
            raise
        except Busy:
            stop.wait(FIRST_PAUSE_S)  # it is there, and asks for patience
        except Unavailable:
            failures += 1
            if failures > PATIENCE:
                raise
            stop.wait(FIRST_PAUSE_S * 2 ** (failures - 1))


def _note(known: dict[tuple[str, str], Json], what: str, body: Json) -> None:
    known.pop(_key(body), None)
    if what != "DELETED":
        known[_key(body)] = body


def _object_of(event: Json, where: str) -> Json:
    body = child(event, "object")
    if text(event, "type") == "ERROR":
        raise refusal_of(number(body, "code") or 500, json.dumps(body).encode(), where)
    return body


def _differences(known: Mapping[tuple[str, str], Json], items: Iterable[Json]) -> Iterator[Change]:
    """Yield the changes that lead from what was known to what is there now."""
    there = {_key(one): one for one in items}
    for key, body in known.items():
        if key not in there or text(there[key], "metadata", "uid") != text(body, "metadata", "uid"):
            yield Change("DELETED", body)
    for key, body in there.items():
        old = known.get(key)
        if old is None or text(old, "metadata", "uid") != text(body, "metadata", "uid"):
            yield Change("ADDED", body)
        elif text(old, "metadata", "resourceVersion") != text(body, "metadata", "resourceVersion"):
            yield Change("MODIFIED", body)


def _key(body: Json) -> tuple[str, str]:
    return namespace_of(body), name_of(body)
