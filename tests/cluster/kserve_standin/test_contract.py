"""The stand-in makes what a real KServe was seen to make, and behaves at the edges as documented."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.api import Api, ApiError, Json
from tests.cluster.controlplane import ControlPlane
from tests.cluster.doubles import NodeDouble, playing_node
from tests.cluster.kserve_standin import golden
from tests.cluster.kserve_standin.admission import install_validation
from tests.cluster.kserve_standin.controller import standing_in
from tests.cluster.kserve_standin.objects import Behaviour
from tests.cluster.processes import until

pytestmark = pytest.mark.cluster

WAIT_S = 30
CASES = [
    ("v0.20-canary-20", Behaviour.NO_WEIGHTS),
    ("head-canary-30", Behaviour.WEIGHTS),
    ("head-promoted", Behaviour.WEIGHTS),
]


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[NodeDouble]:
    with playing_node(control_plane.access) as double:
        yield double


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour.WEIGHTS


@pytest.fixture
def world(control_plane: ControlPlane, behaviour: Behaviour, node: NodeDouble, namespace: str) -> Iterator["World"]:
    with standing_in(control_plane.access, behaviour):
        yield World(control_plane.api, namespace)


class World:
    """One InferenceService and what is made of it."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def apply(self, isvc: Json) -> Json:
        return self.api.apply({**isvc, "metadata": {**isvc["metadata"], "namespace": self.namespace}})

    def objects(self) -> list[Json]:
        kinds = [
            ("serving.kserve.io/v1beta1", "InferenceService"),
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ]
        return [item for kind in kinds for item in self.api.list(*kind, namespace=self.namespace)]

    def weights(self, route: str = "demo") -> dict[str, int]:
        found = self.api.find("gateway.networking.k8s.io/v1", "HTTPRoute", self.namespace, route)
        rules = found["spec"]["rules"] if found else []
        return {backend["name"]: backend["weight"] for rule in rules for backend in rule["backendRefs"]}

    def status(self) -> Json:
        isvc = self.api.get("serving.kserve.io/v1beta1", "InferenceService", self.namespace, "demo")
        status: Json = isvc.get("status", {})
        return status

    def condition(self, kind: str) -> str:
        found = {each["type"]: each["status"] for each in self.status().get("conditions", ())}
        return found.get(kind, "")

    def deployments(self) -> dict[str, Json]:
        found = self.api.list("apps/v1", "Deployment", self.namespace)
        return {item["metadata"]["name"]: item for item in found}

    def comes(self, condition: Callable[[], bool], what: str) -> None:
        until(condition, WAIT_S, what)


def canary_service(percent: int, **changes: Any) -> Json:
    (isvc,) = golden.read("head-canary-30", "given")
    isvc["spec"]["canary"][0] |= {"trafficPercent": percent}
    isvc["spec"]["canary"][0]["predictor"] |= changes
    return isvc


@pytest.mark.parametrize(("case", "behaviour"), CASES, ids=[case for case, _ in CASES])
def test_it_makes_what_the_real_one_made(world: World, case: str) -> None:
    expected = golden.read(case, "made")
    (isvc,) = golden.read(case, "given")

    world.apply(isvc)

    def seen() -> list[Json]:
        text = yaml.safe_dump(golden.made(world.objects())).replace(world.namespace, "ml")
        found: list[Json] = yaml.safe_load(text)
        return found

    try:
        world.comes(lambda: seen() == expected, case)
    finally:
        assert seen() == expected


def test_promotion_keeps_the_canarys_deployment(world: World) -> None:
    world.apply(canary_service(100))
    world.comes(lambda: world.weights() == {"demo-predictor": 0, "demo-canary-predictor": 100}, "all to the canary")
    before = world.deployments()["demo-canary-predictor"]["metadata"]

    (promoted,) = golden.read("head-promoted", "given")
    world.apply(promoted)
    world.comes(lambda: world.weights() == {"demo-canary-predictor": 1}, "one backend")

    after = world.deployments()
    assert set(after) == {"demo-canary-predictor"}
    assert after["demo-canary-predictor"]["metadata"]["uid"] == before["uid"]
    assert after["demo-canary-predictor"]["metadata"]["generation"] == before["generation"]


def test_a_change_of_weight_touches_no_deployment(world: World) -> None:
    world.apply(canary_service(30))
    world.comes(lambda: world.weights() == {"demo-predictor": 70, "demo-canary-predictor": 30}, "30 %")
    before = {name: item["metadata"]["generation"] for name, item in world.deployments().items()}

    world.apply(canary_service(0))
    world.comes(lambda: world.weights() == {"demo-predictor": 100, "demo-canary-predictor": 0}, "0 %")

    assert {name: item["metadata"]["generation"] for name, item in world.deployments().items()} == before


def test_a_canary_that_is_not_ready_gets_no_traffic(world: World, node: NodeDouble) -> None:
    node.is_healthy = lambda deployment: "canary" not in deployment["metadata"]["name"]

    world.apply(canary_service(30))
    world.comes(lambda: world.condition("Ready") == "True", "Ready")

    assert world.weights() == {"demo-predictor": 1}
    assert world.condition("CanaryPredictorReady") == "False"

    node.is_healthy = lambda _deployment: True
    world.comes(lambda: world.weights() == {"demo-predictor": 70, "demo-canary-predictor": 30}, "30 %")


@pytest.mark.parametrize("behaviour", [Behaviour.NO_WEIGHTS])
def test_0_20_says_ready_and_splits_nothing(world: World) -> None:
    world.apply(canary_service(30))
    world.comes(lambda: world.condition("CanaryPredictorReady") == "True", "the canary")

    assert world.weights() == world.weights("demo-predictor") == {"demo-predictor": 1}
    assert world.status()["canaryStatuses"][0]["trafficPercent"] == 30


@pytest.mark.parametrize("behaviour", list(Behaviour))
def test_a_cluster_local_service_has_no_route_and_still_a_url(world: World) -> None:
    (isvc,) = golden.read("head-promoted", "given")
    isvc["metadata"]["labels"] = {"networking.kserve.io/visibility": "cluster-local"}

    world.apply(isvc)
    world.comes(lambda: world.condition("Ready") == "True", "Ready")

    assert not any(item["kind"] == "HTTPRoute" for item in world.objects())
    assert world.status()["url"] == f"http://demo-{world.namespace}.example.com"


def test_stable_makes_room_for_ready_canaries(world: World, node: NodeDouble) -> None:
    node.is_healthy = lambda deployment: "canary" not in deployment["metadata"]["name"]
    isvc = canary_service(10, minReplicas=1)
    isvc["spec"]["predictor"]["minReplicas"] = 3
    world.apply(isvc)
    world.comes(lambda: world.condition("Ready") == "True", "Ready")
    assert world.deployments()["demo-predictor"]["spec"]["replicas"] == 3

    node.is_healthy = lambda _deployment: True

    world.comes(lambda: world.deployments()["demo-predictor"]["spec"]["replicas"] == 2, "2 replicas")


def test_a_deleted_service_goes(world: World) -> None:
    isvc = world.apply(canary_service(30))
    world.comes(lambda: bool(world.status()), "a status")

    world.api.delete(isvc)

    world.comes(
        lambda: world.api.list("serving.kserve.io/v1beta1", "InferenceService", world.namespace) == [], "the end"
    )


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no storage uri", {}, "canary requires a stable predictor with a model"),
    ("no name", {"name": ""}, r"canary\[0\].predictor.name in body should match"),
    ("too many replicas", {"minReplicas": 2}, "canary minReplicas must not exceed"),
]


@pytest.fixture(scope="module")
def validation(control_plane: ControlPlane) -> None:
    api = control_plane.api
    install_validation(api)
    bad = canary_service(30)
    bad["spec"]["predictor"]["name"] = bad["spec"]["canary"][0]["predictor"]["name"] = "same"
    bad["metadata"]["namespace"] = "default"

    def is_refusing() -> bool:
        try:
            api.create(bad, dry_run=True)
        except ApiError as error:
            return "canary predictor name" in error.message
        return False

    until(is_refusing, WAIT_S, "the policy to be in force")


@pytest.mark.usefixtures("validation")
@pytest.mark.parametrize(("changes", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_the_webhook_refuses_is_refused(
    control_plane: ControlPlane, namespace: str, changes: dict[str, Any], words: str
) -> None:
    isvc = canary_service(30, **changes)
    isvc["metadata"]["namespace"] = namespace
    if not changes:
        del isvc["spec"]["predictor"]["containers"][0]["env"]

    with pytest.raises(ApiError, match=words):
        control_plane.api.create(isvc)


@pytest.mark.usefixtures("validation")
def test_a_new_predictor_name_needs_a_new_storage_uri(control_plane: ControlPlane, namespace: str) -> None:
    (isvc,) = golden.read("head-promoted", "given")
    isvc["metadata"]["namespace"] = namespace
    control_plane.api.create(isvc)

    with pytest.raises(ApiError, match="only be changed together with the storage URI"):
        control_plane.api.patch(isvc, {"spec": {"predictor": {"name": "other"}}})
    with pytest.raises(ApiError, match="deploymentMode cannot be changed"):
        control_plane.api.patch(isvc, {"metadata": {"annotations": {"serving.kserve.io/deploymentMode": "Knative"}}})
