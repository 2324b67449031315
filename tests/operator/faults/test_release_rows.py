"""Rows 46 to 51 of the fault list on a real API server, with the stand-in for KServe's controller behind it.

The operator's pass is the real one, with the real client, in process; pods have no network here, so their figures come from memory.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.clock import SystemClock
from graft_operator.cluster.client import KubernetesCluster
from graft_operator.cluster.credentials import CredentialSource
from graft_operator.cluster.transport import Transport
from graft_operator.ports import INFERENCE_SERVICES, MODEL_RELEASES, Json
from graft_operator.reconcile.observed import Policy
from tests.operator.cluster.test_release_controlplane import Figured, Stage, is_settled

if TYPE_CHECKING:
    from tests.cluster.api import Api
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.doubles import NodeDouble

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

Figures = Callable[[str, int], bytes]
"""A pod's /metrics, by its revision and how often it was asked."""


def counted(revision: str, outcome: str, number: float) -> bytes:
    return f'graft_predictor_requests_total{{revision="{revision}",outcome="{outcome}"}} {number}\n'.encode()


def too_few(revision: str, asked: int) -> bytes:
    return counted(revision, "ok", 1)


class Told(Figured):
    """The real cluster, with pods that answer what the test says."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        super().__init__(cluster)
        self.figures: Figures | None = None
        self.stable = ""

    async def fetch_pod(self, namespace: str, name: str, port: int, path: str) -> bytes:
        """Answer well for the stable revision, and as the test says for the other."""
        revision = name.rpartition("--")[0]
        if self.figures is None or revision == self.stable:
            return await super().fetch_pod(namespace, name, port, path)
        self._asked[name] = self._asked.get(name, 0) + 1
        return self.figures(revision, self._asked[name])


class Bed:
    """Everything a row needs."""

    def __init__(self, api: "Api", node: "NodeDouble", cluster: KubernetesCluster) -> None:
        self.api, self.node, self.cluster = api, node, cluster

    async def released(self, rollout: Json | None = None) -> tuple[Stage, Told, str]:
        """Bring a first revision to serve; returns it too."""
        from tests.cluster.tenants import make_namespace

        told = Told(self.cluster)
        stage = Stage(self.api, make_namespace(self.api), told, Policy(missing_data_grace_s=5, unready_grace_s=3))
        stage.publish("tune", "e")
        stage.apply(rollout)
        release = await stage.until(lambda r: is_settled(r) and r.status.url)
        assert release.status.stable is not None
        told.stable = release.status.stable.revision
        return stage, told, told.stable

    async def at_first_step(self, rollout: Json | None = None) -> tuple[Stage, str, str]:
        """Bring a second one to its first step, where it stays for want of requests."""
        stage, told, stable = await self.released(rollout)
        told.figures = too_few
        stage.publish("tune-2", "f")
        stage.edit({"model": {"fineTuneJobRef": {"name": "tune-2"}}})
        release = await stage.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 10)
        assert release.status.candidate is not None
        return stage, stable, release.status.candidate.revision


@pytest.fixture
async def bed(control_plane: "ControlPlane") -> AsyncIterator[Bed]:
    from tests.cluster.doubles import playing_node
    from tests.cluster.kserve_standin.controller import standing_in
    from tests.cluster.kserve_standin.objects import Behaviour

    clock = SystemClock()
    source = CredentialSource({}, kubeconfig=Path(control_plane.kubeconfig))
    cluster = KubernetesCluster(Transport(source, clock), clock)
    with ExitStack() as doubles:
        doubles.enter_context(standing_in(control_plane.access, Behaviour.WEIGHTS))
        node = doubles.enter_context(playing_node(control_plane.access))
        yield Bed(control_plane.api, node, cluster)
    await cluster.close()


def outcome_of(release: ModelRelease) -> tuple[str, str]:
    last = release.status.history[-1] if release.status.history else None
    return ("", "") if last is None else (last.outcome, last.reason)


def traffic_of(service: Json) -> list[int]:
    return [int(one["trafficPercent"]) for one in service["spec"].get("canary") or []]


async def service_of(stage: Stage) -> Json:
    (service,) = await stage.cluster.list(INFERENCE_SERVICES, stage.namespace, {})
    return dict(service)


async def test_row_46_another_model_in_mid_rollout_begins_anew_and_the_first_stays_what_is_gone_back_to(
    bed: Bed,
) -> None:
    stage, stable, second = await bed.at_first_step()
    stage.publish("tune-3", "d")
    stage.edit({"model": {"fineTuneJobRef": {"name": "tune-3"}}})
    release = await stage.until(lambda r: r.status.candidate is not None and r.status.candidate.revision != second)
    assert release.status.stable is not None
    assert release.status.stable.revision == stable
    assert release.status.candidate is not None
    assert (release.status.candidate.step, release.status.candidate.weight) == (0, 0)
    release = await stage.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 10)
    assert [entry.reason for entry in release.status.history if entry.revision == second] == ["Superseded"]


async def test_row_47_a_deletion_in_mid_rollout_gives_all_to_the_stable_arm_and_then_goes(bed: Bed) -> None:
    stage, _, _ = await bed.at_first_step()
    bed.api.delete(bed.api.get("graft.dev/v1alpha1", "ModelRelease", stage.namespace, "shop"))
    seen: list[list[int]] = []
    for _ in range(600):
        services = await stage.cluster.list(INFERENCE_SERVICES, stage.namespace, {})
        seen += [traffic_of(body) for body in services]
        if await stage.cluster.get(MODEL_RELEASES, stage.namespace, "shop") is None:
            break
        await stage.run_pass()
        await asyncio.sleep(0.1)
    assert await stage.cluster.get(MODEL_RELEASES, stage.namespace, "shop") is None
    weights = [weight for one in seen for weight in one]
    assert weights == sorted(weights, reverse=True)
    assert 0 in weights or [] in seen  # the candidate had nothing left before its arm went


@pytest.mark.parametrize(("on_drift", "reason"), [("Restore", "Serving"), ("Pause", "DriftPaused")])
async def test_row_48_a_weight_edited_by_hand_is_seen_and_restored_or_kept(
    bed: Bed, on_drift: str, reason: str
) -> None:
    stage, _, _ = await bed.at_first_step({"onDrift": on_drift})
    service = await service_of(stage)
    canary = [{**one, "trafficPercent": 77} for one in service["spec"]["canary"]]
    body = bed.api.get("serving.kserve.io/v1beta1", "InferenceService", stage.namespace, service["metadata"]["name"])
    bed.api.patch(body, {"spec": {"canary": canary}})

    def is_told(release: ModelRelease) -> bool:
        found = find_condition(release.status.conditions, "TrafficSplit")
        return found is not None and found.reason == reason

    wanted = [10] if on_drift == "Restore" else [77]
    for _ in range(300):
        release = await stage.until(lambda _: True)
        if traffic_of(await service_of(stage)) == wanted and is_told(release):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(await service_of(stage))


async def test_row_50_with_a_broken_stable_arm_nothing_moves_and_it_is_said(bed: Bed) -> None:
    stage, stable, second = await bed.at_first_step()
    bed.node.is_healthy = lambda one: (
        one["metadata"]["namespace"] != stage.namespace
        or stable not in str(one["spec"]["template"]["metadata"].get("annotations"))
    )
    release = await stage.until(lambda r: r.status.phase == "Degraded")
    before = traffic_of(await service_of(stage))
    for _ in range(20):
        release = await stage.until(lambda _: True)
        await asyncio.sleep(0.1)
    assert traffic_of(await service_of(stage)) == before == [10]
    ready = find_condition(release.status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "Degraded")
    assert release.status.candidate is not None
    assert release.status.candidate.revision == second


async def test_row_51_a_service_of_somebody_else_is_left_alone(bed: Bed, namespace: str) -> None:
    stage = Stage(bed.api, namespace, Told(bed.cluster))
    container = {"name": "kserve-container", "image": "predictor"}
    foreign = bed.api.create(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "shop", "namespace": namespace},
            "spec": {"predictor": {"containers": [container]}},
        }
    )
    stage.publish("tune", "e")
    stage.apply()

    def is_refused(release: ModelRelease) -> bool:
        found = find_condition(release.status.conditions, "Accepted")
        return found is not None and found.reason == "Conflict" and "InferenceService 'shop'" in found.message

    await stage.until(is_refused)
    after = bed.api.get("serving.kserve.io/v1beta1", "InferenceService", namespace, "shop")
    assert (after["spec"], after["metadata"].get("labels")) == (foreign["spec"], foreign["metadata"].get("labels"))
