"""Rollouts by a real operator process: API server and figures over HTTP are real, who serves and who counts are doubles.

    with rolling_out(plane, folder) as bed:
        release = bed.begin({"onFailure": "Pause"})     # a namespace with a release of its first adapter
        bed.pages[release.namespace] = of_another_revision
        release.want("tune-2")

KServe's controller, Deployment controller and kubelet are the doubles of tests/cluster; `ServingPods` is ReplicaSet, kubelet and predictor: a
pod for each Deployment, with an address of its own on loopback, at which `/metrics` really answers. `CountingServer` is a double of Prometheus.
"""

import copy
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from tests.cluster.api import Api, Json
from tests.cluster.doubles import NodeDouble, playing_node
from tests.cluster.kserve_standin.controller import standing_in
from tests.cluster.kserve_standin.objects import Behaviour
from tests.cluster.tenants import make_namespace
from tests.operator.cluster.release_story import SPEC, a_complete_job
from tests.operator.faults.serving_doubles import CountingServer, Pages, ServingPods
from tests.operator.handlers.on_api_server import OperatorProcess, operator_process

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

__all__ = ["GRACE_S", "Release", "RolloutBed", "doubles_of", "is_settled", "rolling_out"]

GRAFT: Final = "graft.dev/v1alpha1"
ISVC: Final = "serving.kserve.io/v1beta1"
LOOK_S: Final = 0.2
PATIENCE_S: Final = 240.0
GRACE_S: Final = 20
"""How long an arm may be unready that was ready."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release, in a namespace of its own."""

    api: Api
    namespace: str

    def publish(self, name: str) -> str:
        """Have a job end that has published an adapter; returns its digest."""
        # A job that is refused until it is said to have ended: the operator looks at it, too, and shall make nothing of it.
        body = a_complete_job(name, sweep={"parameters": {"learningRate": ["1e-4"]}})
        body["metadata"]["namespace"] = self.namespace
        status, digest = body.pop("status"), sha256(name.encode()).hexdigest()
        uri = f"s3://lake/adapters/{self.namespace}/{name}/{digest}/"
        status["artifact"] |= {"digest": f"sha256:{digest}", "uri": uri}
        made = self.api.create({"apiVersion": GRAFT, "kind": "FineTuneJob", **body})
        self.api.patch(made, {"status": status}, subresource="status")
        return f"sha256:{digest}"

    def apply(self, rollout: Json) -> None:
        """Apply the release of the job `tune`."""
        spec: Json = {**copy.deepcopy(SPEC), "model": {"fineTuneJobRef": {"name": "tune"}}}
        spec["rollout"] |= rollout
        meta = {"name": "shop", "namespace": self.namespace}
        self.api.create({"apiVersion": GRAFT, "kind": "ModelRelease", "metadata": meta, "spec": spec})

    def want(self, name: str) -> str:
        """Have another job end, and want its adapter; returns its digest."""
        digest = self.publish(name)
        self.edit({"model": {"fineTuneJobRef": {"name": name}}})
        return digest

    def edit(self, spec: Json) -> None:
        """Change the spec."""
        self.api.patch(self.api.get(GRAFT, "ModelRelease", self.namespace, "shop"), {"spec": spec})

    def read(self) -> ModelRelease:
        """Read the object."""
        return ModelRelease.model_validate(self.api.get(GRAFT, "ModelRelease", self.namespace, "shop"))

    def weights(self) -> list[int]:
        """Return the percent of each canary, as it is asked for."""
        return [
            int(one.get("trafficPercent", 0))
            for service in self.api.list(ISVC, "InferenceService", self.namespace)
            if not service["metadata"]["name"].endswith("-probe")
            for one in service["spec"].get("canary") or []
        ]

    def until(self, holds: Callable[[ModelRelease], Any], limit_s: float = PATIENCE_S) -> ModelRelease:
        """Wait until the release looks like this."""
        deadline, pause = monotonic() + limit_s, Event()
        while not holds(release := self.read()):
            told = release.status.model_dump_json(exclude_none=True)
            assert monotonic() < deadline, f"{self.namespace}: not within {limit_s:g} s: {told}"
            pause.wait(LOOK_S)
        return release


def is_settled(release: ModelRelease) -> bool:
    """Say whether a rollout has ended, one way or the other: what was taken back is `RolledBack`, not `Released`."""
    status = release.status
    is_over = status.phase in {"Released", "RolledBack"} and status.candidate is None and status.draining is None
    return is_over and bool(status.url)


@dataclass
class RolloutBed:
    """Everything around the releases of a test."""

    api: Api
    node: NodeDouble
    operator: OperatorProcess
    prometheus: CountingServer
    pages: dict[str, Pages]
    """What the pods of a namespace answer; otherwise they are well."""

    def begin(self, rollout: Json) -> Release:
        """Publish a first adapter and apply its release."""
        release = Release(self.api, make_namespace(self.api))
        release.publish("tune")
        release.apply(rollout)
        return release


@contextmanager
def doubles_of(plane: "ControlPlane") -> Generator[tuple[NodeDouble, ServingPods]]:
    """Play everybody who serves."""
    with (
        standing_in(plane.access, Behaviour.WEIGHTS),
        playing_node(plane.access) as node,
        ServingPods.playing(plane.access) as pods,
    ):

        def is_healthy(deployment: Json) -> bool:
            return node.is_healthy(deployment)  # whatever function a test has put there by then

        pods.is_healthy = is_healthy
        yield node, pods


@contextmanager
def rolling_out(plane: "ControlPlane", folder: Path) -> Generator[RolloutBed]:
    """Run the doubles, and one operator that may ask the double of Prometheus."""
    with ExitStack() as running:
        node, pods = running.enter_context(doubles_of(plane))
        prometheus = running.enter_context(CountingServer(pods.first))
        operator = running.enter_context(
            operator_process(
                plane.access,
                folder,
                f"operator-{os.getpid()}",
                GRAFT_PROMETHEUS_URLS=f"{prometheus.url},{prometheus.dead_url}",
                GRAFT_MISSING_DATA_GRACE_S="5",
                GRAFT_UNREADY_GRACE_S=str(GRACE_S),
            )
        )
        yield RolloutBed(running.enter_context(Api(plane.access)), node, operator, prometheus, pods.pages)
