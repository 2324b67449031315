"""Where a verdict's figures come from, by `spec.rollout.analysis.source`: the predictors' own pages, or Prometheus."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.errors import Unavailable
from graft_core.telemetry.logs import get_log
from graft_operator.cluster.prometheus import Prometheus
from graft_operator.cluster.scrape import Scraper
from graft_operator.reconcile.figures import wanted_since
from graft_operator.reconcile.kube.promql import queries, to_prometheus_window
from graft_operator.reconcile.kube.view import KubeView
from graft_operator.reconcile.observed import Window

__all__ = ["Figures"]

_LOG = get_log(__name__)

SCRAPE_S: Final = 2.0
"""Figures younger than that are not read again."""


class Figures:
    """Reads windows of releases."""

    def __init__(self, scraper: Scraper, prometheus: Prometheus) -> None:
        self._scraper = scraper
        self._prometheus = prometheus

    def is_due(self, release: ModelRelease, now: datetime) -> bool:
        """Say whether a pass needs the release's pods for its figures."""
        return wanted_since(release, now) is not None and _prometheus_url(release) is None

    async def windows(self, view: KubeView, revisions: Sequence[str], now: datetime) -> dict[str, Window]:
        """Read the windows of the arms; none where nothing is judged."""
        release, uid = view.release, view.release.metadata.uid
        since = wanted_since(release, now)
        if since is None:
            self._scraper.rest(uid)
            return {}
        url = _prometheus_url(release)
        if url is not None:
            found = {revision: await self._ask(view, url, revision, since, now) for revision in revisions}
        else:
            if self._scraper.age_s(uid) >= SCRAPE_S:
                await self._scraper.read(uid, view.pods, revisions)
            found = {r: self._scraper.window(uid, r, since, view.pods) for r in revisions}
        return {revision: window for revision, window in found.items() if window is not None}

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self._scraper.forget(uid)

    async def _ask(self, view: KubeView, url: str, revision: str, since: datetime, now: datetime) -> Window | None:
        meta = view.release.metadata
        try:
            answers = {
                name: await self._prometheus.ask(url, query, now)
                for name, query in queries(meta.namespace, revision, since, now).items()
            }
            return to_prometheus_window(revision, since, answers)
        except Unavailable as error:
            _LOG.warning(
                "no_figures", namespace=meta.namespace, release=meta.name, revision=revision, reason=str(error)
            )
            return None


def _prometheus_url(release: ModelRelease) -> str | None:
    source = release.spec.rollout.analysis.source
    return source.prometheus.url if source is not None and source.prometheus is not None else None
