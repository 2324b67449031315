"""The control plane is real, starts and stops by itself, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cluster.api import Api, ApiError
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import StartPlane
from tests.cluster.processes import clear_orphans, until
from tests.cluster.tenants import make_namespace, make_user
from tests.house import ROOT

pytestmark = pytest.mark.cluster

READ_CONFIG_MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


def a_config_map(namespace: str, name: str = "a") -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {}}


def test_the_server_is_the_kubernetes_that_is_pinned(control_plane: ControlPlane) -> None:
    assert control_plane.api.request("GET", "/version")["gitVersion"].startswith("v1.34.")


def test_an_object_is_stored_and_read_back(control_plane: ControlPlane, namespace: str) -> None:
    made = control_plane.api.create(a_config_map(namespace))

    assert control_plane.api.get("v1", "ConfigMap", namespace, "a") == made


def test_who_has_no_token_is_refused(control_plane: ControlPlane) -> None:
    with httpx.Client(verify=control_plane.access.tls(), trust_env=False) as nobody:
        assert nobody.get(f"{control_plane.server}/api/v1/namespaces").status_code == 403


def test_a_user_may_do_what_its_rules_name_and_nothing_else(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create(a_config_map(namespace))
    reader = make_user(control_plane.api, namespace, "reader", [READ_CONFIG_MAPS])

    with Api(reader) as api:
        assert len(api.list("v1", "ConfigMap", namespace)) == 1
        with pytest.raises(ApiError, match=rf"403 Forbidden: .*system:serviceaccount:{namespace}:reader"):
            api.create(a_config_map(namespace, "b"))
        with pytest.raises(ApiError, match="403"):
            api.list("v1", "ConfigMap", "default")


def test_a_user_may_be_given_rights_everywhere(control_plane: ControlPlane, namespace: str) -> None:
    reader = make_user(control_plane.api, namespace, "everywhere", [READ_CONFIG_MAPS], cluster_wide=True)

    with Api(reader) as api:
        assert isinstance(api.list("v1", "ConfigMap"), list)


def test_pod_security_is_enforced_without_a_node(control_plane: ControlPlane) -> None:
    namespace = make_namespace(control_plane.api, labels={"pod-security.kubernetes.io/enforce": "restricted"})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "busybox", "securityContext": {"privileged": True}}]},
    }

    with pytest.raises(ApiError, match="violates PodSecurity"):
        control_plane.api.create(pod)


def test_kubectl_and_the_kubeconfig_go_together(control_plane: ControlPlane) -> None:
    from tests.cluster.programs import kube_program

    kubectl = [str(kube_program("kubectl")), "--kubeconfig", str(control_plane.kubeconfig)]
    out = subprocess.run([*kubectl, "get", "ns", "-o", "name"], check=True, capture_output=True, text=True).stdout

    assert "namespace/default" in out.split()


def test_a_killed_api_server_comes_back_with_what_was_stored(own_plane: StartPlane) -> None:
    plane = own_plane()
    made = plane.api.create(a_config_map("default"))

    plane.processes.kill("kube-apiserver")
    assert not plane.is_ready()
    plane.start_apiserver()

    assert plane.api.get("v1", "ConfigMap", "default", "a") == made


def test_the_audit_log_tells_who_did_what(own_plane: StartPlane) -> None:
    plane = own_plane(audit=True)
    plane.api.create(a_config_map("default"))

    def told() -> bool:
        return any(
            event["user"]["username"] == "admin"
            and event["verb"] == "create"
            and event.get("objectRef", {}).get("resource") == "configmaps"
            for event in plane.audited()
        )

    until(told, 10, "the audit event")


def test_the_garbage_collector_runs_where_it_is_asked_for(own_plane: StartPlane) -> None:
    plane = own_plane(controllers=("garbage-collector-controller",))
    owner = plane.api.create(a_config_map("default", "owner"))
    child = a_config_map("default", "child")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    plane.api.create({**child, "metadata": {"name": "child", "namespace": "default", "ownerReferences": [reference]}})

    plane.api.delete(owner)

    until(lambda: plane.api.find("v1", "ConfigMap", "default", "child") is None, 60, "the child to go")


def test_a_stopped_one_leaves_no_process_and_no_folder(own_plane: StartPlane) -> None:
    plane = own_plane()
    pids = [plane.processes.pid(name) for name in ("etcd", "kube-apiserver")]

    plane.stop()

    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not plane.folder.exists()


CRASH = """
import sys
from tests.cluster.controlplane import ControlPlane
plane = ControlPlane.start()
print(plane.folder, *(plane.processes.pid(name) for name in ("etcd", "kube-apiserver")), flush=True)
sys.stdin.read()
"""


def test_what_a_killed_run_left_is_cleared_by_the_next(control_plane: ControlPlane) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", CRASH], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    folder, *pids = run.stdout.readline().split()
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert all(psutil.pid_exists(int(pid)) for pid in pids)

    clear_orphans("controlplane")

    assert not any(psutil.pid_exists(int(pid)) for pid in pids)
    assert not Path(folder).exists()
    assert control_plane.is_ready()


def test_a_start_costs_seconds(own_plane: StartPlane) -> None:
    plane = own_plane()
    used = [psutil.Process(plane.processes.pid(name)).cpu_times() for name in ("etcd", "kube-apiserver")]

    # Of the processor, not of the wall: others may be at work. Measured: 4 s.
    assert sum(each.user + each.system for each in used) < 15
