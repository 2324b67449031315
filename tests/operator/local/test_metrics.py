"""Windows of figures: they begin with a scrape, survive restarts on both sides, and never hold more than was counted."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary, generate_latest

from graft_core.contracts import serving_metrics as names
from graft_operator.local.database import Database
from graft_operator.local.metrics import ArmSource, Metrics
from graft_operator.reconcile.figures import parse_figures
from graft_operator.reconcile.observed import Window
from tests.operator.local.doubles import ManualClock

A, B = "aaaaaaaaaa", "bbbbbbbbbb"


class Lab:
    """Metrics on a database that outlives them, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "objects.db")
        self.clock = ManualClock()
        self.metrics = Metrics(self.database, self.clock)
        self.attempts = {A: 1, B: 1}

    def scrape(self, revision: str = B, **figures: float) -> None:
        self.clock.advance(2)
        self.metrics.take("u", ArmSource(revision, self.attempts[revision], 1), {revision: figures})

    def window(self, since: datetime, revision: str = B) -> Window | None:
        return self.metrics.window("u", revision, since)

    def restart(self) -> None:
        self.metrics = Metrics(self.database, self.clock)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    found = Lab(tmp_path)
    yield found
    found.database.close()


def test_a_window_begins_with_the_first_scrape_after_its_moment_and_grows(lab: Lab) -> None:
    since = lab.clock.now()
    assert lab.window(since) is None
    lab.scrape(ok=100)
    begun = lab.window(since)
    assert begun is not None
    assert (begun.ok, begun.since) == (0, lab.clock.now())
    lab.scrape(ok=130, error=2, blocked=1)
    grown = lab.window(since)
    assert grown is not None
    assert (grown.ok, grown.errors, grown.blocked, grown.requests) == (30, 2, 1, 33)
    assert grown.since < grown.scraped_at == lab.clock.now()


def test_figures_from_before_the_moment_begin_no_window(lab: Lab) -> None:
    lab.scrape(ok=100)
    lab.clock.advance(1)
    assert lab.window(lab.clock.now()) is None


def test_another_moment_is_another_window(lab: Lab) -> None:
    first = lab.clock.now()
    lab.scrape(ok=10)
    lab.window(first)
    second = lab.clock.now()
    lab.scrape(ok=50)
    lab.window(second)
    lab.scrape(ok=55)
    found = lab.window(second)
    assert found is not None
    assert found.ok == 5
    assert lab.metrics.has_window("u", B, second)
    assert not lab.metrics.has_window("u", B, first)


def test_a_predictor_that_was_started_again_goes_on_counting(lab: Lab) -> None:
    since = lab.clock.now()
    lab.scrape(ok=100)
    lab.window(since)
    lab.scrape(ok=140)
    lab.attempts[B] = 2
    lab.scrape(ok=5)
    lab.scrape(ok=9)
    found = lab.window(since)
    assert found is not None
    assert found.ok == 49


def test_counters_that_fall_within_one_process_go_on_too(lab: Lab) -> None:
    since = lab.clock.now()
    lab.scrape(ok=100)
    lab.window(since)
    lab.scrape(ok=3)
    found = lab.window(since)
    assert found is not None
    assert found.ok == 3


def test_a_window_outlives_graft_up_with_the_same_process(lab: Lab) -> None:
    since = lab.clock.now()
    lab.scrape(ok=100)
    begun = lab.window(since)
    lab.restart()
    assert lab.window(since) is None
    lab.scrape(ok=160)
    found = lab.window(since)
    assert found is not None
    assert begun is not None
    assert (found.ok, found.since) == (60, begun.since)


def test_a_window_begins_anew_where_process_and_graft_up_both_went(lab: Lab) -> None:
    since = lab.clock.now()
    lab.scrape(ok=100)
    lab.window(since)
    lab.restart()
    lab.attempts[B] = 2
    lab.scrape(ok=160)
    found = lab.window(since)
    assert found is not None
    assert (found.ok, found.since) == (0, lab.clock.now())


def test_counts_carried_over_a_reset_are_not_counted_twice_after_a_restart(lab: Lab) -> None:
    lab.scrape(ok=1000)
    lab.attempts[B] = 2
    lab.scrape(ok=10)
    since = lab.clock.now()
    lab.scrape(ok=20)
    lab.window(since)
    lab.restart()
    lab.scrape(ok=25)
    found = lab.window(since)
    assert found is not None
    assert found.ok == 5


def test_feedback_counted_by_the_other_arm_is_this_revisions(lab: Lab) -> None:
    since = lab.clock.now()
    lab.scrape(A, ok=1)
    lab.scrape(B, ok=1)
    lab.window(since)
    lab.clock.advance(2)
    lab.metrics.take("u", ArmSource(A, 1, 1), {A: {"ok": 2.0}, B: {"feedback_sum": 1.5, "feedback_count": 3.0}})
    lab.scrape(B, ok=2, feedback_sum=1.0, feedback_count=1.0)
    found = lab.window(since)
    assert found is not None
    assert (found.ok, found.feedback_sum, found.feedback_count) == (1, 2.5, 4)


def test_a_release_that_is_gone_is_forgotten_on_disk_too(lab: Lab) -> None:
    since = lab.clock.now()
    lab.scrape(ok=1)
    lab.window(since)
    lab.metrics.forget("u")
    assert lab.database.records("windows") == {}
    assert lab.window(since) is None


def test_a_page_is_read_by_the_names_of_the_contract() -> None:
    registry = CollectorRegistry()
    requests = Counter(names.REQUESTS_TOTAL.removesuffix("_total"), "d", ["revision", "outcome"], registry=registry)
    duration = Histogram(
        names.REQUEST_DURATION_SECONDS, "d", ["revision", "cache"], registry=registry, buckets=(0.1, 1.0)
    )
    first = Histogram(names.TIME_TO_FIRST_TOKEN_SECONDS, "d", ["revision"], registry=registry, buckets=(0.1,))
    feedback = Summary(names.FEEDBACK_SCORE, "d", ["revision"], registry=registry)
    requests.labels(B, "ok").inc(3)
    requests.labels(B, "error").inc()
    for cache in ("miss", "bypass", "memory"):
        duration.labels(B, cache).observe(0.05)
    first.labels(B).observe(0.5)
    feedback.labels(A).observe(0.25)
    found = parse_figures(generate_latest(registry).decode())
    assert found[B] == {
        "ok": 3,
        "error": 1,
        "latency:0.1": 2,
        "latency:1.0": 2,
        "latency:+Inf": 2,
        "first_token:0.1": 0,
        "first_token:+Inf": 1,
    }
    assert found[A] == {"feedback_sum": 0.25, "feedback_count": 1}


def test_a_page_that_has_a_series_twice_is_malformed() -> None:
    line = f'{names.REQUESTS_TOTAL}{{revision="{B}",outcome="ok"}} 5\n'
    assert parse_figures(line + line.replace("ok", "error"))[B] == {"ok": 5, "error": 5}
    with pytest.raises(ValueError, match="stands twice"):
        parse_figures(10 * line)
