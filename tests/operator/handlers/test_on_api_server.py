"""The operator on a real API server: rows of the fault list that are about leaders, outages and rights."""

import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest

from tests.operator.handlers.on_api_server import (
    RULES,
    a_job,
    checks_of,
    operator_process,
    status_of,
    writes_of,
)

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane

pytestmark = pytest.mark.cluster


def plane_with_crds(own_plane: "StartPlane") -> "ControlPlane":
    from tests.cluster.crds import install, our_crds

    plane = own_plane(audit=True)
    install(plane.api, our_crds())
    return plane


def test_a_job_gets_its_check_and_goes_when_it_is_deleted(
    control_plane: "ControlPlane", namespace: str, tmp_path: Path
) -> None:
    from tests.cluster.processes import until

    api = control_plane.api
    api.create(a_job(namespace, "one"))
    with operator_process(control_plane.access, tmp_path, "replica") as operator:
        until(lambda: checks_of(api, namespace) == ["one"], 60, "the check")
        until(lambda: status_of(api, namespace, "one").get("Accepted", {}).get("status") == "True", 20, "the status")
        found = api.get("graft.dev/v1alpha1", "FineTuneJob", namespace, "one")
        assert found["metadata"]["finalizers"] == ["graft.dev/finalizer"]
        managers = {entry["manager"] for entry in found["metadata"]["managedFields"]}
        assert "graft" in managers
        assert not any("kopf" in manager for manager in managers)
        api.delete(found)
        gone = "the deletion"
        until(lambda: api.find("graft.dev/v1alpha1", "FineTuneJob", namespace, "one") is None, 40, gone)
        assert checks_of(api, namespace) == []
        assert "Traceback" not in operator.log


def test_row_15_and_16_two_replicas_one_writer_and_a_frozen_leader_sends_nothing(
    own_plane: "StartPlane", tmp_path: Path
) -> None:
    from tests.cluster.processes import until
    from tests.cluster.tenants import make_namespace, make_user

    plane = plane_with_crds(own_plane)
    api, namespace = plane.api, make_namespace(plane.api)
    users = {name: make_user(api, "default", name, RULES, cluster_wide=True) for name in ("red", "blue")}

    def leader() -> str:
        lease = api.find("coordination.k8s.io/v1", "Lease", "default", "graft-operator")
        return str((lease or {}).get("spec", {}).get("holderIdentity", "")).partition("_")[0]

    with (
        operator_process(users["red"], tmp_path, "red") as red,
        operator_process(users["blue"], tmp_path, "blue") as blue,
    ):
        until(lambda: leader() in users, 60, "a leader")
        first = leader()
        second = "blue" if first == "red" else "red"
        frozen = red if first == "red" else blue
        for number in range(10):
            api.create(a_job(namespace, f"early-{number}"))
        until(lambda: len(checks_of(api, namespace)) == 10, 60, "ten checks")
        assert writes_of(plane, second) == []

        frozen.send(signal.SIGSTOP)
        for number in range(10):
            api.create(a_job(namespace, f"late-{number}"))
        until(lambda: leader() == second, 60, "the other leader")
        until(lambda: len(checks_of(api, namespace)) == 20, 60, "twenty checks")
        before = len(writes_of(plane, first))
        frozen.send(signal.SIGCONT)
        for number in range(10):
            api.create(a_job(namespace, f"after-{number}"))
        until(lambda: len(checks_of(api, namespace)) == 30, 60, "thirty checks")
        Event().wait(3)  # what must not come has its time to come
        assert len(writes_of(plane, first)) == before
        assert leader() == second
    assert len(set(checks_of(api, namespace))) == 30


def test_row_4_an_api_server_that_goes_and_comes_is_outlived_and_nothing_is_made_twice(
    own_plane: "StartPlane", tmp_path: Path
) -> None:
    from tests.cluster.processes import until
    from tests.cluster.tenants import make_namespace

    plane = plane_with_crds(own_plane)
    namespace = make_namespace(plane.api)
    plane.api.create(a_job(namespace, "before"))
    with operator_process(plane.access, tmp_path, "replica") as operator:
        until(lambda: checks_of(plane.api, namespace) == ["before"], 60, "the check")
        plane.processes.kill("kube-apiserver")
        Event().wait(14)  # longer than the fence is open
        plane.start_apiserver()
        plane.api.create(a_job(namespace, "after"))
        until(lambda: checks_of(plane.api, namespace) == ["after", "before"], 30, "both checks")
        assert operator.process.poll() is None


def test_row_10_a_namespace_without_rights_is_degraded_and_others_work(
    control_plane: "ControlPlane", namespace: str, tmp_path: Path
) -> None:
    from tests.cluster.processes import until
    from tests.cluster.tenants import make_namespace, make_user

    api = control_plane.api
    closed = make_namespace(api)
    everywhere = [rule for rule in RULES if rule["resources"] != ["configmaps"]]
    everywhere.append({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]})
    user = make_user(api, namespace, "narrow", everywhere, cluster_wide=True)
    make_user(api, namespace, "narrow", [rule for rule in RULES if rule["resources"] == ["configmaps"]])
    api.create(a_job(closed, "refused"))
    api.create(a_job(namespace, "served"))
    with operator_process(user, tmp_path, "narrow", GRAFT_LEASE_NAME=f"row-10-{namespace}") as operator:
        until(lambda: checks_of(api, namespace) == ["served"], 60, "the check")
        until(lambda: status_of(api, closed, "refused").get("Degraded", {}).get("status") == "True", 30, "the reason")
        told = status_of(api, closed, "refused")["Degraded"]
        assert told["reason"] == "Forbidden"
        assert "configmaps" in told["message"]
        assert operator.process.poll() is None
