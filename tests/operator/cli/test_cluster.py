"""Each command on the double of a cluster, and each way in which a cluster says no."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from graft_core.api.v1alpha1.names import LABEL_REVISION, LABEL_ROLE, LABEL_UID
from graft_operator.cli.kube.logs import PREDICTOR, RANK
from graft_operator.ports import EVENTS, FINE_TUNE_JOBS, MODEL_RELEASES, PODS
from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import a_job, a_release
from tests.operator.cli.served_cluster import ServedCluster, status

pytestmark = pytest.mark.loopback

Json = dict[str, Any]


def write(folder: Path, *documents: Json) -> Path:
    path = folder / "objects.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_apply_checks_all_then_writes_all_as_its_field_manager(
    kubectl: Graft, cluster: ServedCluster, tmp_path: Path
) -> None:
    ran = kubectl("apply", "-f", write(tmp_path, a_job(), a_release()))

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "finetunejob.graft.dev/texts created\nmodelrelease.graft.dev/shop created\n"
    asked = [(method, query.get("dryRun"), query.get("fieldManager")) for method, _, query in cluster.double.requests]
    reads, dry, wet = ("GET", None, None), ("PATCH", "All", "graft-cli"), ("PATCH", None, "graft-cli")
    assert asked == [reads, dry, reads, dry, wet, wet]
    assert cluster.find(MODEL_RELEASES, "shop")["metadata"]["namespace"] == "ml"
    assert {headers["Authorization"] for headers in cluster.double.headers} == {"Bearer canary-30f7"}


def test_apply_says_what_changed(kubectl: Graft, cluster: ServedCluster, tmp_path: Path) -> None:
    kubectl("apply", "-f", write(tmp_path, a_release()))

    assert kubectl("apply", "-f", write(tmp_path, a_release())).out == "modelrelease.graft.dev/shop unchanged\n"
    changed = write(tmp_path, a_release(attempt=2))
    assert kubectl("apply", "-f", changed, "--dry-run").out == "modelrelease.graft.dev/shop configured (dry run)\n"
    assert "attempt" not in cluster.find(MODEL_RELEASES, "shop")["spec"]
    assert kubectl("apply", "-f", changed).out == "modelrelease.graft.dev/shop configured\n"


def test_a_client_dry_run_asks_no_server(kubectl: Graft, cluster: ServedCluster, tmp_path: Path) -> None:
    good = kubectl("apply", "-f", write(tmp_path, a_release()), "--dry-run=client")
    bad = kubectl("apply", "-f", write(tmp_path, a_release(attempt=-1)), "--dry-run=client")

    assert (good.code, good.out) == (0, "modelrelease.graft.dev/shop is valid (client dry run)\n")
    assert (bad.code, "not valid: " in bad.err, "spec.attempt" in bad.err) == (1, True, True)
    assert cluster.double.requests == []


def test_a_file_that_came_from_a_server_goes_back(kubectl: Graft, cluster: ServedCluster, tmp_path: Path) -> None:
    cluster.add(MODEL_RELEASES, {**a_release(), "status": {"phase": "Released"}})
    path = tmp_path / "out.yaml"
    path.write_text(kubectl("get", "mr/shop", "-o", "yaml").out)

    ran = kubectl("apply", "-f", path)

    assert (ran.code, ran.out) == (0, "modelrelease.graft.dev/shop unchanged\n")
    assert "status is Graft's to write" in ran.err


CAUSES = [
    {"field": "spec.training.epochs", "message": "Invalid value: -1: must be at least 1"},
    {"field": "spec", "message": "Invalid value: everything but suspend is immutable"},
    {"field": "spec.training.epochs", "message": "Invalid value: -1: must be at least 1"},
]
TYPED = "failed to create typed patch object (ml/shop; graft.dev/v1alpha1, Kind=ModelRelease): "
INVALID = status(422, "Invalid", "FineTuneJob is invalid", name="texts", causes=CAUSES)
POLICY = "ValidatingAdmissionPolicy 'graft' with binding 'graft' denied request: licence 'x' is not allowed"


@pytest.mark.parametrize(
    ("code", "body", "told"),
    [
        (422, INVALID, ["spec.training.epochs: Invalid value: -1", "spec: Invalid value: everything"]),
        (422, status(422, "Invalid", POLICY), [POLICY]),
        (403, status(403, "Forbidden", "user cannot patch resource"), ["user cannot patch resource"]),
        (404, status(404, "NotFound", 'namespaces "ml" not found', name="ml", kind="namespaces"), ['namespaces "ml"']),
        (
            500,
            status(500, "InternalError", TYPED + ".spec.wat: field not declared in schema"),
            ["spec.wat: field not declared in schema"],
        ),
        (
            500,
            status(
                500, "InternalError", TYPED + "errors:\n  .spec.a: expected string, got 1\n  .spec.b.c: expected map\n"
            ),
            ["spec.a: expected string, got 1", "spec.b.c: expected map"],
        ),
        (
            400,
            status(400, "BadRequest", 'strict decoding error: unknown field "spec.wat"'),
            ["spec.wat: unknown field"],
        ),
    ],
)
def test_each_fault_is_named_with_file_object_and_field_and_nothing_is_written(
    kubectl: Graft, cluster: ServedCluster, tmp_path: Path, code: int, body: Json, told: list[str]
) -> None:
    cluster.double.canned = [("PATCH", "/texts", code, body)]

    ran = kubectl("apply", "-f", write(tmp_path, a_job(), a_release()))

    assert ran.code == 1
    for one in told:
        assert f"objects.yaml, document 1: FineTuneJob/texts: {one}" in ran.err
    assert ran.err.count("FineTuneJob/texts") == len(told)
    assert ran.err.startswith(f"error: nothing was changed{':' if len(told) == 1 else f'; {len(told)} faults:'}")
    assert cluster.double.kube.writes == []


def conflict(*managers: str) -> Json:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{one}" using graft.dev/v1alpha1',
            "field": ".spec.abort",
        }
        for one in managers
    ]
    return status(409, "Conflict", f"Apply failed with {len(causes)} conflict: many words", causes=causes)


def test_a_conflict_names_field_manager_and_way_out(kubectl: Graft, cluster: ServedCluster, tmp_path: Path) -> None:
    cluster.double.canned = [("PATCH", "/shop", 409, conflict("argocd"))]

    ran = kubectl("apply", "-f", write(tmp_path, a_release()))

    assert ran.code == 1
    assert ran.err == (
        "error: ModelRelease/shop: Apply failed with 1 conflict; others manage these fields:\n"
        '  .spec.abort: conflict with "argocd" using graft.dev/v1alpha1\n'
        "Leave them out of the file, give them the value they have, or take them over with --force-conflicts.\n"
    )
    assert kubectl("apply", "-f", write(tmp_path, a_release()), "--force-conflicts").code == 0
    assert cluster.double.requests[-1][2]["force"] == "true"


def test_what_our_own_verb_has_set_is_set_back(kubectl: Graft, cluster: ServedCluster, tmp_path: Path) -> None:
    found = cluster.add(MODEL_RELEASES, a_release(abort=True))
    held = {"manager": "graft-cli", "operation": "Update", "fieldsV1": {"f:spec": {"f:abort": {}}}}
    found["metadata"]["managedFields"] = [held, {**held, "subresource": "status"}]
    cluster.double.canned = [("GET", "/shop", 200, found), ("PATCH", "/shop", 409, conflict("graft-cli"))]

    ran = kubectl("apply", "-f", write(tmp_path, a_release()))

    assert (ran.code, ran.out) == (0, "modelrelease.graft.dev/shop configured\n")
    assert cluster.find(MODEL_RELEASES, "shop")["spec"]["abort"] is False


def test_objects_are_listed_page_by_page(kubectl: Graft, cluster: ServedCluster) -> None:
    cluster.double.page = 2
    for number in range(5):
        cluster.add(FINE_TUNE_JOBS, a_job(f"job-{number}"))

    ran = kubectl("get", "ftj")

    assert [line.split()[0] for line in ran.out.splitlines()] == ["NAME", *(f"job-{n}" for n in range(5))]
    assert [query.get("continue") for _, _, query in cluster.double.requests] == [None, "2", "4"]


def test_get_shows_what_the_local_one_shows(kubectl: Graft, cluster: ServedCluster) -> None:
    cluster.add(FINE_TUNE_JOBS, {**a_job(), "status": {"phase": "Training"}})
    cluster.add(MODEL_RELEASES, a_release())

    assert kubectl("get", "ftj").out.splitlines()[1].split()[:2] == ["texts", "Training"]
    assert kubectl("get", "all", "-o", "name").out == "finetunejob.graft.dev/texts\nmodelrelease.graft.dev/shop\n"
    assert kubectl("get", "-A").out.splitlines()[1].split()[:2] == ["ml", "texts"]
    assert kubectl("get", "mr", "-n", "other").err == "No resources found in namespace other.\n"
    assert json.loads(kubectl("get", "ftj/texts", "-o", "json").out)["kind"] == "FineTuneJob"
    assert cluster.double.requests[-1][2]["fieldSelector"] == "metadata.name=texts"


def test_a_wait_goes_through_bookmarks_ends_and_versions_that_are_too_old(
    kubectl: Graft, cluster: ServedCluster
) -> None:
    cluster.add(MODEL_RELEASES, a_release())
    bookmark = {
        "type": "BOOKMARK",
        "object": {"kind": "ModelRelease", "metadata": {"namespace": "ml", "resourceVersion": "1"}},
    }

    def trouble() -> None:
        cluster.double.inject(MODEL_RELEASES, json.dumps(bookmark).encode() + b"\n")
        cluster.double.mute(MODEL_RELEASES)
        cluster.kube.set_status(MODEL_RELEASES, "ml", "shop", {"phase": "Released"})
        cluster.double.mute(MODEL_RELEASES, is_muted=False)
        cluster.double.expire(MODEL_RELEASES)

    cluster.when_watched(lambda: cluster.double.cut(MODEL_RELEASES), trouble)

    ran = kubectl("wait", "mr/shop", "--for=jsonpath={.status.phase}=Released", "--timeout=15s")

    assert (ran.code, ran.out, ran.err) == (0, "modelrelease.graft.dev/shop condition met\n", "")
    watches = [query for _, _, query in cluster.double.requests if query.get("watch")]
    assert len(watches) >= 2
    assert watches[0]["allowWatchBookmarks"] == "true"


def test_an_end_that_the_watch_missed_is_still_seen(kubectl: Graft, cluster: ServedCluster) -> None:
    cluster.add(MODEL_RELEASES, a_release())

    def vanish() -> None:
        cluster.double.mute(MODEL_RELEASES)
        cluster.kube.remove(MODEL_RELEASES, "ml", "shop")
        cluster.double.mute(MODEL_RELEASES, is_muted=False)
        cluster.double.expire(MODEL_RELEASES)

    cluster.when_watched(vanish)

    assert kubectl("wait", "mr/shop", "--for=delete", "--timeout=10s").code == 0


def test_a_server_that_stays_away_ends_the_wait(
    kubectl: Graft, cluster: ServedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft_operator.cli.kube.watch.FIRST_PAUSE_S", 0.01)
    cluster.add(MODEL_RELEASES, a_release())

    def away() -> None:
        answer = status(503, "ServiceUnavailable", "etcd is away")
        busy = status(429, "TooManyRequests", "storage is (re)initializing")
        refused = [("GET", "/modelreleases", 503, answer)] * 5
        cluster.double.canned = [*[("GET", "/modelreleases", 429, busy)] * 3, *refused, refused[0]]
        cluster.double.cut(MODEL_RELEASES)

    cluster.when_watched(away)

    ran = kubectl("wait", "mr/shop", "--for=delete", "--timeout=10s")

    assert ran.code == 1
    assert "answered 503: etcd is away; try again" in ran.err


def test_describe_asks_for_this_objects_events(kubectl: Graft, cluster: ServedCluster) -> None:
    uid = cluster.add(MODEL_RELEASES, a_release())["metadata"]["uid"]
    about = {"kind": "ModelRelease", "name": "shop"}
    later = {"eventTime": "2026-01-31T09:00:00.123456Z", "reason": "Later", "message": "two", "type": "Normal"}
    cluster.add(EVENTS, {"metadata": {"name": "b"}, "involvedObject": {**about, "uid": uid}, **later})
    first = {"lastTimestamp": "2026-01-31T08:00:00Z", "firstTimestamp": "2026-01-31T07:00:00Z", "count": 3}
    told = {"reason": "First", "message": "one", "type": "Warning"}
    cluster.add(EVENTS, {"metadata": {"name": "a"}, "involvedObject": {**about, "uid": uid}, **first, **told})
    cluster.add(EVENTS, {"metadata": {"name": "c"}, "involvedObject": {**about, "uid": "x"}, **told, "reason": "Old"})

    out = kubectl("describe", "mr/shop").out

    events = out.partition("Events:")[2]
    assert [line.split()[:2] for line in events.splitlines()[2:]] == [["Warning", "First"], ["Normal", "Later"]]
    assert "(x3 over" in events


def a_pod(name: str, owner: Json, role: str, *containers: str, at: str = "09:00", **labels: str) -> Json:
    meta = {"name": name, "labels": {LABEL_UID: owner["metadata"]["uid"], LABEL_ROLE: role, **labels}}
    return {
        "metadata": {**meta, "annotations": {"at": at}},
        "spec": {"containers": [{"name": one} for one in containers], "initContainers": [{"name": "fetch"}]},
    }


@pytest.mark.parametrize(
    ("words", "asked", "told"),
    [
        ([], {"container": "trainer"}, b"trained\n"),
        (["--role", "check"], {"container": "trainer"}, b"checked\n"),
        (
            ["-c", "fetch", "--tail", "5", "-p"],
            {"container": "fetch", "tailLines": "5", "previous": "true"},
            b"trained\n",
        ),
        (["-f"], {"container": "trainer", "follow": "true"}, b"trained\n"),
    ],
)
def test_the_log_of_a_job_is_that_of_its_newest_pod(
    kubectl: Graft, cluster: ServedCluster, words: list[str], asked: Json, told: bytes
) -> None:
    job = cluster.add(FINE_TUNE_JOBS, a_job())
    cluster.add(PODS, a_pod("check-1", job, "check", "trainer"))
    cluster.kube.now = "2026-01-31T10:00:00Z"
    cluster.add(PODS, a_pod("train-1", job, "train", "trainer", **{RANK: "1"}))
    cluster.add(PODS, a_pod("train-0", job, "train", "trainer", **{RANK: "0"}))
    cluster.double.logs = {"check-1": b"checked\n", "train-0": b"trained\n", "train-1": b"the other node\n"}

    ran = kubectl("logs", "ftj/texts", *words)

    assert (ran.code, ran.out.encode()) == (0, told), ran.err
    assert cluster.double.requests[-1][2] == asked
    assert ("found 3 pods, using pod/train-0" in ran.err) == (told == b"trained\n")


def test_the_log_of_a_release_is_that_of_its_newest_revision(kubectl: Graft, cluster: ServedCluster) -> None:
    body = {**a_release(), "status": {"stable": {"revision": "aaa"}, "candidate": {"revision": "bbb"}}}
    release = cluster.add(MODEL_RELEASES, body)
    for name, revision in (("old", "aaa"), ("new", "bbb")):
        cluster.add(PODS, a_pod(name, release, "predictor", "engine", PREDICTOR, **{LABEL_REVISION: revision}))
    cluster.double.logs = {"old": b"old\n", "new": b"new\n"}

    assert kubectl("logs", "mr/shop").out == "new\n"
    assert cluster.double.requests[-1][2] == {"container": PREDICTOR}
    assert kubectl("logs", "mr/shop", "--revision", "aaa").out == "old\n"
    assert (
        "no container 'x'; expected one of engine, kserve-container, fetch" in kubectl("logs", "mr/shop", "-c", "x").err
    )
    assert kubectl("logs", "mr/shop", "--revision", "ccc").err == (
        "error: no pod of modelrelease/shop (ccc) is there, so there is no log;"
        " `graft describe modelrelease/shop` says what it waits for\n"
    )


def test_following_waits_for_the_container(
    kubectl: Graft, cluster: ServedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft_operator.cli.kube.logs.POLL_S", 0.01)
    job = cluster.add(FINE_TUNE_JOBS, a_job())
    cluster.add(PODS, a_pod("train-0", job, "train", "trainer"))
    cluster.double.logs = {"train-0": b"trained\n"}
    creating = 'container "trainer" in pod "train-0" is waiting to start: ContainerCreating'
    pulling = creating.replace("ContainerCreating", "trying and failing to pull image")
    not_yet = ("GET", "/log", 400, status(400, "BadRequest", creating))
    cluster.double.canned = [not_yet, not_yet]

    assert kubectl("logs", "ftj/texts", "-f").out == "trained\n"
    cluster.double.canned = [not_yet]
    assert kubectl("logs", "ftj/texts").err == f"error: {creating}\n"
    cluster.double.canned = [("GET", "/log", 400, status(400, "BadRequest", pulling))]
    assert kubectl("logs", "ftj/texts", "-f").err == f"error: {pulling}\n"


def test_the_verbs_set_their_field_alone(kubectl: Graft, cluster: ServedCluster) -> None:
    cluster.add(FINE_TUNE_JOBS, a_job())
    entry = {"outcome": "Promoted"}
    history = [{"revision": "aaa", **entry}, {"revision": "bbb", **entry}]
    arms = {"stable": {"revision": "bbb"}, "candidate": {"revision": "ccc", "step": 1}}
    cluster.add(MODEL_RELEASES, {**a_release(), "status": {**arms, "history": history}})

    for words in (["suspend", "ftj/texts"], ["suspend", "mr/shop"], ["promote", "shop"], ["abort", "shop"]):
        assert kubectl(*words).code == 0
    assert kubectl("rollback", "shop").out == "modelrelease.graft.dev/shop rolling back to aaa\n"

    bodies = [write.body["spec"] for write in cluster.kube.writes]
    assert bodies == [{"suspend": True}, {"paused": True}, {"paused": False}, {"abort": True}, {"rollbackTo": "aaa"}]
    assert {query["fieldManager"] for method, _, query in cluster.double.requests if method == "PATCH"} == {"graft-cli"}
    assert kubectl("suspend", "ftj/texts").out == "finetunejob.graft.dev/texts is already suspended\n"
    assert kubectl("resume", "ftj/texts").out == "finetunejob.graft.dev/texts resumed\n"


def test_a_verb_reads_again_what_changed_in_between(kubectl: Graft, cluster: ServedCluster) -> None:
    cluster.add(FINE_TUNE_JOBS, a_job())
    cluster.double.canned = [("PATCH", "/texts", 409, status(409, "Conflict", "the object has been modified"))]

    assert kubectl("suspend", "ftj/texts").code == 0
    assert cluster.find(FINE_TUNE_JOBS, "texts")["spec"]["suspend"] is True


def test_deleting_takes_what_is_owned_along_and_waits(kubectl: Graft, cluster: ServedCluster, tmp_path: Path) -> None:
    cluster.add(FINE_TUNE_JOBS, a_job())
    held = a_release()
    held["metadata"]["finalizers"] = ["graft.dev/finalizer"]
    cluster.add(MODEL_RELEASES, held)
    free = {"metadata": {"finalizers": None}}
    cluster.later(lambda: cluster.kube.edit(MODEL_RELEASES, "ml", "shop", free), 0.3)

    ran = kubectl("delete", "-f", write(tmp_path, a_job(), a_release()))

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == 'finetunejob.graft.dev "texts" deleted\nmodelrelease.graft.dev "shop" deleted\n'
    assert kubectl("delete", "mr/shop").err == 'error: modelreleases.graft.dev "shop" not found\n'
