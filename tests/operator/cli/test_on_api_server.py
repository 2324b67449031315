"""`kubectl graft` on a real API server: what it says of real answers, field managers, watches, rights; no operator runs."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from graft_operator.cli.app import run
from tests.cluster.api import write_kubeconfig
from tests.cluster.controlplane import ControlPlane
from tests.cluster.tenants import make_user
from tests.core.api.objects import a_job, a_release, changed
from tests.operator.cli.conftest import Graft, Ran

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
REVISIONS = ("0123456789", "abcdefabcd")


@pytest.fixture
def kubectl(
    graft: Graft, control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Graft:
    """Run `kubectl graft` in a namespace of the test's own, which the context names."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))

    def call(*words: str | Path) -> Ran:
        return graft(*words, program="kubectl graft")

    return call


@pytest.fixture
def files(tmp_path: Path, namespace: str) -> Callable[..., Path]:
    """Write documents, without their namespace, into one file."""

    def write(*documents: Json) -> Path:
        path = tmp_path / "objects.yaml"
        bare = [
            changed(one, "metadata", {k: v for k, v in one["metadata"].items() if k != "namespace"})
            for one in documents
        ]
        path.write_text(yaml.safe_dump_all(bare))
        return path

    return write


def stored(plane: ControlPlane, namespace: str, kind: str, name: str) -> Json:
    return plane.api.get("graft.dev/v1alpha1", kind, namespace, name)


def set_status(plane: ControlPlane, obj: Json, status: Json) -> None:
    plane.api.patch(obj, {"status": status}, subresource="status")


def release_with_history(plane: ControlPlane, namespace: str, *, candidate: str = "") -> Json:
    """Make a release as it is after two promotions, maybe with a candidate."""
    at = "2026-01-31T09:00:00Z"
    release = plane.api.create(changed(a_release(), "metadata.namespace", namespace))
    entry = {"outcome": "Promoted", "reason": "Passed", "at": at}
    status: Json = {
        "phase": "Released",
        "stable": {"revision": REVISIONS[1], "weight": 100},
        "history": [{"revision": one, **entry} for one in REVISIONS],
    }
    if candidate:
        status["candidate"] = {"revision": candidate, "weight": 5, "step": 0, "since": at}
    set_status(plane, release, status)
    return release


def test_files_become_objects_and_say_how_they_changed(
    kubectl: Graft, files: Callable[..., Path], control_plane: ControlPlane, namespace: str
) -> None:
    path = files(a_job(), a_release())
    assert kubectl("apply", "-f", path, "--dry-run=server").out == (
        "finetunejob.graft.dev/rephrase-vi-7b created (dry run)\nmodelrelease.graft.dev/rephrase created (dry run)\n"
    )
    assert "No resources found in namespace" in kubectl("get").err

    first, again = kubectl("apply", "-f", path), kubectl("apply", "-f", path)
    edited = kubectl("apply", "-f", files(changed(a_job(), "metadata.labels", {"team": "search"}), a_release()))

    assert (first.code, again.code, edited.code) == (0, 0, 0), first.err
    assert first.out.split() == [
        "finetunejob.graft.dev/rephrase-vi-7b",
        "created",
        "modelrelease.graft.dev/rephrase",
        "created",
    ]
    assert again.out.split()[1::2] == ["unchanged", "unchanged"]
    assert edited.out.split()[1::2] == ["configured", "unchanged"]
    managers = stored(control_plane, namespace, "FineTuneJob", "rephrase-vi-7b")["metadata"]["managedFields"]
    assert [(one["manager"], one["operation"]) for one in managers] == [("graft-cli", "Apply")]


def test_one_bad_document_and_nothing_changes_with_every_fault_named(
    kubectl: Graft, files: Callable[..., Path]
) -> None:
    bad = changed(changed(a_job(), "spec.training", {"epochs": -1}), "metadata.name", "bad-one")
    unknown = changed(changed(a_release(), "spec.wat", 1), "metadata.name", "unknown-field")

    ran = kubectl("apply", "-f", files(a_release(), bad, unknown))

    assert ran.code == 1
    assert "nothing was changed; 2 faults:" in ran.err
    assert "FineTuneJob/bad-one: spec.training.epochs: Invalid value: -1" in ran.err
    assert "ModelRelease/unknown-field: spec.wat: field not declared in schema" in ran.err
    assert "No resources found" in kubectl("get").err


def test_what_is_immutable_is_refused_with_its_field(kubectl: Graft, files: Callable[..., Path]) -> None:
    kubectl("apply", "-f", files(a_job()))

    ran = kubectl("apply", "-f", files(changed(a_job(), "spec.method.objective", "dpo")))

    assert ran.code == 1
    assert "FineTuneJob/rephrase-vi-7b: spec" in ran.err
    assert "immutable" in ran.err or "can't change" in ran.err or "cannot change" in ran.err


def test_fields_of_another_manager_are_only_taken_by_force(
    kubectl: Graft, files: Callable[..., Path], control_plane: ControlPlane, namespace: str
) -> None:
    theirs = changed(changed(a_release(), "metadata.namespace", namespace), "spec.attempt", 3)
    control_plane.api.apply(theirs, manager="argocd")
    mine = files(changed(a_release(), "spec.attempt", 4))

    refused = kubectl("apply", "-f", mine)
    forced = kubectl("apply", "-f", mine, "--force-conflicts")

    assert refused.code == 1
    assert 'conflict with "argocd"' in refused.err
    assert ".spec.attempt" in refused.err
    assert "--force-conflicts" in refused.err
    assert (forced.code, forced.out) == (0, "modelrelease.graft.dev/rephrase configured\n")
    assert stored(control_plane, namespace, "ModelRelease", "rephrase")["spec"]["attempt"] == 4


def test_tables_and_formats_are_those_of_the_local_one(
    kubectl: Graft, files: Callable[..., Path], control_plane: ControlPlane, namespace: str
) -> None:
    kubectl("apply", "-f", files(a_job(), a_release()))
    set_status(control_plane, stored(control_plane, namespace, "FineTuneJob", "rephrase-vi-7b"), {"phase": "Training"})

    table = kubectl("get").out
    assert table.splitlines()[0].split() == ["NAME", "PHASE", "PROGRESS", "LOSS", "SCORE", "ARTIFACT", "AGE"]
    assert table.splitlines()[1].split()[:2] == ["rephrase-vi-7b", "Training"]
    assert kubectl("get", "ftj", "-o", "wide").out.splitlines()[0].split()[-2] == "MODEL"
    assert kubectl("get", "ftj,mr", "-o", "name").out.split() == [
        "finetunejob.graft.dev/rephrase-vi-7b",
        "modelrelease.graft.dev/rephrase",
    ]
    one = json.loads(kubectl("get", "ftj/rephrase-vi-7b", "-o", "json").out)
    assert (one["kind"], "managedFields" in one["metadata"]) == ("FineTuneJob", False)
    assert kubectl("get", "ftj/rephrase-vi-7b", "-o", "jsonpath={.status.phase}").out == "Training\n"
    assert namespace in kubectl("get", "mr", "-A").out
    assert yaml.safe_load(kubectl("get", "mr/rephrase", "-o", "yaml").out)["metadata"]["namespace"] == namespace


def test_what_is_not_there_is_named(kubectl: Graft, namespace: str) -> None:
    assert 'error: modelreleases.graft.dev "nothing" not found' in kubectl("get", "mr/nothing").err
    assert kubectl("describe", "mr/nothing").err == 'error: modelreleases.graft.dev "nothing" not found\n'
    assert kubectl("delete", "mr/nothing").code == 1
    assert kubectl("delete", "mr/nothing", "--ignore-not-found").code == 0


def test_a_namespace_that_is_not_there_is_named(kubectl: Graft, files: Callable[..., Path]) -> None:
    ran = kubectl("apply", "-n", "nowhere", "-f", files(a_release()))

    assert (ran.code, 'namespaces "nowhere" not found' in ran.err) == (1, True)


def test_describe_shows_the_events_of_this_object_alone(
    kubectl: Graft, files: Callable[..., Path], control_plane: ControlPlane, namespace: str
) -> None:
    kubectl("apply", "-f", files(a_release()))
    release = stored(control_plane, namespace, "ModelRelease", "rephrase")
    for name, uid, reason in (("a", release["metadata"]["uid"], "Promoted"), ("b", "another", "OfAnother")):
        involved = {
            "apiVersion": "graft.dev/v1alpha1",
            "kind": "ModelRelease",
            "name": "rephrase",
            "namespace": namespace,
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"rephrase.{name}", "namespace": namespace},
            "involvedObject": {**involved, "uid": uid},
            "reason": reason,
            "message": "all is well",
            "type": "Normal",
        }
        control_plane.api.create(event)

    out = kubectl("describe", "mr", "rephrase").out

    assert "Promoted" in out
    assert "all is well" in out
    assert "OfAnother" not in out


@pytest.mark.parametrize(
    ("words", "candidate", "field", "value", "told"),
    [
        (["suspend", "mr/rephrase"], "", "paused", True, "suspended"),
        (["abort", "rephrase"], "fedcba9876", "abort", True, "aborting fedcba9876"),
        (["rollback", "mr/rephrase"], "", "rollbackTo", REVISIONS[0], f"rolling back to {REVISIONS[0]}"),
    ],
)
def test_what_a_verb_sets_holds_until_the_file_is_applied_anew(
    kubectl: Graft,
    files: Callable[..., Path],
    control_plane: ControlPlane,
    namespace: str,
    words: list[str],
    candidate: str,
    field: str,
    value: object,
    told: str,
) -> None:
    path = files(a_release())
    release_with_history(control_plane, namespace, candidate=candidate)
    assert kubectl("apply", "-f", path, "--force-conflicts").code == 0

    ran = kubectl(*words)

    assert (ran.code, ran.out) == (0, f"modelrelease.graft.dev/rephrase {told}\n"), ran.err
    assert stored(control_plane, namespace, "ModelRelease", "rephrase")["spec"][field] == value
    again = kubectl("apply", "-f", path)
    assert (again.code, again.out) == (0, "modelrelease.graft.dev/rephrase configured\n"), again.err
    assert not stored(control_plane, namespace, "ModelRelease", "rephrase")["spec"][field]
    # The file owns the field now, and a verb still may set it.
    assert kubectl(*words).code == 0
    assert kubectl("apply", "-f", files(changed(a_release(), f"spec.{field}", type(value)()))).code == 0


def test_promote_and_resume_lift_a_pause(kubectl: Graft, control_plane: ControlPlane, namespace: str) -> None:
    release_with_history(control_plane, namespace, candidate="fedcba9876")

    assert kubectl("suspend", "mr/rephrase").code == 0
    ran = kubectl("promote", "rephrase")

    assert ran.out == "modelrelease.graft.dev/rephrase resumed: fedcba9876 goes on from step 1\n"
    assert stored(control_plane, namespace, "ModelRelease", "rephrase")["spec"]["paused"] is False


def test_waiting_ends_when_the_condition_comes(
    kubectl: Graft, files: Callable[..., Path], control_plane: ControlPlane, namespace: str
) -> None:
    kubectl("apply", "-f", files(a_job()))
    job = stored(control_plane, namespace, "FineTuneJob", "rephrase-vi-7b")
    condition = {
        "type": "Complete",
        "status": "True",
        "reason": "Published",
        "message": "",
        "lastTransitionTime": "2026-01-31T09:00:00Z",
    }
    timer = threading.Timer(0.5, set_status, (control_plane, job, {"conditions": [condition]}))
    timer.start()

    ran = kubectl("wait", "ftj/rephrase-vi-7b", "--for=condition=Complete", "--timeout=20s")
    timer.join()

    assert (ran.code, ran.out) == (0, "finetunejob.graft.dev/rephrase-vi-7b condition met\n"), ran.err
    late = kubectl("wait", "ftj/rephrase-vi-7b", "--for=condition=Failed", "--timeout=1s")
    assert (late.code, "will not meet condition Failed any more: it is Complete" in late.err) == (1, True)
    slow = kubectl("wait", "ftj/rephrase-vi-7b", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=0.2s")
    assert (
        slow.err == "error: timed out waiting for jsonpath {.status.phase}=Succeeded on finetunejobs/rephrase-vi-7b\n"
    )


def test_deleting_waits_for_the_finalizer(kubectl: Graft, control_plane: ControlPlane, namespace: str) -> None:
    body = changed(a_release(), "metadata.namespace", namespace)
    body["metadata"]["finalizers"] = ["graft.dev/finalizer"]
    made = control_plane.api.create(body)
    timer = threading.Timer(0.5, control_plane.api.patch, (made, {"metadata": {"finalizers": None}}))
    timer.start()

    ran = kubectl("delete", "mr/rephrase", "--timeout=20s")
    timer.join()

    assert (ran.code, ran.out) == (0, 'modelrelease.graft.dev "rephrase" deleted\n'), ran.err
    assert control_plane.api.find("graft.dev/v1alpha1", "ModelRelease", namespace, "rephrase") is None


def test_a_user_without_rights_is_told_which_one_is_missing(
    graft: Graft, control_plane: ControlPlane, namespace: str, tmp_path: Path, files: Callable[..., Path]
) -> None:
    rules = [{"apiGroups": ["graft.dev"], "resources": ["modelreleases"], "verbs": ["get", "list", "watch"]}]
    config = write_kubeconfig(tmp_path / "reader", make_user(control_plane.api, namespace, "reader", rules))

    listed = graft("get", "mr", "-n", namespace, "--kubeconfig", config)
    denied = graft("apply", "-n", namespace, "--kubeconfig", config, "-f", files(a_release()))

    assert listed.code == 0
    assert denied.code == 1
    assert 'cannot patch resource "modelreleases"' in denied.err


def test_a_token_that_is_not_known_is_told_apart(
    graft: Graft, control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "canary-51aa"}
    (tmp_path / "config").write_text(yaml.safe_dump(config))

    ran = graft("get", "mr", "--kubeconfig", tmp_path / "config")

    assert ran.code == 1
    assert "does not accept these credentials: Unauthorized; log in again" in ran.err
    assert "canary-51aa" not in ran.err


def test_a_cluster_without_the_definitions_says_what_to_install(
    graft: Graft, own_plane: Any, files: Callable[..., Path]
) -> None:
    plane = own_plane()
    told = "Graft's definitions are not installed there"

    for words in (["get"], ["describe", "mr/x"], ["apply", "-f", str(files(a_release()))], ["delete", "mr/x"]):
        ran = graft(*words, "--kubeconfig", plane.kubeconfig)
        assert (ran.code, told in ran.err) == (1, True), (words, ran)
    assert "Kubernetes v1." in graft("version", "--kubeconfig", plane.kubeconfig).out


def test_a_watch_outlives_the_api_server(
    own_plane: Any, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    """The server is killed and started again in the middle of a wait."""
    from tests.cluster.crds import install, our_crds

    plane = own_plane()
    install(plane.api, our_crds())
    release = plane.api.create(changed(a_release(), "metadata.namespace", "default"))
    codes: list[int] = []
    words = ["wait", "mr/rephrase", "--for=jsonpath={.status.phase}=Released", "--timeout=120s"]
    waiter = threading.Thread(
        target=lambda: codes.append(run([*words, "--kubeconfig", str(plane.kubeconfig)])), daemon=True
    )
    waiter.start()
    threading.Event().wait(1.0)
    plane.processes.kill("kube-apiserver")
    plane.start_apiserver()
    set_status(plane, release, {"phase": "Released"})
    waiter.join(120)

    assert codes == [0], capsysbinary.readouterr().err
