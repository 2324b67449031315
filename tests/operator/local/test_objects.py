"""The object store keeps Kubernetes' habits."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from graft_core.errors import Conflict
from graft_operator.local.admission import admit
from graft_operator.local.database import Database
from graft_operator.local.documents import ObjectKey, to_key
from graft_operator.local.faults import AlreadyExists, Expired, Invalid, NotFound, TooLarge
from graft_operator.local.objects import ObjectStore
from tests.operator.local.doubles import ManualClock, a_job, a_release

KEY = ObjectKey("FineTuneJob", "default", "texts")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "objects.db")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> ObjectStore:
    return ObjectStore(database, ManualClock(), admit)


def with_meta(body: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], **meta}}


def test_a_new_object_gets_what_the_server_sets_and_its_defaults(store: ObjectStore) -> None:
    forged = with_meta(a_job(), uid="mine", generation=7, finalizers=[], deletionTimestamp="2020-01-01T00:00:00Z")
    stored = store.create({**forged, "status": {"phase": "Succeeded"}})
    meta = stored["metadata"]
    assert meta["uid"] not in {"", "mine"}
    assert meta["generation"] == 1
    assert meta["finalizers"] == ["graft.dev/finalizer"]
    assert meta["creationTimestamp"] == "2026-01-01T00:00:00.000000Z"
    assert "deletionTimestamp" not in meta
    assert stored["status"] == {}
    assert stored["spec"]["runtime"]["maxRestarts"] == 3
    assert store.get(KEY) == stored


def test_a_name_can_be_taken_once(store: ObjectStore) -> None:
    store.create(a_job())
    with pytest.raises(AlreadyExists, match="texts"):
        store.create(a_job())


def test_generation_counts_changes_of_spec_only(store: ObjectStore) -> None:
    first = store.create(a_job())
    labelled = store.update(with_meta(first, labels={"team": "nlp"}))
    changed = store.update({**labelled, "spec": {**labelled["spec"], "suspend": True}})
    assert [o["metadata"]["generation"] for o in (first, labelled, changed)] == [1, 1, 2]
    revisions = [int(o["metadata"]["resourceVersion"]) for o in (first, labelled, changed)]
    assert revisions == sorted(set(revisions))


def test_status_is_written_apart_and_raises_no_generation(store: ObjectStore) -> None:
    first = store.create(a_job())
    uid = first["metadata"]["uid"]
    written = store.update_status(KEY, uid, {"phase": "Training"})
    assert written["metadata"]["generation"] == 1
    kept = store.update({**written, "status": {"phase": "Succeeded"}, "spec": {**written["spec"], "suspend": True}})
    assert kept["status"] == {"phase": "Training"}
    with pytest.raises(Conflict):
        store.update_status(KEY, "another-uid", {})
    with pytest.raises(Conflict):
        store.update_status(KEY, uid, {}, revision=first["metadata"]["resourceVersion"])


def test_an_update_names_the_version_it_was_made_from(store: ObjectStore) -> None:
    first = store.create(a_job())
    store.update(with_meta(first, labels={"a": "b"}))
    with pytest.raises(Conflict, match="read it again"):
        store.update(with_meta(first, labels={"a": "c"}))
    with pytest.raises(Invalid, match=r"metadata\.resourceVersion"):
        store.update(with_meta(first, resourceVersion=""))


def test_an_update_that_changes_nothing_writes_nothing(store: ObjectStore, database: Database) -> None:
    first = store.create(a_job())
    before = database.revision()
    assert store.update(first) == first
    assert database.revision() == before


def test_an_immutable_field_stays(store: ObjectStore) -> None:
    first = store.create(a_job())
    with pytest.raises(Invalid, match="dataset is immutable"):
        store.update({**first, "spec": {**first["spec"], "dataset": {"train": ["file:///data/other.jsonl"]}}})


def test_a_deleted_object_waits_for_its_finalizer(store: ObjectStore) -> None:
    uid = store.create(a_job())["metadata"]["uid"]
    going = store.delete(KEY)
    assert going["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00.000000Z"
    assert store.delete(KEY)["metadata"] == going["metadata"]
    with pytest.raises(Conflict, match="being deleted"):
        store.update({**going, "spec": {**going["spec"], "suspend": True}})
    store.add_finalizer(KEY, uid)
    store.remove_finalizer(KEY, uid)
    with pytest.raises(NotFound, match=r'finetunejobs\.graft\.dev "texts" not found'):
        store.get(KEY)
    assert store.create(a_job())["metadata"]["uid"] != uid


def test_a_finalizer_comes_and_goes_with_its_object_alive(store: ObjectStore) -> None:
    uid = store.create(a_job())["metadata"]["uid"]
    store.remove_finalizer(KEY, uid)
    assert store.get(KEY)["metadata"]["finalizers"] == []
    store.add_finalizer(KEY, uid)
    assert store.get(KEY)["metadata"]["finalizers"] == ["graft.dev/finalizer"]
    store.remove_finalizer(KEY, uid)
    store.delete(KEY)
    assert store.find(KEY) is None


def test_apply_creates_configures_and_leaves_alone(store: ObjectStore) -> None:
    labelled = with_meta(a_job(), labels={"a": "1"})
    assert [r.outcome for r in store.apply([labelled, a_release()])] == ["created", "created"]
    assert [r.outcome for r in store.apply([labelled, a_release()])] == ["unchanged", "unchanged"]
    assert [r.outcome for r in store.apply([a_job(suspend=True), a_release(paused=True)])] == [
        "configured",
        "configured",
    ]
    assert store.get(KEY)["metadata"]["labels"] == {"a": "1"}
    assert [r.outcome for r in store.apply([with_meta(a_job(suspend=True), labels={"b": "2"})])] == ["configured"]
    assert store.get(KEY)["metadata"]["labels"] == {"a": "1", "b": "2"}


def test_apply_of_one_bad_document_changes_nothing_and_names_every_fault(
    store: ObjectStore, database: Database
) -> None:
    bad = a_job("bad", method={"objective": "classification", "adapter": {"type": "lora", "r": 0}})
    worse = a_release("worse", model={})
    with pytest.raises(Invalid) as refused:
        store.apply([a_job("good"), bad, worse])
    assert "FineTuneJob/bad: spec.method.adapter.r" in str(refused.value)
    assert "ModelRelease/worse: spec.model" in str(refused.value)
    assert database.revision() == 0


def test_a_dry_run_says_what_would_be_and_writes_nothing(store: ObjectStore, database: Database) -> None:
    assert [r.outcome for r in store.apply([a_job()], dry_run=True)] == ["created"]
    store.create(a_job())
    before = database.revision()
    assert [r.outcome for r in store.apply([a_job(suspend=True)], dry_run=True)] == ["configured"]
    assert store.delete(KEY, dry_run=True)["metadata"].get("deletionTimestamp") is None
    assert database.revision() == before


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"kind": "Pod", "metadata": {"name": "x"}}, "kind: 'Pod' is not known"),
        ({"kind": "FineTuneJob", "metadata": {}}, "metadata.name: None is not a name"),
        ({"kind": "FineTuneJob", "metadata": "x"}, "metadata.name: None is not a name"),
        (with_meta(a_job(), labels={"a": 1}), "metadata.labels: expected a map of strings to strings"),
        (with_meta(a_job(), annotations={"a": "x" * 300_000}), "metadata.annotations"),
    ],
)
def test_a_document_that_is_no_object_is_refused_by_field(
    store: ObjectStore, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        store.create(body)
    assert message in str(refused.value)


def test_an_object_larger_than_an_api_server_takes_is_refused(store: ObjectStore) -> None:
    with pytest.raises(TooLarge, match="expected at most"):
        store.create(a_job(task={"type": "classification", "system": "x" * 1_600_000}))


def test_lists_are_by_kind_and_namespace(store: ObjectStore) -> None:
    store.apply([a_job(), with_meta(a_job(), namespace="ml"), a_release()])
    assert [to_key(o).namespace for o in store.find_all("FineTuneJob")[0]] == ["default", "ml"]
    assert [to_key(o).kind for o in store.find_all(None, "default")[0]] == ["FineTuneJob", "ModelRelease"]
    assert store.find_all()[1] == 3


async def test_a_watch_sees_what_came_after_its_revision_and_only_that(store: ObjectStore) -> None:
    store.apply([a_job(), a_release()])
    uid = store.get(KEY)["metadata"]["uid"]
    store.update_status(KEY, uid, {"phase": "Training"})
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(1), aclosing(store.watch(1, kind="FineTuneJob")) as changes:
        store.delete(KEY)
        store.remove_finalizer(KEY, uid)
        async for change in changes:
            seen.append((change.type, change.object["status"].get("phase", "")))
            if change.type == "DELETED":
                break
    assert seen == [("MODIFIED", "Training"), ("MODIFIED", "Training"), ("DELETED", "Training")]


async def test_a_watch_from_before_the_restart_is_told_to_list_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "objects.db")
    ObjectStore(database, ManualClock(), admit).create(a_job())
    again = ObjectStore(database, ManualClock(), admit)
    with pytest.raises(Expired, match="list again"):
        await anext(again.watch(0))
    database.close()
