"""What a cluster does, held against the double and, where its binaries are there, a real API server through the real client.

A case that passes on one only is a fault of the double, or of the client.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from graft_core.clock import SystemClock
from graft_core.errors import Conflict, InvalidInput
from graft_operator.cluster.client import KubernetesCluster
from graft_operator.cluster.credentials import CredentialSource
from graft_operator.cluster.lease import Election, Fence, Step, Timing
from graft_operator.cluster.transport import Transport
from graft_operator.ports import (
    CONFIG_MAPS,
    FINE_TUNE_JOBS,
    JOBS,
    LEASES,
    MODEL_RELEASES,
    WORKLOADS,
    Cluster,
    Json,
)
from tests.core.api import objects
from tests.fakes.kube import FakeKube

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

Place = tuple[Cluster, str]
"""A cluster, and a namespace that is the test's own."""


@pytest.fixture(params=["double", pytest.param("real", marks=pytest.mark.cluster)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "double":
        kube = FakeKube()
        kube.unserved.add(WORKLOADS)
        yield kube, "ml"
        return
    plane: ControlPlane = request.getfixturevalue("control_plane")
    namespace: str = request.getfixturevalue("namespace")
    clock = SystemClock()
    cluster = KubernetesCluster(Transport(CredentialSource({}, kubeconfig=plane.kubeconfig), clock), clock)
    yield cluster, namespace
    await cluster.close()


def config(namespace: str, name: str = "a", **rest: object) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, **rest}


def job(namespace: str) -> Json:
    return objects.changed(objects.a_job(), "metadata.namespace", namespace)


def version(body: Json) -> str:
    return str(body["metadata"]["resourceVersion"])


async def test_what_is_created_can_be_read_and_its_name_is_taken(place: Place) -> None:
    cluster, namespace = place
    made = await cluster.create(CONFIG_MAPS, config(namespace, data={"x": "1"}))
    assert made["metadata"]["uid"]
    found = await cluster.get(CONFIG_MAPS, namespace, "a")
    assert found is not None
    assert (found["data"], version(found)) == ({"x": "1"}, version(made))
    with pytest.raises(Conflict):
        await cluster.create(CONFIG_MAPS, config(namespace))
    assert await cluster.get(CONFIG_MAPS, namespace, "b") is None


async def test_applying_owns_fields_leaves_others_and_moves_the_version_only_on_a_change(place: Place) -> None:
    cluster, namespace = place
    made = await cluster.apply(CONFIG_MAPS, config(namespace, data={"x": "1", "y": "1"}))
    await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {"theirs": "1"}})
    before = await cluster.apply(CONFIG_MAPS, config(namespace, data={"x": "2"}))
    assert before["data"]["x"] == "2"
    assert "y" not in before["data"]
    assert before["data"]["theirs"] == "1"
    assert version(before) != version(made)
    again = await cluster.apply(CONFIG_MAPS, config(namespace, data={"x": "2"}))
    assert version(again) == version(before)


async def test_applying_on_an_old_version_is_a_conflict_and_on_nothing_makes_it(place: Place) -> None:
    cluster, namespace = place
    made = await cluster.apply(CONFIG_MAPS, config(namespace, data={"x": "1"}))
    await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {"y": "1"}})
    old = config(namespace, data={"x": "2"})
    old["metadata"]["resourceVersion"] = version(made)
    with pytest.raises(Conflict):
        await cluster.apply(CONFIG_MAPS, old)
    old["metadata"]["name"] = "nothing"
    assert (await cluster.apply(CONFIG_MAPS, old))["metadata"]["uid"]


async def test_a_patch_that_changes_nothing_moves_nothing(place: Place) -> None:
    cluster, namespace = place
    made = await cluster.create(CONFIG_MAPS, config(namespace, data={"x": "1"}))
    same = await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {"x": "1"}}, resource_version=version(made))
    assert version(same) == version(made)
    changed = await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {"x": None, "z": "1"}})
    assert changed["data"] == {"z": "1"}
    with pytest.raises(Conflict):
        await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {}}, resource_version=version(made))
    with pytest.raises(InvalidInput) as gone:
        await cluster.patch(CONFIG_MAPS, namespace, "nothing", {"data": {}})
    assert gone.value.reason == "NotFound"


async def test_status_and_spec_are_written_apart_and_only_a_spec_makes_a_generation(place: Place) -> None:
    cluster, namespace = place
    body = job(namespace)
    name = body["metadata"]["name"]
    made = await cluster.create(FINE_TUNE_JOBS, {**body, "status": {"phase": "Succeeded"}})
    assert made["metadata"]["generation"] == 1
    assert "phase" not in made.get("status", {})
    status: Json = {"status": {"phase": "Pending", "observedGeneration": 1}, "spec": {"suspend": True}}
    told = await cluster.patch(
        FINE_TUNE_JOBS, namespace, name, status, resource_version=version(made), subresource="status"
    )
    assert (told["metadata"]["generation"], told["status"]["observedGeneration"]) == (1, 1)
    assert not told["spec"].get("suspend")
    with pytest.raises(Conflict):
        await cluster.patch(
            FINE_TUNE_JOBS, namespace, name, status, resource_version=version(made), subresource="status"
        )
    changed = await cluster.patch(
        FINE_TUNE_JOBS, namespace, name, {"spec": {"suspend": True}, "status": {"phase": "X"}}
    )
    assert (changed["metadata"]["generation"], changed["status"]["phase"]) == (2, "Pending")


async def test_a_finalizer_keeps_an_object_until_it_is_taken_off(place: Place) -> None:
    cluster, namespace = place
    body = job(namespace)
    name = body["metadata"]["name"]
    made = await cluster.create(FINE_TUNE_JOBS, body)
    uid = made["metadata"]["uid"]
    held = await cluster.patch(FINE_TUNE_JOBS, namespace, name, {"metadata": {"finalizers": ["graft.dev/finalizer"]}})
    await cluster.delete(FINE_TUNE_JOBS, namespace, name, uid=uid)
    going = await cluster.get(FINE_TUNE_JOBS, namespace, name)
    assert going is not None
    assert going["metadata"]["deletionTimestamp"]
    with pytest.raises(Conflict):
        await cluster.patch(
            FINE_TUNE_JOBS, namespace, name, {"metadata": {"finalizers": []}}, resource_version=version(held)
        )
    await cluster.patch(
        FINE_TUNE_JOBS, namespace, name, {"metadata": {"finalizers": []}}, resource_version=version(going)
    )
    assert await cluster.get(FINE_TUNE_JOBS, namespace, name) is None


async def test_only_the_object_that_is_meant_is_deleted_and_none_is_success(place: Place) -> None:
    cluster, namespace = place
    made = await cluster.create(CONFIG_MAPS, config(namespace))
    uid = made["metadata"]["uid"]
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, namespace, "a", uid="00000000-0000-4000-8000-0000000000ff")
    moved = await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {"x": "1"}})
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, namespace, "a", uid=uid, resource_version=version(made))
    await cluster.delete(CONFIG_MAPS, namespace, "a", uid=uid, resource_version=version(moved), grace_s=0)
    await cluster.delete(CONFIG_MAPS, namespace, "a", uid=uid)
    assert await cluster.get(CONFIG_MAPS, namespace, "a") is None


async def test_lists_go_by_labels_and_say_what_their_items_are(place: Place) -> None:
    cluster, namespace = place
    for name, labels in (("a", {"graft.dev/uid": "u"}), ("b", {"graft.dev/uid": "v"}), ("c", {})):
        body = config(namespace, name)
        body["metadata"]["labels"] = labels
        await cluster.create(CONFIG_MAPS, body)
    one = await cluster.list(CONFIG_MAPS, namespace, {"graft.dev/uid": "u"})
    assert [(found["kind"], found["metadata"]["name"]) for found in one] == [("ConfigMap", "a")]
    assert len(await cluster.list(CONFIG_MAPS, namespace, {"graft.dev/uid": ""})) == 2
    pages = [page async for page in cluster.walk(CONFIG_MAPS, "", {"graft.dev/uid": ""})]
    walked = [found for page in pages for found in page if found["metadata"]["namespace"] == namespace]
    assert [(found["kind"], found["metadata"]["name"]) for found in walked] == [("ConfigMap", "a"), ("ConfigMap", "b")]
    assert all("data" not in found and found["metadata"]["uid"] for found in walked)


async def test_what_is_not_served_is_told_apart(place: Place) -> None:
    cluster, namespace = place
    assert await cluster.serves(FINE_TUNE_JOBS)
    assert await cluster.serves(MODEL_RELEASES)
    assert not await cluster.serves(WORKLOADS)
    assert await cluster.list(WORKLOADS, namespace, {}) == []
    assert await cluster.get(WORKLOADS, namespace, "a") is None
    with pytest.raises(InvalidInput):
        await cluster.create(
            WORKLOADS,
            {
                "apiVersion": "kueue.x-k8s.io/v1beta1",
                "kind": "Workload",
                "metadata": {"name": "a", "namespace": namespace},
            },
        )


@pytest.mark.parametrize("name", ["UPPER", "a_b", "-a"])
async def test_a_bad_name_is_invalid_input(place: Place, name: str) -> None:
    cluster, namespace = place
    with pytest.raises(InvalidInput):
        await cluster.create(CONFIG_MAPS, config(namespace, name))


async def test_one_of_many_leads_and_the_lease_is_taken_over_when_it_is_given_back(place: Place) -> None:
    cluster, namespace = place
    clock = SystemClock()

    def contender(name: str) -> Election:
        fence = Fence(clock, Timing())
        return Election(cluster, fence, clock, namespace=namespace, name="graft", identity=name, timing=Timing())

    contenders = [contender(f"replica-{number}") for number in range(4)]
    await asyncio.gather(*(one.look() for one in contenders), return_exceptions=True)
    leading = [one for one in contenders if one.is_leading]
    assert len(leading) == 1
    assert await leading[0].look() is Step.RENEW
    await leading[0].release()
    assert not leading[0].is_leading
    others = [one for one in contenders if one is not leading[0]]
    await asyncio.gather(*(one.look() for one in others), return_exceptions=True)
    assert sum(one.is_leading for one in others) == 1
    lease = await cluster.get(LEASES, namespace, "graft")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] >= 1
    assert lease["spec"]["leaseDurationSeconds"] == 15


@pytest.mark.cluster
async def test_a_field_that_the_server_does_not_know_is_refused_and_named(
    control_plane: "ControlPlane", namespace: str
) -> None:
    clock = SystemClock()
    source = CredentialSource({}, kubeconfig=control_plane.kubeconfig)
    cluster = KubernetesCluster(Transport(source, clock), clock)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"template": template, "novelty": 1},
    }
    try:
        for write in (cluster.create, cluster.apply):
            with pytest.raises(InvalidInput, match="novelty"):
                await write(JOBS, body)
    finally:
        await cluster.close()
