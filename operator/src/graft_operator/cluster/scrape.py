"""Reading the predictors' own /metrics, pod by pod."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from graft_core.api.v1alpha1.names import LABEL_REVISION
from graft_core.clock import Clock, from_rfc3339
from graft_core.errors import GraftError
from graft_core.telemetry.logs import get_log
from graft_operator.ports import Cluster, Json
from graft_operator.reconcile.figures import Counts, parse_figures
from graft_operator.reconcile.kube.parts import number, parts, text
from graft_operator.reconcile.kube.pods import running_pods
from graft_operator.reconcile.kube.scraped import Base, PodFacts, PodReading, begin_window, read_window, take
from graft_operator.reconcile.observed import Window

__all__ = ["Scraper"]

_LOG = get_log(__name__)

PORT: Final = 8080
MOST_AT_ONCE: Final = 16
"""Pods of one release that are asked at the same time."""


class Scraper:
    """Readings and windows of all releases."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._readings: dict[str, dict[str, PodReading]] = {}
        """By release uid and pod uid."""
        self._bases: dict[tuple[str, str], Base] = {}
        """By release uid and revision."""
        self._looked: dict[str, float] = {}
        self._silent: dict[str, set[str]] = {}
        """By release uid the pods that did not answer when they were asked last: it is told once."""

    def age_s(self, uid: str) -> float:
        """Seconds since the release's pods were last asked."""
        return self._clock.monotonic() - self._looked[uid] if uid in self._looked else float("inf")

    async def read(self, uid: str, pods: Sequence[Json], revisions: Sequence[str]) -> None:
        """Ask the running pods of some revisions; one that does not answer keeps its last figures, which grow stale."""
        self._looked[uid] = self._clock.monotonic()
        running = [pod for revision in revisions for pod in running_pods(pods, revision)]
        gate = asyncio.Semaphore(MOST_AT_ONCE)
        found = await asyncio.gather(*(self._ask(uid, pod, gate) for pod in running))
        readings = self._readings.setdefault(uid, {})
        now = self._clock.now()
        for pod, figures in zip(running, found, strict=True):
            if figures is not None:
                facts = _facts(pod)
                readings[facts.uid] = take(readings.get(facts.uid), facts, figures, now)

    def window(self, uid: str, revision: str, since: datetime, pods: Sequence[Json]) -> Window | None:
        """Say how much a revision's figures grew since a moment; None while nothing was read since."""
        readings = self._readings.get(uid, {})
        base = self._bases.get((uid, revision))
        if base is None or base.since != since:
            base = begin_window(revision, since, readings.values())
            if base is None:
                return None
            self._bases[(uid, revision)] = base
        living = frozenset(pod["metadata"]["uid"] for pod in running_pods(pods, revision))
        return read_window(revision, base, readings.values(), living)

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self._readings.pop(uid, None)
        self._looked.pop(uid, None)
        self._silent.pop(uid, None)
        self._bases = {key: base for key, base in self._bases.items() if key[0] != uid}

    def rest(self, uid: str) -> None:
        """Forget the readings of a release that nobody judges now."""
        if uid in self._readings:
            self.forget(uid)

    async def _ask(self, uid: str, pod: Json, gate: asyncio.Semaphore) -> Mapping[str, Counts] | None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        silent = self._silent.setdefault(uid, set())
        try:
            async with gate:
                page = await self._cluster.fetch_pod(namespace, name, PORT, "/metrics")
            figures = parse_figures(page.decode())
        except (GraftError, ValueError) as error:
            if name not in silent:
                silent.add(name)
                _LOG.warning("scrape_failed", namespace=namespace, pod=name, reason=type(error).__name__)
            return None
        silent.discard(name)
        return figures


def _facts(pod: Json) -> PodFacts:
    restarts = sum(number(one, "restartCount") for one in parts(pod, "status", "containerStatuses"))
    started = text(pod, "status", "startTime") or text(pod, "metadata", "creationTimestamp")
    revision = text(pod, "metadata", "labels", LABEL_REVISION)
    return PodFacts(text(pod, "metadata", "uid"), revision, restarts, from_rfc3339(started))
