"""What `decide_modelrelease` is told of a cluster."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from graft_operator.reconcile.kube.arms import observe_arms, observe_traffic, observed_weights
from graft_operator.reconcile.kube.pods import describe_pods
from graft_operator.reconcile.kube.traffic import is_acknowledged, read_route, read_split
from graft_operator.reconcile.kube.view import Strategy
from tests.builders import NOW, after
from tests.operator.reconcile.kube.releases import (
    a_deployment,
    a_knative_view,
    a_kube_view,
    a_pod,
    a_predictor,
    a_route,
    a_service,
    a_slots_view,
    a_status,
    a_weights_view,
)
from tests.operator.reconcile.views import BLUE, GREEN

A, B = "shop-a-predictor", "shop-b-predictor"
STABLE, CANARY = f"shop-r{BLUE}-predictor", f"shop-r{GREEN}-predictor"


def test_weights_are_relative_and_unset_means_one() -> None:
    assert read_route(a_route("r", {"x": 1, "y": 1})) == {"x": 50, "y": 50}
    assert read_route(a_route("r", {"x": 700, "y": 300})) == {"x": 70, "y": 30}
    assert read_route({"spec": {"rules": [{"backendRefs": [{"name": "x"}]}]}, "metadata": {}}) == {"x": 100}
    assert read_route(a_route("r", {"x": 999, "y": 1})) == {"x": 100, "y": 1}, "a share is never rounded to none"
    assert read_route(a_route("r", {"x": 1, "y": 0})) == {"x": 100, "y": 0}


def test_where_two_routes_differ_a_backend_counts_with_its_larger_share() -> None:
    split = read_split([a_route("shop", {"x": 100, "y": 0}), a_route("shop-predictor", {"x": 90, "y": 10})])
    assert split.weights == {"x": 100, "y": 10}


@pytest.mark.parametrize(
    ("route", "is_so"),
    [
        (a_route("r", {"x": 1}), True),
        (a_route("r", {"x": 1}, observed=0), False),
        (a_route("r", {"x": 1}, accepted="False"), False),
        ({**a_route("r", {"x": 1}), "status": {}}, False),
    ],
    ids=["every parent accepts it", "an older generation", "refused", "no gateway has looked"],
)
def test_a_route_counts_once_every_gateway_has_it(route: dict[str, object], is_so: bool) -> None:
    assert is_acknowledged(route) is is_so


def test_an_unacknowledged_rise_and_fall_are_neither_taken_for_done() -> None:
    noted = a_status(candidate=GREEN, weight=10)
    rising = a_weights_view(50, status=noted, observed=0)
    assert observed_weights(rising) == {BLUE: 100, GREEN: 50}
    falling = a_weights_view(0, status=noted, observed=0)
    assert observed_weights(falling) == {BLUE: 100, GREEN: 10}


@pytest.mark.parametrize(
    "view",
    [
        a_weights_view(10),
        a_slots_view({A: 90, B: 10}),
        a_knative_view(10, traffic={GREEN: 10, BLUE: 90}),
    ],
    ids=["weights", "slots", "knative"],
)
def test_both_arms_are_told_with_what_they_serve(view: object) -> None:
    assert isinstance(view, type(a_weights_view()))
    arms = observe_arms(view, NOW)
    assert {arm.revision: (arm.ready, arm.weight_observed) for arm in arms} == {BLUE: (True, 90), GREEN: (True, 10)}
    assert observe_traffic(view, arms).requested == {BLUE: 90, GREEN: 10}
    assert {arm.digest for arm in arms} == {"sha256:" + "b" * 64, "sha256:" + "c" * 64}


def test_a_first_arm_has_no_traffic_asked_for_until_it_is_ready() -> None:
    spec = {"predictor": a_predictor(BLUE, f"r{BLUE}")}
    view = a_kube_view(Strategy.WEIGHTS, a_status(""), services={"shop": a_service("shop", spec)})
    assert observe_traffic(view, observe_arms(view, NOW)).requested == {}
    ready = replace(view, deployments={STABLE: a_deployment(STABLE, BLUE)})
    assert observe_traffic(ready, observe_arms(ready, NOW)).requested == {BLUE: 100}


def test_a_stable_arm_that_is_not_ready_keeps_its_traffic() -> None:
    view = replace(a_weights_view(), deployments={})
    assert observe_traffic(view, observe_arms(view, NOW)).requested == {BLUE: 100}


@pytest.mark.parametrize(
    ("deployment", "told"),
    [
        (a_deployment(STABLE, BLUE), ""),
        (a_deployment(STABLE, BLUE, available=3, replicas=4), ""),
        (a_deployment(STABLE, BLUE, available=2, replicas=4), "2 of 4 pods are available"),
        (a_deployment(STABLE, BLUE, available=0), "0 of 1 pods are available"),
        (a_deployment(STABLE, BLUE, observed=0), "its Deployment is being rolled out"),
        (a_deployment(STABLE, GREEN), f"its Deployment still has revision {GREEN}"),
    ],
    ids=["all", "three of four", "two of four", "none", "not looked at", "an older template"],
)
def test_readiness_is_the_deployment_s_own_figures(deployment: dict[str, object], told: str) -> None:
    arms = observe_arms(replace(a_weights_view(), deployments={STABLE: deployment}), NOW)
    assert (arms[0].ready, arms[0].message) == (not told, told)


def test_a_slot_that_is_being_deleted_is_terminating() -> None:
    view = a_slots_view({A: 100})
    going = a_service("shop-b", {"predictor": a_predictor(GREEN)}, deletionTimestamp="2026-03-01T12:00:00Z")
    arms = observe_arms(replace(view, services={**view.services, "shop-b": going}), NOW)
    assert [(arm.revision, arm.ready, arm.terminating) for arm in arms] == [(BLUE, True, False), (GREEN, False, True)]


def test_kserve_that_does_not_split_is_told_after_a_grace() -> None:
    status = a_status(candidate=GREEN, ready_at=NOW.isoformat(), step_since=NOW.isoformat())
    view = a_weights_view(10, served=0, status=status)
    assert all(arm.ready for arm in observe_arms(view, after(60)))
    candidate = next(arm for arm in observe_arms(view, after(61)) if arm.revision == GREEN)
    assert not candidate.ready
    assert "TrafficSplitUnsupported" in candidate.message


def test_knative_at_100_percent_still_tells_the_stable_arm() -> None:
    view = a_knative_view(100, rolled=GREEN, traffic={GREEN: 100})
    arms = {arm.revision: arm for arm in observe_arms(view, NOW)}
    assert (arms[BLUE].ready, arms[BLUE].weight_observed, arms[GREEN].weight_observed) == (True, 0, 100)


WAITING = {"name": "kserve-container", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
ENDED = {
    "name": "storage-initializer",
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 2, "reason": "Error", "message": "Corrupt: adapter.safetensors differs"}},
}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes have nvidia.com/gpu",
}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"containerStatuses": [WAITING]}, "kserve-container: ImagePullBackOff"),
        (
            {"initContainerStatuses": [ENDED]},
            "storage-initializer: CrashLoopBackOff; storage-initializer ended with exit code 2 (Error): Corrupt: adapter.safetensors differs",
        ),
        ({"conditions": [NO_NODE]}, "Unschedulable: 0/3 nodes have nvidia.com/gpu"),
        ({"containerStatuses": [{"name": "x", "state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
    ],
    ids=["image", "adapter", "no GPU", "just starts"],
)
def test_why_pods_are_not_ready(status: dict[str, Any], told: str) -> None:
    assert describe_pods([a_pod(GREEN, **status), a_pod(BLUE, containerStatuses=[WAITING])], GREEN) == told


def test_the_yaml_of_a_route_is_read_as_it_comes() -> None:
    text = "metadata: {name: r, generation: 3}\nspec: {rules: [{backendRefs: [{name: x, weight: 70}, {name: y, weight: 30}]}]}\nstatus: null\n"
    assert read_route(yaml.safe_load(text)) == {"x": 70, "y": 30}
    assert not is_acknowledged(yaml.safe_load(text))
