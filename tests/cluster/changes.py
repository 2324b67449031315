"""When a double has to look again: after a change to a kind that it looks at, told by a watch, instead of many times a second.

    with watching(access, DEPLOYMENT, ROUTE) as changes:
        while changes.wait(stop, LOOK_S):
            look()

Doubles are level-triggered, so all they take from a watch is that there was something. What no object tells (a test has changed a double's
mind, a look failed half-way) is met by a look that comes anyhow.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, Thread

import httpx

from tests.cluster.api import Access, Api, ApiError

__all__ = ["Changes", "Kind", "watching"]

ANYHOW_S = 0.5
"""A look comes after that at the latest."""
WATCH_S = 2
"""Length of one watch: so long may its thread outlive the double."""
AGAIN_S = 0.2
"""Until the next watch, where the server refused one or is away."""

Kind = tuple[str, str]
"""apiVersion and kind."""


class Changes:
    """What the watches have seen since the last look."""

    def __init__(self) -> None:
        self.seen = Event()
        self.is_over = Event()

    def wait(self, stop: Event, pause_s: float) -> bool:
        """Wait until it is time to look.

        Args:
            stop: Whether to look at all any more.
            pause_s: Time that lies between two looks at least.

        Returns:
            Whether to look.
        """
        if not stop.wait(pause_s):
            self.seen.wait(ANYHOW_S)
            self.seen.clear()
        return not stop.is_set()

    def follow(self, access: Access, kind: Kind) -> None:
        """Watch a kind in all namespaces until it is over."""
        with Api(access) as api:
            version = ""
            while not self.is_over.is_set():
                try:
                    version = self._watch(api, kind, version)
                except (httpx.HTTPError, ApiError, KeyError, ValueError):
                    version = ""
                    self.is_over.wait(AGAIN_S)

    def _watch(self, api: Api, kind: Kind, version: str) -> str:
        """Watch for a while; returns the version to go on from."""
        path = api.path({"apiVersion": kind[0], "kind": kind[1], "metadata": {}}, with_name=False)
        query: dict[str, str | int] = {"watch": "1", "timeoutSeconds": WATCH_S, "resourceVersion": version}
        with api.http.stream("GET", path, params=query) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                # What is wrong with the watch itself comes as an event too, without a version: KeyError.
                version = json.loads(line)["object"]["metadata"]["resourceVersion"]
                self.seen.set()
        return version


@contextmanager
def watching(access: Access, *kinds: Kind) -> Generator[Changes]:
    """Watch these kinds, each in a thread that ends by itself when the context is left.

    Args:
        access: Of somebody who may watch them.
        kinds: What to watch.

    Yields:
        What tells of changes.
    """
    changes = Changes()
    for kind in kinds:
        Thread(target=changes.follow, args=[access, kind], name=f"watch-{kind[1]}", daemon=True).start()
    try:
        yield changes
    finally:
        changes.is_over.set()
