"""The rights that are granted are those that are used, by the audit log of a real API server: none is missing and none is too many."""

import asyncio
import contextlib
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from graft_core.api.v1alpha1.names import KIND_MODELRELEASE
from graft_core.clock import SystemClock
from graft_core.errors import Conflict, NotReady
from graft_operator.cluster.client import KubernetesCluster
from graft_operator.cluster.credentials import CredentialSource
from graft_operator.cluster.transport import Transport
from graft_operator.engine.directory import Key
from graft_operator.render.install.rbac import GRANTS
from tests.core.api.objects import a_job, changed
from tests.delivery.chart import NAMESPACE, documents, golden
from tests.house import ROOT
from tests.operator.cluster.test_release_controlplane import FAST, Figured, Stage, is_settled
from tests.operator.handlers.on_api_server import OperatorProcess, checks_of, operator_process

if TYPE_CHECKING:
    from tests.cluster.api import Access, Api
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ACCOUNT = "graft-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
TRAIN_JOB = ("trainer.kubeflow.org/v1alpha1", "TrainJob")


@pytest.fixture
def plane(own_plane: "StartPlane") -> "ControlPlane":
    from tests.cluster.crds import GATEWAY_API, KSERVE, install, our_crds
    from tests.delivery.kubectl import ensure_namespace
    from tests.delivery.rights import DOUBLES

    made = own_plane(audit=True, controllers=("job-controller", "garbage-collector-controller"))
    install(made.api, [*our_crds(), *GATEWAY_API.crds(), *KSERVE.crds(), *DOUBLES])
    ensure_namespace(made.api, NAMESPACE)
    return made


@pytest.fixture
def operator(plane: "ControlPlane") -> "Access":
    """Access with the rights of manifests/rbac."""
    from tests.delivery.rights import log_in

    for body in documents((ROOT / "manifests" / "rbac" / "operator.yaml").read_text(encoding="utf-8")):
        plane.api.apply(body)
    return log_in(plane.api, NAMESPACE, ACCOUNT)


async def test_granted_is_what_is_used(plane: "ControlPlane", operator: "Access", tmp_path: Path) -> None:
    from tests.delivery.rights import used_by

    await asyncio.to_thread(tell_of_jobs, plane, operator, tmp_path)
    await tell_of_releases(plane, operator, tmp_path)
    granted = {pair for grant in GRANTS for pair in grant.pairs}
    used, refused = used_by(plane, USER)
    assert refused == set()
    assert granted - used == set(), "granted, and never used"
    assert used == granted


def test_roles_in_one_namespace_are_enough_for_it(plane: "ControlPlane", tmp_path: Path) -> None:
    from tests.cluster.processes import until
    from tests.delivery.kubectl import ensure_namespace
    from tests.delivery.rights import log_in, used_by

    api = plane.api
    for name in ("ml", "shop", "closed"):
        ensure_namespace(api, name)
    for body in golden("minimal"):
        if body["kind"] in {"ServiceAccount", "Role", "RoleBinding"}:
            api.apply(body)
    for namespace in ("ml", "shop", "closed"):
        api.create(changed(a_job(), "metadata.namespace", namespace))
    access = log_in(api, NAMESPACE, ACCOUNT)
    with operator_process(access, tmp_path, "narrow", POD_NAMESPACE=NAMESPACE, GRAFT_NAMESPACES="ml,shop") as process:
        for namespace in ("ml", "shop"):
            until(partial(has_check, api, namespace), 60, "the check")
        assert checks_of(api, "closed") == []
        assert "Traceback" not in process.log
    _, refused = used_by(plane, USER)
    assert refused == set()


def has_check(api: "Api", namespace: str) -> bool:
    return checks_of(api, namespace) == ["rephrase-vi-7b"]


def tell_of_jobs(plane: "ControlPlane", access: "Access", folder: Path) -> None:
    """A job that stalls, is suspended and deleted, told by two processes; another one of several nodes, in a queue.

    The second process meets a server before 1.34, that streams no lists: it has to list.
    """
    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.faults import Refuse
    from tests.cluster.processes import until
    from tests.cluster.tenants import make_namespace
    from tests.delivery.rights import JobTale, answering_progress

    namespace = make_namespace(plane.api)
    place = {"POD_NAMESPACE": NAMESPACE, "GRAFT_WATCHDOG_S": "2"}
    body = changed(a_job(), "metadata.namespace", namespace)
    with answering_progress():
        with operator_process(access, folder, "first", **place) as first:
            job = JobTale(plane.api, body)
            job.pass_check()
            job.start("train")
            until(lambda: job.count_of("Stalled") > 0, 60, "the watchdog")
            job.suspend_and_resume()
            job.suspend_and_resume()
            until(lambda: job.count_of("SuspendedBySpec") == 2, 30, "the event counted twice")
            end(first)
        with FaultProxy(access) as older:
            older.plan = lambda seen: Refuse(422) if "sendInitialEvents" in seen.query else None
            with operator_process(older.access, folder, "second", **place):
                job.suspend_and_resume()
                until(lambda: job.count_of("SuspendedBySpec") == 3, 30, "the event counted on")
                job.delete()
                tell_of_nodes(plane, body)


def tell_of_nodes(plane: "ControlPlane", body: dict[str, object]) -> None:
    """A TrainJob in a queue, moved to another one and suspended."""
    from tests.delivery.rights import JobTale

    spread = changed(changed(body, "spec.runtime.engine", "TrainJob"), "spec.resources.nodes", 2)
    nodes = JobTale(plane.api, changed(changed(spread, "spec.runtime.queueName", "a"), "metadata.name", "nodes"))
    nodes.admit("check")
    nodes.pass_check()
    assert nodes.child("train", TRAIN_JOB)["spec"]["suspend"] is True
    nodes.edit({"runtime": {"queueName": "b"}})

    def queue() -> str:
        return str(nodes.child("train", TRAIN_JOB)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"])

    from tests.cluster.processes import until

    until(lambda: queue() == "b", 60, "the other queue")
    nodes.edit({"suspend": True})
    nodes.gone("train", TRAIN_JOB)
    nodes.delete()


async def tell_of_releases(plane: "ControlPlane", access: "Access", folder: Path) -> None:
    """A rollout with KServe's weights, one in two slots, and the first steps of one on Knative; each is deleted."""
    from tests.cluster.api import write_kubeconfig
    from tests.cluster.kserve_standin.objects import Behaviour

    config = write_kubeconfig(folder / "operator.kubeconfig", access)
    clock = SystemClock()
    cluster = KubernetesCluster(Transport(CredentialSource({}, kubeconfig=config), clock), clock)
    try:
        await roll_out(plane, cluster, Behaviour.WEIGHTS)
        await roll_out(plane, cluster, Behaviour.NO_WEIGHTS)
        await begin_on_knative(plane, cluster)
    finally:
        await cluster.close()


async def roll_out(plane: "ControlPlane", cluster: KubernetesCluster, behaviour: object) -> None:
    from tests.cluster.doubles import playing_node
    from tests.cluster.kserve_standin.controller import standing_in
    from tests.cluster.kserve_standin.objects import Behaviour
    from tests.cluster.tenants import make_namespace

    with standing_in(plane.access, cast("Behaviour", behaviour)), playing_node(plane.access):
        stage = Stage(plane.api, make_namespace(plane.api), Figured(cluster))
        stage.publish("tune", "e")
        stage.apply()
        await stage.until(lambda r: is_settled(r) and r.status.url)
        stage.publish("tune-2", "f")
        stage.edit({"model": {"fineTuneJobRef": {"name": "tune-2"}}})
        await stage.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 10)
        await stage.until(lambda r: is_settled(r) and len(r.status.history) > 1)
        await take_away(plane, stage)


async def begin_on_knative(plane: "ControlPlane", cluster: KubernetesCluster) -> None:
    from tests.cluster.tenants import make_namespace

    stage = Stage(plane.api, make_namespace(plane.api), Figured(cluster))
    stage.publish("tune", "e")
    spec = {**FAST, "model": {"fineTuneJobRef": {"name": "tune"}}, "deploymentMode": "Knative"}
    meta = {"name": "shop", "namespace": stage.namespace}
    plane.api.create({"apiVersion": "graft.dev/v1alpha1", "kind": KIND_MODELRELEASE, "metadata": meta, "spec": spec})
    for _ in range(4):
        await run_pass(stage)
    assert plane.api.list("serving.kserve.io/v1beta1", "InferenceService", stage.namespace)
    await take_away(plane, stage)


async def take_away(plane: "ControlPlane", stage: Stage) -> None:
    """Delete the release, and have passes until it is gone."""
    find = (("graft.dev/v1alpha1", KIND_MODELRELEASE), stage.namespace, "shop")
    plane.api.delete(plane.api.get(*find[0], *find[1:]))
    for _ in range(600):
        await run_pass(stage)
        if plane.api.find(*find[0], *find[1:]) is None:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the release does not go")


async def run_pass(stage: Stage) -> None:
    with contextlib.suppress(NotReady, Conflict):
        await stage._cycle.run(Key(KIND_MODELRELEASE, stage.namespace, "shop"))


def end(process: OperatorProcess) -> None:
    """End a replica as the kubelet does: it gives the Lease back."""
    process.send(signal.SIGTERM)
    process.process.wait(30)
