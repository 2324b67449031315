"""A rollout on a real API server with KServe's own CRDs; KServe's controller, nodes and gateway are stand-ins (tests/cluster), pods are made here.

What the double of an API server can't show is shown here: that KServe's schema takes what is rendered and keeps it, that a merge patch promotes a
canary without a change to its Deployment, and that nothing is written to a service that has settled.
"""

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_MODELRELEASE, LABEL_REVISION
from graft_core.clock import SystemClock
from graft_core.errors import Conflict, NotReady
from graft_core.telemetry.metrics import MetricSet
from graft_operator.cluster.client import KubernetesCluster
from graft_operator.cluster.credentials import CredentialSource
from graft_operator.cluster.figures import Figures
from graft_operator.cluster.prometheus import Prometheus
from graft_operator.cluster.release_shell import ClusterReleaseShell
from graft_operator.cluster.scrape import Scraper
from graft_operator.cluster.transport import Transport
from graft_operator.engine.cycle import Cycle
from graft_operator.engine.directory import Directory, Key
from graft_operator.engine.metrics import OperatorMetrics
from graft_operator.ports import DEPLOYMENTS, INFERENCE_SERVICES, MODEL_RELEASES, PODS, Cluster, Json
from graft_operator.reconcile.observed import Policy
from tests.fakes.kserve import Version
from tests.operator.cluster.release_story import DEFAULTS, SPEC, a_complete_job

if TYPE_CHECKING:
    from tests.cluster.api import Api
    from tests.cluster.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

LIMIT_S = 120.0
STEP_S = 0.1
FAST: dict[str, Any] = {
    **SPEC,
    "rollout": {
        **SPEC["rollout"],
        "steps": [{"weight": 10, "minDurationSeconds": 1, "minRequests": 5}],
        "scaleDownDelaySeconds": 1,
    },
}


class Figured:
    """The real cluster, but for its pods: they have no network here, and answer from memory."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self._cluster = cluster
        self.writes: list[tuple[str, str]] = []
        self._asked: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._cluster, name)
        if name not in {"create", "apply", "patch", "delete"}:
            return call

        async def write(resource: Any, *args: Any, **kwargs: Any) -> Any:
            self.writes.append((name, resource.kind))
            return await call(resource, *args, **kwargs)

        return write

    async def fetch_pod(self, namespace: str, name: str, port: int, path: str) -> bytes:
        """Answer with figures that grow with every look."""
        self._asked[name] = self._asked.get(name, 0) + 20
        revision = name.rpartition("--")[0]
        return f'graft_predictor_requests_total{{revision="{revision}",outcome="ok"}} {self._asked[name]}\n'.encode()


class Stage:
    """One release on a real API server."""

    def __init__(self, api: "Api", namespace: str, cluster: Figured, policy: Policy | None = None) -> None:
        self.api = api
        self.namespace = namespace
        self.cluster = cluster
        clock, real = SystemClock(), cast("Cluster", cluster)
        figures = Figures(Scraper(real, clock), Prometheus())
        shell = ClusterReleaseShell(real, clock, policy or Policy(), DEFAULTS, figures)
        self._cycle = Cycle(
            real,
            _Nobody(),
            _Nobody(),
            shell,
            Directory(),
            OperatorMetrics(MetricSet()),
            clock,
        )

    def publish(self, name: str, digest: str) -> None:
        """Have a job finish."""
        body = a_complete_job(name, digest)
        body["metadata"]["namespace"] = self.namespace
        status = body.pop("status")
        made = self.api.create({"apiVersion": "graft.dev/v1alpha1", "kind": "FineTuneJob", **body})
        self.api.patch(made, {"status": status}, subresource="status")

    def apply(self, rollout: Json | None = None) -> None:
        """Apply the release."""
        meta = {"name": "shop", "namespace": self.namespace}
        spec = {**copy.deepcopy(FAST), "model": {"fineTuneJobRef": {"name": "tune"}}}
        spec["rollout"] |= rollout or {}
        self.api.create({"apiVersion": "graft.dev/v1alpha1", "kind": KIND_MODELRELEASE, "metadata": meta, "spec": spec})

    def edit(self, spec: Json) -> None:
        """Change its spec."""
        self.api.patch(self.api.get("graft.dev/v1alpha1", KIND_MODELRELEASE, self.namespace, "shop"), {"spec": spec})

    async def run_pass(self) -> None:
        """Run one pass; what the engine would run again is left to the next one."""
        with contextlib.suppress(NotReady, Conflict):
            await self._cycle.run(Key(KIND_MODELRELEASE, self.namespace, "shop"))

    async def until(self, holds: Any, *, limit_s: float = LIMIT_S) -> ModelRelease:
        """Run passes until the release looks like this."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while loop.time() < deadline:
            await self.run_pass()
            await self._start_pods()
            release = await self.release()
            if holds(release):
                return release
            await asyncio.sleep(STEP_S)
        raise AssertionError(f"not within {limit_s} s: {(await self.release()).status.model_dump_json(indent=1)}")

    async def release(self) -> ModelRelease:
        """Read the object."""
        body = await self.cluster.get(MODEL_RELEASES, self.namespace, "shop")
        return ModelRelease.model_validate(body)

    async def only_deployment(self) -> Json:
        """Wait until the garbage collector has taken all but one Deployment."""
        left: list[Json] = []
        for _ in range(600):
            left = await self.cluster.list(DEPLOYMENTS, self.namespace, {})
            if len(left) == 1:
                return dict(left[0])
            await asyncio.sleep(STEP_S)
        raise AssertionError([body["metadata"]["name"] for body in left])

    async def _start_pods(self) -> None:
        """Play ReplicaSet and kubelet: a pod for each Deployment, named after its revision."""
        deployments = await self.cluster.list(DEPLOYMENTS, self.namespace, {})
        pods = {body["metadata"]["name"]: body for body in await self.cluster.list(PODS, self.namespace, {})}
        wanted = {}
        for one in deployments:
            revision = one["spec"]["template"]["metadata"].get("annotations", {}).get(LABEL_REVISION, "")
            wanted[f"{revision}--0"] = one
        for name, body in pods.items():
            if name not in wanted:
                self.api.delete(body)
        for name, one in wanted.items():
            if name.startswith("--") or name in pods:
                continue
            template = one["spec"]["template"]
            spec = {"containers": [{"name": "kserve-container", "image": "double"}]}
            meta = {"name": name, "namespace": self.namespace, "labels": template["metadata"]["labels"]}
            made = self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
            ready = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
            self.api.patch(
                made, {"status": {**ready, "startTime": made["metadata"]["creationTimestamp"]}}, subresource="status"
            )


class _Nobody:
    """Neither hears of events nor of jobs."""

    def emit(self, involved: Json, event: Any) -> None:
        """Nobody listens."""

    async def decide(self, job: Any, now: Any) -> Any:
        raise AssertionError("no job is expected")

    async def apply(self, action: Any, job: Any) -> None:
        raise AssertionError("no job is expected")

    def forget(self, uid: str) -> None:
        """Nothing is kept."""


@pytest.fixture(params=["weights", "unsplit"])
async def stage(request: pytest.FixtureRequest, managed_plane: "ControlPlane") -> AsyncIterator[tuple[Version, Stage]]:
    from tests.cluster.doubles import playing_node
    from tests.cluster.kserve_standin.controller import standing_in
    from tests.cluster.kserve_standin.objects import Behaviour
    from tests.cluster.tenants import make_namespace

    plane = managed_plane
    behaviour = Behaviour.WEIGHTS if request.param == "weights" else Behaviour.NO_WEIGHTS
    clock = SystemClock()
    cluster = KubernetesCluster(Transport(CredentialSource({}, kubeconfig=Path(plane.kubeconfig)), clock), clock)
    with ExitStack() as doubles:
        doubles.enter_context(standing_in(plane.access, behaviour))
        doubles.enter_context(playing_node(plane.access))
        made = Stage(plane.api, make_namespace(plane.api), Figured(cluster))
        made.publish("tune", "e")
        made.apply()
        yield request.param, made
    await cluster.close()


def is_settled(release: ModelRelease) -> bool:
    status = release.status
    return status.candidate is None and status.draining is None and status.phase == "Released"


async def test_a_rollout_and_an_abort_on_a_real_api_server(stage: tuple[Version, Stage]) -> None:
    version, story = stage
    release = await story.until(lambda r: is_settled(r) and r.status.url)
    assert release.status.traffic_strategy == ("KServeWeights" if version == "weights" else "Slots")

    before = len(story.cluster.writes)
    for _ in range(5):
        await asyncio.sleep(0.2)
        await story.until(is_settled)
    assert story.cluster.writes[before:] == []

    story.publish("tune-2", "f")
    story.edit({"model": {"fineTuneJobRef": {"name": "tune-2"}}})
    release = await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 10)
    assert release.status.candidate is not None
    revision = release.status.candidate.revision
    arms = {
        body["metadata"]["name"]: body["metadata"]
        for body in await story.cluster.list(DEPLOYMENTS, story.namespace, {})
    }
    release = await story.until(lambda r: is_settled(r) and len(r.status.history) > 1)
    assert release.status.stable is not None
    assert release.status.stable.revision == revision
    meta = (await story.only_deployment())["metadata"]
    # The candidate's own Deployment, at the generation it was made with: no pod of it was restarted.
    assert (meta["uid"], meta["generation"]) == (arms[meta["name"]]["uid"], 1)

    # And one that is taken back leaves nothing behind.
    services = {body["metadata"]["name"] for body in await story.cluster.list(INFERENCE_SERVICES, story.namespace, {})}
    story.publish("tune-3", "d")
    story.edit({"model": {"fineTuneJobRef": {"name": "tune-3"}}})
    await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 10)
    story.edit({"abort": True})
    release = await story.until(lambda r: r.status.candidate is None and r.status.draining is None)
    assert release.status.stable is not None
    assert release.status.stable.weight == 100
    left = await story.cluster.list(INFERENCE_SERVICES, story.namespace, {})
    assert {body["metadata"]["name"] for body in left if "deletionTimestamp" not in body["metadata"]} == services
    assert all(not body["spec"].get("canary") for body in left)
