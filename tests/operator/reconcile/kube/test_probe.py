"""Whether KServe splits traffic, asked of a service of our own: each row of `reconcile.kube.probe`."""

from typing import Any

import pytest

from graft_core.clock import to_rfc3339
from graft_operator.reconcile.kube.probe import CANARY, decide_probe, probe_name
from graft_operator.reconcile.kube.view import Strategy
from tests.builders import NOW, after
from tests.operator.reconcile.kube.releases import a_route, a_service

NAME = probe_name("shop")
MAIN, SPLIT = f"{NAME}-predictor", f"{NAME}-{CANARY}-predictor"


def a_probe(*, has_canary: bool = True, age_s: float = 5) -> dict[str, Any]:
    spec: dict[str, Any] = {"predictor": {}} | ({"canary": [{}]} if has_canary else {})
    return a_service(NAME, spec, creationTimestamp=to_rfc3339(after(-age_s)))


def available(since_s: float) -> dict[str, Any]:
    one = {"type": "Available", "status": "True", "lastTransitionTime": to_rfc3339(after(-since_s))}
    return {name: {"status": {"conditions": [one]}} for name in (MAIN, SPLIT)}


def test_there_is_none_yet() -> None:
    assert decide_probe(None, {}, None, NOW).do == "create"


@pytest.mark.parametrize(
    ("probe", "deployments", "route", "answer"),
    [
        (a_probe(has_canary=False), {}, None, Strategy.SLOTS),
        (a_probe(), available(1), a_route(NAME, {MAIN: 50, SPLIT: 50}), Strategy.WEIGHTS),
        (a_probe(), available(21), a_route(NAME, {MAIN: 1}), Strategy.SLOTS),
        (a_probe(age_s=181), {}, None, Strategy.SLOTS),
        (a_probe(), available(19), a_route(NAME, {MAIN: 1}), None),
        (a_probe(), {MAIN: available(60)[MAIN]}, a_route(NAME, {MAIN: 1}), None),
        (a_probe(), {}, None, None),
    ],
    ids=[
        "the CRD dropped the canary",
        "its route has a second backend",
        "run, ready, and sent nothing",
        "never answered",
        "ready a moment ago",
        "the canary is not available",
        "just made",
    ],
)
def test_what_the_probe_says(
    probe: dict[str, Any], deployments: dict[str, Any], route: dict[str, Any] | None, answer: Strategy | None
) -> None:
    said = decide_probe(probe, deployments, route, NOW)
    assert said.answer == answer
    assert said.do == ("wait" if answer is None else "answer")
    assert said.message


def test_a_probe_that_was_refused_is_an_answer() -> None:
    assert decide_probe(None, {}, None, NOW, is_refused=True).answer is Strategy.SLOTS
