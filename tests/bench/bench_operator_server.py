"""What the API server itself costs: processor time of one write, by what defines the object.

Five writes make a FineTuneJob's first Job, three of them of the FineTuneJob. Beside it stand the same object under a definition without
a schema, and a ConfigMap: the difference is what validation, defaulting, pruning and typed field ownership take.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import psutil

from tests.bench.bench_operator_bed import MERGE, Client, Json, a_job, a_twin, names
from tests.bench.bench_operator_bulk import ended_status
from tests.bench.bench_operator_figures import Bench, Figure
from tests.bench.processor import cpu_s
from tests.cluster.controlplane import API_SERVER
from tests.cluster.crds import install
from tests.cluster.tenants import make_namespace

__all__ = ["server"]

GRAFT, OPEN = "graft.dev", "open.graft.dev"
"""Groups of the API: Graft's, and one whose FineTuneJobs have no schema."""


async def server(bench: Bench, sizes: Any) -> list[Figure]:
    """Measure each kind of write by many, eight at a time."""
    install(bench.plane.api, [_without_schema(a_twin(OPEN))])
    namespace, process = make_namespace(bench.plane.api), psutil.Process(bench.plane.processes.pid(API_SERVER))
    async with Client(bench.plane.access, 8) as client:
        cost = _Cost(client, process, namespace, sizes.latency)
        for group, what in ((GRAFT, "FineTuneJob"), (OPEN, "the same without a schema")):
            await cost.of_job(group, what)
        await cost.of_config_map()
    return cost.figures


class _Cost:
    """Writes many of a kind, and looks at the server's clock before and after."""

    def __init__(self, client: Client, process: psutil.Process, namespace: str, count: int) -> None:
        self.figures: list[Figure] = []
        self._client, self._process = client, process
        self._namespace, self._count = namespace, count

    async def of_job(self, group: str, what: str) -> None:
        path = f"/apis/{group}/v1alpha1/namespaces/{self._namespace}/finetunejobs"
        version = {"apiVersion": f"{group}/v1alpha1"}
        finalizers = {"metadata": {"finalizers": ["graft.dev/finalizer"]}}
        status = {"status": ended_status()}
        send = self._client.send
        await self._measure(
            f"{what}, create", lambda name: send("POST", path, {**a_job(self._namespace, name), **version})
        )
        await self._measure(f"{what}, patch", lambda name: send("PATCH", f"{path}/{name}", finalizers, MERGE))
        await self._measure(
            f"{what}, patch of the status", lambda name: send("PATCH", f"{path}/{name}/status", status, MERGE)
        )

    async def of_config_map(self) -> None:
        path, data = f"/api/v1/namespaces/{self._namespace}/configmaps", {"data": {"request.json": "x" * 1500}}
        await self._measure(
            "ConfigMap, create", lambda name: self._client.send("POST", path, {"metadata": {"name": name}, **data})
        )

    async def _measure(self, what: str, do: Callable[[str], Coroutine[Any, Any, object]]) -> None:
        before = cpu_s(self._process)
        async with asyncio.TaskGroup() as group:
            for name in names("cost", self._count):
                group.create_task(do(name))
        cost_ms = 1000 * (cpu_s(self._process) - before) / self._count
        self.figures.append(Figure(f"API server's processor time: {what}", cost_ms, "ms"))


def _without_schema(crd: Json) -> Json:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    (version,) = crd["spec"]["versions"]
    return {**crd, "spec": {**crd["spec"], "versions": [{**version, "schema": {"openAPIV3Schema": schema}}]}}
