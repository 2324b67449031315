"""Which write an action means, on small views; whole stories are in tests/operator/cluster."""

from dataclasses import replace

import pytest

from graft_core.errors import NotReady
from graft_operator.reconcile.decision import CreateArm, RemoveArm, SetWeights
from graft_operator.reconcile.kube.moves import (
    AddCanary,
    CreateService,
    DeleteRoute,
    DeleteService,
    Move,
    PromoteCanary,
    RemoveCanary,
    ReplaceTemplate,
    SetCanaryShares,
    SetPercent,
    SplitRoute,
)
from graft_operator.reconcile.kube.strategy import plan, settle
from graft_operator.reconcile.kube.view import KubeView, Strategy
from tests.operator.reconcile.kube.releases import a_knative_view, a_kube_view, a_slots_view, a_status, a_weights_view
from tests.operator.reconcile.views import BLUE, GREEN, RED

A, B = "shop-a-predictor", "shop-b-predictor"
Action = CreateArm | SetWeights | RemoveArm


def create(revision: str) -> CreateArm:
    return CreateArm(revision, None)


def split(**weights: int) -> SetWeights:
    names = {"blue": BLUE, "green": GREEN, "red": RED}
    return SetWeights({names[name]: weight for name, weight in weights.items()}, "")


def remove(revision: str) -> RemoveArm:
    return RemoveArm(revision, "")


def a_bare_view(strategy: Strategy) -> KubeView:
    return a_kube_view(strategy, a_status(""))


def without_blue() -> KubeView:
    view = a_knative_view(traffic={GREEN: 100}, rolled=GREEN, status=a_status())
    return replace(view, revisions={name: body for name, body in view.revisions.items() if BLUE not in name})


PLANS: dict[str, tuple[Action, KubeView, Move | None]] = {
    "weights: first arm": (create(BLUE), a_bare_view(Strategy.WEIGHTS), CreateService("shop", BLUE)),
    "weights: arm that is there": (create(BLUE), a_weights_view(), None),
    "weights: second arm": (create(GREEN), a_weights_view(), AddCanary(GREEN)),
    "weights: third arm, the second one drains": (
        create(RED),
        a_weights_view(0, status=a_status(draining=GREEN)),
        RemoveCanary(GREEN),
    ),
    "weights: third arm, the old stable one drains": (
        create(RED),
        a_weights_view(100, status=a_status(GREEN, draining=BLUE)),
        PromoteCanary(GREEN),
    ),
    "weights: more": (split(blue=90, green=10), a_weights_view(0), SetCanaryShares({GREEN: 10})),
    "weights: as it is": (split(blue=90, green=10), a_weights_view(10), None),
    "weights: all to the only one": (split(blue=100), a_weights_view(), None),
    "weights: nobody": (split(blue=0), a_weights_view(), DeleteService("shop")),
    "weights: candidate goes": (remove(GREEN), a_weights_view(0), RemoveCanary(GREEN)),
    "weights: old stable goes": (remove(BLUE), a_weights_view(100), PromoteCanary(GREEN)),
    "weights: gone already": (remove(RED), a_weights_view(100), None),
    "slots: first arm": (create(BLUE), a_bare_view(Strategy.SLOTS), CreateService("shop-a", BLUE)),
    "slots: third arm, one drains": (
        create(RED),
        a_slots_view({A: 100}, status=a_status(draining=GREEN)),
        DeleteService("shop-b"),
    ),
    "slots: first weights": (split(blue=100), a_slots_view(), SplitRoute({A: 100})),
    "slots: more": (split(blue=90, green=10), a_slots_view({A: 100}), SplitRoute({A: 90, B: 10})),
    "slots: as it is": (split(blue=90, green=10), a_slots_view({A: 90, B: 10}), None),
    "slots: nobody": (split(blue=0), a_slots_view({A: 100}), DeleteRoute()),
    "slots: candidate goes": (remove(GREEN), a_slots_view({A: 100}), DeleteService("shop-b")),
    "slots: never served": (remove(GREEN), a_slots_view(), DeleteService("shop-b")),
    "knative: first arm": (create(BLUE), a_bare_view(Strategy.KNATIVE), CreateService("shop", BLUE)),
    "knative: second arm": (
        create(GREEN),
        a_knative_view(template=BLUE, latest=BLUE, status=a_status()),
        ReplaceTemplate(GREEN, 0),
    ),
    "knative: instead of one that drains": (
        create(RED),
        a_knative_view(0, traffic={GREEN: 0, BLUE: 100}, status=a_status(draining=GREEN)),
        ReplaceTemplate(RED, 0),
    ),
    "knative: stable that somebody took away": (create(BLUE), without_blue(), ReplaceTemplate(BLUE, None)),
    "knative: more": (split(blue=90, green=10), a_knative_view(0, traffic={GREEN: 0, BLUE: 100}), SetPercent(10)),
    "knative: as it is": (split(blue=90, green=10), a_knative_view(10, traffic={GREEN: 10, BLUE: 90}), None),
    "knative: all": (split(blue=0, green=100), a_knative_view(50, traffic={GREEN: 50, BLUE: 50}), SetPercent(100)),
    "knative: back": (split(blue=100, green=0), a_knative_view(50, traffic={GREEN: 50, BLUE: 50}), SetPercent(0)),
    "knative: the rest would go to another revision": (
        split(blue=90, green=10),
        a_knative_view(0, rolled=RED, traffic={GREEN: 0, RED: 100, BLUE: 0}),
        ReplaceTemplate(BLUE, 0),
    ),
    "knative: candidate goes": (
        remove(GREEN),
        a_knative_view(0, traffic={GREEN: 0, BLUE: 100}),
        ReplaceTemplate(BLUE, 0),
    ),
    "knative: old stable goes by itself": (
        remove(BLUE),
        a_knative_view(100, traffic={GREEN: 100}, status=a_status()),
        None,
    ),
    "knative: nobody": (split(blue=0), a_knative_view(template=BLUE, latest=BLUE), DeleteService("shop")),
}


@pytest.mark.parametrize("case", PLANS)
def test_an_action_means_one_write(case: str) -> None:
    action, view, move = PLANS[case]
    assert plan(action, view) == move


WAITS: dict[str, tuple[Action, KubeView]] = {
    "weights: the gateway has not acknowledged 0": (remove(GREEN), a_weights_view(0, observed=0)),
    "weights: the route still has it": (remove(GREEN), a_weights_view(0, served=10)),
    "weights: the old stable arm still serves": (remove(BLUE), a_weights_view(50)),
    "weights: both places are in use": (create(RED), a_weights_view(10)),
    "weights: nobody to give traffic to": (split(blue=90, red=10), a_weights_view(10)),
    "slots: the gateway has not acknowledged 0": (remove(GREEN), a_slots_view({A: 100}, observed=0)),
    "slots: the gateway does not accept the route": (remove(GREEN), a_slots_view({A: 100}, accepted="False")),
    "slots: it serves": (remove(GREEN), a_slots_view({A: 90, B: 10})),
    "slots: both are in use": (create(RED), a_slots_view({A: 90, B: 10})),
    "knative: it serves": (remove(GREEN), a_knative_view(10, traffic={GREEN: 10, BLUE: 90})),
    "knative: a candidate has traffic": (create(RED), a_knative_view(10, traffic={GREEN: 10, BLUE: 90})),
}


@pytest.mark.parametrize("case", WAITS)
def test_what_would_hurt_waits(case: str) -> None:
    action, view = WAITS[case]
    with pytest.raises(NotReady):
        plan(action, view)


def test_a_service_that_is_being_deleted_is_waited_for() -> None:
    view = a_weights_view()
    service = view.services["shop"]
    going = {**service, "metadata": {**service["metadata"], "deletionTimestamp": "2026-03-01T12:00:00Z"}}
    with pytest.raises(NotReady, match="still being deleted"):
        plan(create(GREEN), replace(view, services={"shop": going}))


def test_knative_s_percent_goes_once_the_stable_template_is_back_and_ready() -> None:
    back = a_knative_view(0, template=BLUE, latest=BLUE, status=a_status())
    assert settle(back) == SetPercent(None)
    assert settle(a_knative_view(None, template=BLUE, latest=BLUE, status=a_status())) is None
    assert settle(a_knative_view(0, template=BLUE, latest=GREEN, status=a_status())) is None
    assert settle(a_knative_view(0, status=a_status(candidate=GREEN))) is None
    assert settle(a_weights_view()) is None
