"""What the double of an API server promises beyond the contract it shares with the real one (test_contract.py)."""

import pytest

from graft_core.errors import Conflict, InvalidInput, NotReady
from graft_operator.ports import CONFIG_MAPS, INFERENCE_SERVICES, JOBS, PODS, Json
from tests.fakes.kube import Change, FakeKube


def config(name: str = "a", **rest: object) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ml"}, **rest}


async def test_a_fault_is_met_once_and_changes_nothing_unless_only_the_answer_is_lost() -> None:
    kube = FakeKube()
    kube.fail("create", NotReady("busy"))
    with pytest.raises(NotReady, match="busy"):
        await kube.create(CONFIG_MAPS, config())
    assert kube.find(CONFIG_MAPS, "ml", "a") is None

    kube.fail("create", NotReady("cut"), is_done=True)
    with pytest.raises(NotReady, match="cut"):
        await kube.create(CONFIG_MAPS, config())
    assert kube.find(CONFIG_MAPS, "ml", "a") is not None
    with pytest.raises(Conflict, match="already exists"):
        await kube.create(CONFIG_MAPS, config())


async def test_writes_and_changes_are_kept_in_order() -> None:
    kube = FakeKube()
    changes: list[Change] = []
    kube.subscribe(changes.append)
    made = await kube.apply(CONFIG_MAPS, config(data={"x": "1"}))
    again = await kube.apply(CONFIG_MAPS, config(data={"x": "1"}))
    await kube.delete(CONFIG_MAPS, "ml", "a", uid=made["metadata"]["uid"])
    assert again == made
    assert [write.verb for write in kube.writes] == ["apply", "apply", "delete"]
    assert [change.type for change in changes] == ["ADDED", "DELETED"]


async def test_what_is_owned_goes_with_its_owner() -> None:
    kube = FakeKube()
    job = kube.add(JOBS, {"metadata": {"name": "j", "namespace": "ml"}, "spec": {}})
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": job["metadata"]["uid"]}
    kube.add(PODS, {"metadata": {"name": "p", "namespace": "ml", "ownerReferences": [owner]}})
    kube.remove(JOBS, "ml", "j")
    assert kube.find(PODS, "ml", "p") is None


async def test_a_resource_that_is_not_served_reads_empty_and_takes_nothing() -> None:
    kube = FakeKube()
    kube.unserved.add(INFERENCE_SERVICES)
    assert not await kube.serves(INFERENCE_SERVICES)
    assert await kube.list(INFERENCE_SERVICES, "", {}) == []
    assert await kube.get(INFERENCE_SERVICES, "ml", "a") is None
    with pytest.raises(InvalidInput, match="could not find the requested resource"):
        await kube.create(INFERENCE_SERVICES, config())


async def test_a_pod_answers_what_it_was_told_to() -> None:
    kube = FakeKube()
    kube.pods["ml", "p", 9090, "/progress"] = b"{}"
    assert await kube.fetch_pod("ml", "p", 9090, "/progress") == b"{}"
    with pytest.raises(NotReady, match="does not answer"):
        await kube.fetch_pod("ml", "q", 9090, "/progress")
