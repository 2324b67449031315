"""Figures of the operator's bench that take many objects: throughput, memory and restart, and the API server alone."""

import asyncio
import copy
import time
from typing import Any

from tests.bench.bench_operator_audit import reads, writes
from tests.bench.bench_operator_bed import Client, Json, names, running_operator, wait_for
from tests.bench.bench_operator_figures import Bench, Figure, at_most, cpu_share, loop_figures, per_cr, until_jobs
from tests.cluster.tenants import make_namespace

__all__ = ["alone", "settled", "throughput"]


async def alone(bench: Bench, sizes: Any) -> list[Figure]:
    """The API server without the operator: the bench sends the same four writes for each FineTuneJob."""
    namespace, first = make_namespace(bench.plane.api), "model-of-all"
    async with Client(bench.plane.access) as client:
        with running_operator(bench.plane, "once"):
            await client.create_job(namespace, first)
            await until_jobs(client, namespace, 1)
            await asyncio.sleep(1.0)
        found = await client.send("GET", f"/apis/graft.dev/v1alpha1/namespaces/{namespace}/finetunejobs/{first}")
        (request,) = [
            one
            for one in (await client.send("GET", f"/api/v1/namespaces/{namespace}/configmaps"))["items"]
            if one["metadata"]["name"].startswith(first)
        ]
        (job,) = (await client.send("GET", f"/apis/batch/v1/namespaces/{namespace}/jobs"))["items"]
        where = make_namespace(bench.plane.api)

        async def one(name: str) -> None:
            await client.create_job(where, name)
            await client.patch_job(where, name, {"metadata": {"finalizers": ["graft.dev/finalizer"]}})
            await client.send("POST", f"/api/v1/namespaces/{where}/configmaps", again(request, where, name))
            await client.send("POST", f"/apis/batch/v1/namespaces/{where}/jobs", again(job, where, name))
            await client.patch_job(where, name, {"status": found["status"]}, status=True)

        count, begun = min(sizes.crs, 1000), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for name in names("alone", count):
                group.create_task(one(name))
        return [
            Figure("API server alone, the same writes, nobody watching", count / (time.monotonic() - begun), "CR/s")
        ]


def again(found: Json, namespace: str, name: str) -> Json:
    """Make an object like one that was read."""
    body = copy.deepcopy(found)
    kept = {key: body["metadata"][key] for key in ("labels", "annotations") if key in body["metadata"]}
    body["metadata"] = {**kept, "name": name, "namespace": namespace}
    body.pop("status", None)
    for part in (body.get("spec") or {}, ((body.get("spec") or {}).get("template") or {}).get("metadata") or {}):
        part.pop("selector", None)
        for label in [one for one in part.get("labels") or {} if "controller-uid" in one or "job-name" in one]:
            del part["labels"][label]
    return body


async def throughput(bench: Bench, sizes: Any) -> list[Figure]:
    """As many as are told, as fast as the client can, over ten namespaces."""
    spaces = [make_namespace(bench.plane.api) for _ in range(10)]
    with running_operator(bench.plane, "throughput", bench.profile) as operator:
        bench.calls()
        cpu_s = operator.cpu_s()
        async with Client(bench.plane.access, 8) as client:
            async with asyncio.TaskGroup() as group:
                for number, name in enumerate(names("many", sizes.crs)):
                    group.create_task(client.create_job(spaces[number % 10], name))
            for space in spaces:
                await until_jobs(client, space, len(range(0, sizes.crs, 10)) if sizes.crs % 10 else sizes.crs // 10)
            cpu_s, peak = operator.cpu_s() - cpu_s, operator.peak_mib()
            owners: dict[str, str] = {}
            for space in spaces:
                owners |= await client.jobs_of(space)
        calls = bench.calls()
        created = [c.done for c in calls if (c.verb, c.resource) == ("create", "finetunejobs") and c.status == 201]
        made = [c.done for c in calls if (c.verb, c.resource) == ("create", "jobs") and c.status == 201]
        passed = max(made) - min(created)
        rate = len(made) / passed
        figures = [
            Figure(
                f"CR/s, {sizes.crs} CRs, from the first creation to the last Job", rate, "CR/s", "≥ 100", rate >= 100
            ),
            Figure("CR/s of the client meanwhile", len(created) / (max(created) - min(created)), "CR/s"),
            Figure(
                "Jobs made more than once", len(made) - len(set(owners.values())), "", "= 0", len(made) == sizes.crs
            ),
            Figure("processor time of the operator per CR", 1000 * cpu_s / sizes.crs, "ms"),
            Figure("requests of the operator per CR", per_cr(calls, sizes.crs)),
            Figure("peak memory of the operator meanwhile", peak, "MiB"),
            *loop_figures(operator),
        ]
        await asyncio.sleep(5.0)
        cpu = await cpu_share(operator, sizes.quiet_s)
        return [*figures, Figure(f"processor share with {sizes.crs} unfinished CRs", cpu, "%")]


async def settled(bench: Bench, sizes: Any) -> list[Figure]:
    """Many CRs that ended: what a restart takes, and what they cost while nothing happens."""
    spaces = [make_namespace(bench.plane.api) for _ in range(10)]
    async with Client(bench.plane.access) as client:

        async def one(number: int, name: str) -> None:
            space = spaces[number % 10]
            await client.create_job(space, name, ["graft.dev/finalizer"])
            await client.patch_job(space, name, {"status": ended_status()}, status=True)

        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(names("done", sizes.settled)):
                group.create_task(one(number, name))
    bench.calls()
    with running_operator(bench.plane, "settled", bench.profile) as operator:
        known = "graft_operator_objects_count"
        wait_for(lambda: operator.total(known) >= sizes.settled, 300, "the objects", 0.2)
        ready_s = time.monotonic() - operator.started
        asked = bench.calls()
        await asyncio.sleep(20.0)
        cpu = await cpu_share(operator, sizes.quiet_s)
        written = writes(bench.calls())
        return [
            at_most(f"restart to ready with {sizes.settled} settled CRs", ready_s, 10, "s"),
            at_most("reads of the operator until then", reads(asked), 25),
            at_most(f"memory with {sizes.settled} settled CRs", operator.rss_mib(), 160e6 / 2**20, "MiB"),
            Figure("the same, peak", operator.peak_mib(), "MiB"),
            at_most(f"processor share with {sizes.settled} settled CRs", cpu, 1, "%"),
            Figure("writes meanwhile", sum(written.values()), "", "= 0", not written),
        ]


def ended_status() -> Json:
    """The status of a job that was published."""
    at, generation = "2026-01-31T09:00:00Z", 1
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": f"{reason}: what a person is told",
            "lastTransitionTime": at,
            "observedGeneration": generation,
        }
        for kind, reason in (
            ("Accepted", "Accepted"),
            ("Scheduled", "Finished"),
            ("Trained", "Trained"),
            ("Published", "Published"),
            ("Complete", "Complete"),
        )
    ]
    return {"phase": "Succeeded", "observedGeneration": generation, "finishedAt": at, "conditions": conditions}
