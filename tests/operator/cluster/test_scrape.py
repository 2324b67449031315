"""Pods that do not answer keep their figures, and are told of once."""

from typing import Any, cast

import pytest

from graft_core.errors import Unavailable
from graft_operator.cluster import scrape
from graft_operator.ports import Cluster
from tests.fakes.clock import FakeClock
from tests.operator.reconcile.kube.releases import a_pod
from tests.operator.reconcile.views import BLUE


class Pods:
    """Pods behind an API server that answers for them, or not."""

    def __init__(self) -> None:
        self.answers = True

    async def fetch_pod(self, namespace: str, name: str, port: int, path: str) -> bytes:
        """Answer with a page of no figures."""
        if not self.answers:
            raise Unavailable(f"{namespace}/{name}:{port}{path}")
        return b""


async def test_a_pod_that_does_not_answer_is_told_of_once_until_it_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr(scrape._LOG, "warning", lambda event, **fields: told.append((event, fields["pod"])))
    pods = Pods()
    scraper = scrape.Scraper(cast("Cluster", pods), FakeClock())
    pod = a_pod(BLUE, "one", startTime="2026-01-31T08:00:00Z")

    for answers in (False, False, True, False):
        pods.answers = answers
        await scraper.read("uid", [pod], [BLUE])

    assert told == [("scrape_failed", "one")] * 2
