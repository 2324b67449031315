"""Figures of many pods as one window, and what is believed of Prometheus."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graft_core.errors import Unavailable
from graft_operator.reconcile.kube.promql import queries, to_prometheus_window
from graft_operator.reconcile.kube.scraped import PodFacts, PodReading, begin_window, read_window, take
from tests.builders import NOW, after
from tests.operator.reconcile.views import BLUE, GREEN

Readings = dict[str, PodReading]


def read(
    old: Readings,
    pod: str,
    ok: float,
    at_s: float,
    *,
    revision: str = GREEN,
    restarts: int = 0,
    started_s: float = -100,
) -> Readings:
    facts = PodFacts(pod, revision, restarts, after(started_s))
    return {**old, pod: take(old.get(pod), facts, {GREEN: {"ok": ok}}, after(at_s))}


def ok_of(readings: Readings, base_s: float, *living: str, first: Readings | None = None) -> float:
    base = begin_window(GREEN, after(base_s), (first or readings).values())
    assert base is not None
    return read_window(GREEN, base, readings.values(), frozenset(living or readings)).ok


def test_pods_are_summed_from_the_window_s_beginning() -> None:
    first = read(read({}, "p", 10, 0), "q", 20, 0)
    later = read(read(first, "p", 15, 5), "q", 27, 5)
    assert ok_of(later, 0, first=first) == 12


def test_a_process_that_was_started_again_goes_on() -> None:
    first = read({}, "p", 10, 0)
    later = read(read(first, "p", 16, 2), "p", 3, 5, restarts=1)
    assert ok_of(later, 0, first=first) == 9
    fallen = read(read(first, "p", 16, 2), "p", 3, 5)
    assert ok_of(fallen, 0, first=first) == 9


def test_a_pod_that_came_later_counts_whole_and_one_that_went_keeps_its_count() -> None:
    first = read({}, "p", 10, 0)
    later = read(read(first, "p", 18, 2), "q", 4, 5, started_s=3)
    assert ok_of(later, 0, "q", first=first) == 12


def test_a_pod_that_was_there_and_is_first_read_later_counts_from_that_reading() -> None:
    first = read({}, "p", 10, 0)
    later = read(read(first, "q", 1000, 2), "q", 1007, 4)
    assert ok_of(later, 0, first=first) == 7


def test_feedback_that_the_other_arm_counted_is_this_revision_s() -> None:
    first = read(read({}, "p", 0, 0), "blue", 5, 0, revision=BLUE)
    later = read(first, "blue", 8, 3, revision=BLUE)
    assert ok_of(later, 0, first=first) == 3


def test_a_window_is_as_old_as_the_oldest_living_pod_and_begins_with_a_reading_since() -> None:
    readings = read(read({}, "p", 1, 9), "q", 1, 4)
    base = begin_window(GREEN, after(0), readings.values())
    assert base is not None
    assert base.at == after(4)
    assert read_window(GREEN, base, readings.values(), frozenset({"p", "q"})).scraped_at == after(4)
    assert read_window(GREEN, base, readings.values(), frozenset({"p"})).scraped_at == after(9)
    assert begin_window(GREEN, after(10), readings.values()) is None


def vector(*elements: tuple[dict[str, str], str]) -> dict[str, Any]:
    result = [{"metric": labels, "value": [0, value]} for labels, value in elements]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def answers(**changed: Any) -> dict[str, Any]:
    said = {
        "fresh": vector(({}, str(NOW.timestamp()))),
        "copies": vector(({}, "1")),
        "outcomes": vector(({"outcome": "ok"}, "97"), ({"outcome": "error"}, "3")),
        "latency": vector(({"le": "0.5"}, "90"), ({"le": "+Inf"}, "100")),
        "first_token": vector(),
        "feedback_sum": vector(({}, "4.5")),
        "feedback_count": vector(({}, "5")),
    }
    return {**said, **changed}


def test_prometheus_s_answers_become_a_window() -> None:
    window = to_prometheus_window(GREEN, after(-60), answers())
    assert (window.ok, window.errors, window.feedback_sum, window.feedback_count) == (97, 3, 4.5, 5)
    assert window.latency == ((0.5, 90.0), (math.inf, 100.0))
    assert window.scraped_at == NOW
    assert window.since == after(-60)


def test_each_query_asks_for_one_revision_in_one_namespace() -> None:
    asked = queries("ml", GREEN, after(-61.2), NOW)
    assert asked.keys() == answers().keys()
    assert all(f'namespace="ml",revision="{GREEN}"' in query for query in asked.values())
    assert "[62s]" in asked["outcomes"]


@pytest.mark.parametrize(
    "changed",
    [
        {"fresh": vector()},
        {"fresh": vector(({}, "NaN"))},
        {"fresh": vector(({}, "1e300"))},
        {"fresh": vector(({}, "-1e15"))},
        {"copies": vector(({}, "2"))},
        {"copies": vector()},
        {"outcomes": {"status": "error", "error": "parse error"}},
        {"outcomes": {"status": "success", "data": {"resultType": "matrix", "result": []}}},
        {"outcomes": ["no", "object"]},
        {"latency": vector(({"le": "0.5"}, "many"))},
    ],
    ids=[
        "no series",
        "fresh is NaN",
        "fresh is no time",
        "fresh is before all time",
        "scraped twice",
        "no copies",
        "refused",
        "a matrix",
        "another shape",
        "no number",
    ],
)
def test_what_is_not_believed(changed: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        to_prometheus_window(GREEN, after(-60), answers(**changed))


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-5"])
def test_values_stand_as_they_are_for_the_judge_to_refuse(value: str) -> None:
    window = to_prometheus_window(GREEN, after(-60), answers(outcomes=vector(({"outcome": "ok"}, value))))
    assert not (math.isfinite(window.ok) and window.ok >= 0)


def test_an_old_sample_makes_an_old_window() -> None:
    old = NOW - timedelta(minutes=5)
    window = to_prometheus_window(GREEN, after(-600), answers(fresh=vector(({}, str(old.timestamp())))))
    assert window.scraped_at == datetime.fromtimestamp(old.timestamp(), UTC)
