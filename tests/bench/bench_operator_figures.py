"""Figures of the operator's bench at 20 CRs a second, and what they share; every one has a control plane of its own."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.bench.bench_operator_audit import Audit, Call, is_operators, job_delays, percentile, writes
from tests.bench.bench_operator_audit import writes_before_job as count_before_job
from tests.bench.bench_operator_bed import (
    MERGE,
    Client,
    Json,
    Operator,
    a_job,
    a_twin,
    control_plane,
    names,
    paced,
    running_operator,
)
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import install
from tests.cluster.tenants import make_namespace

__all__ = [
    "Bench",
    "Figure",
    "a_bench",
    "at_most",
    "cpu_share",
    "hot",
    "latency",
    "loop_figures",
    "no_op",
    "per_cr",
    "until_jobs",
]

PER_S = 20.0
GRAFT, TWIN = "graft.dev", "twin.graft.dev"
"""Groups of the API: Graft's, and one that nobody watches."""
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


@contextmanager
def a_bench(profile: str) -> Generator[Bench]:
    """Start a control plane for a figure."""
    with control_plane() as plane:
        yield Bench(plane, Audit(plane.audit_log), profile)


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
        delays, calls, owners = await created_at_pace(bench, sizes.latency)
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


async def hot(sizes: Any, profile: str) -> list[Figure]:
    """One CR is edited all the time (100 times a second, or `--edits`) while others are created at 20 a second.

    An edit costs the API server some ten milliseconds, whoever looks at it. So beside the run without edits there is one with the same edits
    of a twin: the same definition under another group, which the operator does not know. What the operator does about them is the difference.
    Each run has a control plane of its own: a minute after a run its FineTuneJobs are looked at again.
    """
    found: dict[str, float] = {}
    rates: dict[str, float] = {}
    for edited in ("", TWIN, GRAFT):
        with a_bench(profile) as bench, running_operator(bench.plane, "hot", profile):
            found[edited], rates[edited] = await _hot_run(bench, edited, sizes)
    return [
        Figure("CR to Job at 20/s, p99, none edited", 1000 * found[""], "ms"),
        Figure("CR to Job at 20/s, p99, a twin that nobody watches edited", 1000 * found[TWIN], "ms"),
        Figure("CR to Job at 20/s, p99, one edited", 1000 * found[GRAFT], "ms"),
        *(
            Figure(f"edits a second that the server took, of {sizes.edits} asked for, {what}", rates[group])
            for group, what in ((TWIN, "the twin's"), (GRAFT, "the other's"))
        ),
        at_most("one CR edited all the time delays the others' p99 by", 100 * (found[GRAFT] / found[""] - 1), 20, "%"),
        Figure("of it the operator, beside the twin", 100 * (found[GRAFT] / found[TWIN] - 1), "%"),
    ]


async def _hot_run(bench: Bench, edited: str, sizes: Any) -> tuple[float, float]:
    """Return the 99th percentile of the delays in seconds, and the edits a second."""
    install(bench.plane.api, [a_twin(TWIN)])
    edits: list[int] = []
    begun = time.monotonic()
    async with Client(bench.plane.access) as client:
        namespace = make_namespace(bench.plane.api)
        editing = asyncio.create_task(_edit(client, namespace, edited, sizes.edits, edits))
        delays, _, _ = await created_at_pace(bench, sizes.hot)
        editing.cancel()
        with suppress(asyncio.CancelledError):
            await editing
    return percentile(list(delays.values()), 0.99), len(edits) / (time.monotonic() - begun)


async def _edit(client: Client, namespace: str, group: str, per_s: float, edits: list[int]) -> None:
    """Create a CR of a group and edit its spec so often a second, until cancelled; no group: nothing."""
    if not group:
        return
    jobs = f"/apis/{group}/v1alpha1/namespaces/{namespace}/finetunejobs"
    await client.send("POST", jobs, {**a_job(namespace, "hot"), "apiVersion": f"{group}/v1alpha1"})

    # One after the other: patches of one object that meet make the server begin each of them anew, and soon do nothing else.
    for number in itertools.count():
        due = time.monotonic() + 1 / per_s
        spec = {"runtime": {"ttlSecondsAfterFinished": 1000 + number}}
        await client.send("PATCH", f"{jobs}/hot", {"spec": spec}, MERGE)
        edits.append(number)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def created_at_pace(bench: Bench, count: int) -> tuple[dict[str, float], list[Call], dict[str, str]]:
    """Create FineTuneJobs at 20 a second; return the delays, all that was asked, and each Job's owner."""
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
