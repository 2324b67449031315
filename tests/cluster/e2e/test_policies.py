"""The chart's NetworkPolicies, enforced by SIG Network's own implementation: who reaches whom.

Pods of the harness stand in for trainers, predictors and the operator: a policy knows them by their labels alone. The story is told under
the same policies, by the real ones. What goes to the node itself (API server, object store) or comes from it (gateway, kubelet) passes none of them.
"""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest

from graft_core.api.v1alpha1.names import LABEL_ROLE
from tests.cluster.api import Api
from tests.cluster.e2e.chart import CUSTOMER, NAMESPACE, OPERATOR, RELEASE
from tests.cluster.e2e.pods import Json, a_pod
from tests.cluster.e2e.team import Team
from tests.cluster.processes import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WAIT_S = 60
TRAINER = {"app.kubernetes.io/name": "graft-trainer"}
PREDICTOR = {"app.kubernetes.io/managed-by": "graft", LABEL_ROLE: "predictor"}
PEOPLE = {
    "trainer": TRAINER,
    "other-trainer": TRAINER,
    "predictor": PREDICTOR,
    "customer": CUSTOMER,
    "neighbour": {},
    "operator": {"app.kubernetes.io/name": OPERATOR, "app.kubernetes.io/instance": RELEASE},
    "stranger": {},
}
"""Labels by name. The operator is where it is, the stranger in a namespace without policies, the others with the team."""


class StandIn(NamedTuple):
    """One of them."""

    api: Api
    pod: Json
    address: str

    def ask(self, other: "StandIn") -> str:
        """Say whether the other one answers: yes or no. The API server carries the question in, from the node."""
        path = f"{self.api.path(self.pod)}:8080/proxy/ask?url={quote(f'http://{other.address}:8080/', safe='')}"
        said: str = self.api.request("GET", path)["text"]
        return said


@pytest.fixture(scope="module")
def people(api: Api, team: Team) -> Iterator[dict[str, StandIn]]:
    """A pod for each, by name; all answer on 8080, where only predictors are to be asked."""
    elsewhere = "elsewhere-" + team.namespace
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere}}
    api.create(home)
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-stand-in",
                "namespace": {"operator": NAMESPACE, "stranger": elsewhere}.get(name, team.namespace),
                "labels": labels,
            },
            "spec": a_pod("serve", name),
        }
        for name, labels in PEOPLE.items()
    ]
    for pod in pods:
        api.create(pod)

    def status(pod: Json) -> Json:
        found: Json = api.get("v1", "Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])["status"]
        return found

    until(lambda: all(status(pod)["phase"] == "Running" for pod in pods), WAIT_S, "the stand-ins to run")
    yield {name: StandIn(api, pod, status(pod)["podIP"]) for name, pod in zip(PEOPLE, pods, strict=True)}
    for item in [*pods, home]:
        api.delete(item)


@pytest.mark.parametrize(
    ("who", "whom", "said"),
    [
        ("operator", "predictor", "yes"),
        ("customer", "predictor", "yes"),
        ("neighbour", "predictor", "no"),
        ("stranger", "predictor", "no"),
        ("trainer", "other-trainer", "yes"),
        ("operator", "trainer", "no"),  # 8081 alone
        ("stranger", "trainer", "no"),
        ("trainer", "stranger", "yes"),
        ("operator", "stranger", "no"),
        ("stranger", "neighbour", "yes"),
    ],
)
def test_who_reaches_whom(people: dict[str, StandIn], who: str, whom: str, said: str) -> None:
    # The first answers may come before what enforces the policies has heard of the pods.
    until(lambda: people[who].ask(people[whom]) == said, WAIT_S, f"{who} to be told {said!r} at {whom}")
    assert [people[who].ask(people[whom]) for _ in range(3)] == [said] * 3
