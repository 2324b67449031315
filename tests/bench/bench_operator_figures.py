"""Figures of the operator's bench at 20 CRs a second, and what they share; every one has a control plane of its own."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.bench.bench_operator_audit import Audit, Call, is_operators, job_delays, percentile, writes
from tests.bench.bench_operator_audit import writes_before_job as count_before_job
from tests.bench.bench_operator_bed import (
    Client,
    Json,
    Operator,
    names,
    paced,
    running_operator,
)
from tests.cluster.controlplane import ControlPlane
from tests.cluster.tenants import make_namespace

__all__ = ["Bench", "Figure", "at_most", "cpu_share", "hot", "latency", "loop_figures", "no_op", "per_cr", "until_jobs"]

PER_S = 20.0
PATIENCE_S = 900.0


@dataclass(frozen=True)
class Bench:
    """What a figure is measured with."""

    plane: ControlPlane
    audit: Audit
    profile: str = ""

    def calls(self) -> list[Call]:
        """Return what the audit log has gained; it is written a moment after the answer."""
        time.sleep(0.3)
        return self.audit.read()


@dataclass(frozen=True)
class Figure:
    """One row."""

    name: str
    value: float
    unit: str = ""
    goal: str = ""
    holds: bool | None = None

    @property
    def shown(self) -> str:
        """As the table has it."""
        return f"{self.value:.4g} {self.unit}".strip()

    def to_json(self) -> Json:
        """As the file has it; what has no goal holds or fails nothing."""
        return {name: value for name, value in vars(self).items() if value not in {"", None}}


def at_most(name: str, value: float, most: float, unit: str = "") -> Figure:
    return Figure(name, round(value, 3), unit, f"≤ {most:g}", value <= most)


async def latency(bench: Bench, sizes: Any) -> list[Figure]:
    """At 20 a second: from a FineTuneJob's creation to its first Job."""
    with running_operator(bench.plane, "latency", bench.profile) as operator:
        delays, calls, owners = await created_at_pace(bench, operator, sizes.latency)
        before = count_before_job(calls, owners)
        return [
            *delay_figures("CR to Job at 20/s", delays, 0.040, 0.250),
            Figure("CRs whose Job came", len(delays), "", f"= {sizes.latency}", len(delays) == sizes.latency),
            at_most("writes per CR until its first Job is there, most", max(before, default=99), 3),
            Figure("requests of the operator per CR", per_cr(calls, sizes.latency)),
            Figure("writes per CR, Events among them", sum(writes(calls).values()) / sizes.latency),
            *loop_figures(operator),
        ]


async def no_op(bench: Bench, sizes: Any) -> list[Figure]:
    """Labels of a CR change, and nothing else: nothing is to be written."""
    namespace = make_namespace(bench.plane.api)
    with running_operator(bench.plane, "no-op"):
        async with Client(bench.plane.access) as client:
            for name in names("still", 20):
                await client.create_job(namespace, name)
            await until_jobs(client, namespace, 20)
            await asyncio.sleep(3.0)
            bench.calls()
            for name in names("still", 20):
                await client.patch_job(namespace, name, {"metadata": {"labels": {"touched": "yes"}}})
            await asyncio.sleep(4.0)
        written = writes(bench.calls())
        return [Figure("writes for 20 changes that change nothing", sum(written.values()), "", "= 0", not written)]


async def hot(bench: Bench, sizes: Any) -> list[Figure]:
    """One CR is edited 100 times a second while others are created at 20 a second, beside the same without it."""
    with running_operator(bench.plane, "hot") as operator:
        calm, _, _ = await created_at_pace(bench, operator, sizes.hot)
        namespace = make_namespace(bench.plane.api)
        async with Client(bench.plane.access) as client:
            await client.create_job(namespace, "hot")
            editing = asyncio.create_task(edit(client, namespace, "hot", 100.0))
            busy, _, _ = await created_at_pace(bench, operator, sizes.hot)
            editing.cancel()
            with suppress(asyncio.CancelledError):
                await editing
        p99 = percentile(list(calm.values()), 0.99), percentile(list(busy.values()), 0.99)
        return [
            Figure("CR to Job at 20/s, p99, none edited", 1000 * p99[0], "ms"),
            Figure("CR to Job at 20/s, p99, one edited 100/s", 1000 * p99[1], "ms"),
            at_most("one CR edited 100/s delays the others' p99 by", 100 * (p99[1] / p99[0] - 1), 20, "%"),
        ]


async def edit(client: Client, namespace: str, name: str, per_s: float) -> None:
    """Edit a CR's spec so often, until cancelled."""

    async def one(number: str) -> None:
        spec = {"runtime": {"ttlSecondsAfterFinished": 1000 + int(number)}}
        await client.patch_job(namespace, name, {"spec": spec})

    await paced(map(str, range(10**6)), per_s, one)


async def created_at_pace(
    bench: Bench, operator: Operator, count: int
) -> tuple[dict[str, float], list[Call], dict[str, str]]:
    """Create FineTuneJobs at 20 a second; return the delays, all that was asked, and each Job's owner."""
    del operator
    namespace = make_namespace(bench.plane.api)
    async with Client(bench.plane.access) as client:
        await client.create_job(namespace, "warm")
        await until_jobs(client, namespace, 1)
        await asyncio.sleep(1.0)
        bench.calls()
        await paced(names("paced", count), PER_S, lambda name: client.create_job(namespace, name))
        with suppress(TimeoutError):
            await until_jobs(client, namespace, count + 1, 60.0)
        await asyncio.sleep(2.0)
        owners = await client.jobs_of(namespace)
    calls = [call for call in bench.calls() if call.namespace in {namespace, ""}]
    return job_delays(calls, owners), calls, owners


async def until_jobs(client: Client, namespace: str, count: int, patience_s: float = PATIENCE_S) -> None:
    """Wait until there are so many Jobs, asking seldom: each answer names the first and counts the rest."""
    async with asyncio.timeout(patience_s):
        while True:
            path = f"/apis/batch/v1/namespaces/{namespace}/jobs?limit=1"
            found = await client.send("GET", path)
            there = len(found["items"]) + int(found["metadata"].get("remainingItemCount") or 0)
            if there >= count:
                return
            await asyncio.sleep(0.5)


async def cpu_share(operator: Operator, seconds: float) -> float:
    """Return percent of a core over so many seconds."""
    before, begun = operator.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (operator.cpu_s() - before) / (time.monotonic() - begun)


def per_cr(calls: Sequence[Call], count: int) -> float:
    """Return the operator's requests for each CR, without watches and the Lease."""
    asked = Counter(call.verb for call in calls if is_operators(call) and call.resource != "leases")
    return sum(number for verb, number in asked.items() if verb != "watch") / count


def delay_figures(what: str, delays: dict[str, float], p50: float, p99: float) -> list[Figure]:
    """Return median and 99th percentile beside their goals."""
    values = list(delays.values())
    return [
        at_most(f"{what}, p50", 1000 * percentile(values, 0.5), 1000 * p50, "ms"),
        at_most(f"{what}, p99", 1000 * percentile(values, 0.99), 1000 * p99, "ms"),
    ]


def loop_figures(operator: Operator) -> list[Figure]:
    """Return how often the event loop turned up late, by its own probe."""
    found, name = operator.metrics(), "graft_operator_loop_late_seconds"
    count = found.get(f"{name}_count", 0.0)
    share = 100 * found.get(f'{name}_bucket{{le="0.02"}}', 0.0) / count if count else 0.0
    return [Figure("turns of the event loop that were at most 20 ms late", share, "%", "≥ 99.9", share >= 99.9)]
