"""What the operator itself can do: the double of an API server in a process of its own, which answers from memory.

A real API server needs several processor-milliseconds for each write, so on few cores it is the server that is measured. Here each
answer costs a fraction of that, and what is slow is the operator. The double validates no schema, keeps nothing on disk and speaks
plain HTTP: these figures stand beside those of the real server, never instead of them.
"""

import asyncio
import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from graft_operator.ports import FINE_TUNE_JOBS, JOBS, Resource
from tests.bench.bench_operator_audit import percentile
from tests.bench.bench_operator_bed import Operator, Patient, a_job, names, operator_process, paced
from tests.bench.bench_operator_figures import Figure, at_most, delay_figures, loop_figures
from tests.fakes.kube import Change, FakeKube
from tests.fakes.kube_http import kubeconfig_of, serve_kube

__all__ = ["double"]

PER_S = 100.0
"""FineTuneJobs a second that the goal asks for."""
PER_S_HOT = 20.0
"""FineTuneJobs a second beside the one that is edited."""
TWINS = Resource("twin.graft.dev/v1alpha1", "FineTuneJob", "finetunejobs")
"""FineTuneJobs that nobody watches."""
NAMESPACES = 10
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Scenario:
    """What users do."""

    count: int
    per_s: float
    edits_per_s: float = 0.0
    """Of one object more; 0 leaves it out."""
    edited: Resource = FINE_TUNE_JOBS
    """Of what kind it is."""


@dataclass(frozen=True)
class Seen:
    """What the double saw."""

    delays: dict[str, float]
    """Seconds from a FineTuneJob to its Job, by the FineTuneJob's name."""
    passed_s: float
    """From the first FineTuneJob to the last Job."""
    edits: int

    @property
    def per_s(self) -> float:
        """Jobs a second."""
        return len(self.delays) / self.passed_s


async def double(sizes: Any, profile: str = "") -> list[Figure]:
    """The operator against the double: the goal's rate, as fast as it can, and the hot FineTuneJob."""
    return [*await _rate(sizes, profile), *await _ceiling(sizes), *await _hot(sizes)]


async def _rate(sizes: Any, profile: str) -> list[Figure]:
    with _operator_on_double("rate", profile) as (there, operator):
        cpu_s = operator.cpu_s()
        seen = await _play(there, Scenario(sizes.crs, PER_S))
        cpu_s = operator.cpu_s() - cpu_s
        (late,) = loop_figures(operator)
        there_are, per_s, what = len(seen.delays), seen.per_s, f"double: {sizes.crs} CRs at {PER_S:g}/s"
        return [
            Figure(f"{what}, from the first creation to the last Job", per_s, "CR/s", "≥ 97", per_s >= 97),
            Figure(f"{what}, CRs whose Job came", there_are, "", f"= {sizes.crs}", there_are == sizes.crs),
            *delay_figures(f"{what}, CR to Job", seen.delays, 0.040, 0.250),
            Figure("double: processor time of the operator per CR", 1000 * cpu_s / sizes.crs, "ms"),
            Figure("double: memory of the operator, peak", operator.peak_mib(), "MiB"),
            replace(late, name=f"double: {late.name}"),
        ]


async def _ceiling(sizes: Any) -> list[Figure]:
    with _operator_on_double("ceiling") as (there, operator):
        seen = await _play(there, Scenario(sizes.crs, math.inf))
        (late,) = loop_figures(operator)
    what = f"double: {sizes.crs} CRs at once"
    return [
        Figure(f"{what}, from the first creation to the last Job", seen.per_s, "CR/s"),
        replace(late, name=f"{what}, {late.name}"),
    ]


async def _hot(sizes: Any) -> list[Figure]:
    """Each run has a double of its own: a minute after a run its FineTuneJobs are looked at again."""
    quiet = Scenario(sizes.hot, PER_S_HOT)
    edited = Scenario(sizes.hot, PER_S_HOT, sizes.edits)
    found: list[Seen] = []
    for scenario in (quiet, replace(edited, edited=TWINS), edited):
        with _operator_on_double("hot") as (there, _):
            found.append(await _play(there, scenario))
    before, beside, after = (percentile(list(seen.delays.values()), 0.99) for seen in found)
    what = f"double: CR to Job at {PER_S_HOT:g}/s, p99"
    return [
        Figure(f"{what}, none edited", 1000 * before, "ms"),
        Figure(f"{what}, a twin that nobody watches edited", 1000 * beside, "ms"),
        Figure(f"{what}, one edited", 1000 * after, "ms"),
        Figure("double: edits a second", found[-1].edits / found[-1].passed_s),
        at_most("double: one CR edited all the time delays the others' p99 by", 100 * (after / before - 1), 20, "%"),
        Figure("double: of it the operator, beside the twin", 100 * (after / beside - 1), "%"),
    ]


async def _play(there: Connection, scenario: Scenario) -> Seen:
    there.send(scenario)
    found = await asyncio.to_thread(there.recv)
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, Seen)
    return found


@contextmanager
def _operator_on_double(name: str, profile: str = "") -> Generator[tuple[Connection, Operator]]:
    with _running_double() as (there, kubeconfig), operator_process(kubeconfig, name, profile) as operator:
        yield there, operator


@contextmanager
def _running_double() -> Generator[tuple[Connection, Path]]:
    """Run the double; yields the line to tell it what users do, and a kubeconfig."""
    here, far = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(far,), daemon=True)
    process.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "config"
            kubeconfig.write_text(json.dumps(kubeconfig_of(here.recv())))
            yield here, kubeconfig
    finally:
        process.kill()
        process.join()


# ------------------------------------------------------------ in the double's process


def _serve(line: Connection) -> None:
    asyncio.run(_served(line))


async def _served(line: Connection) -> None:
    kube = FakeKube()
    async with serve_kube(kube) as (_, url):
        line.send(url)
        scenario: Scenario = await asyncio.to_thread(line.recv)
        try:
            line.send(await _Users(kube, scenario).run())
        except TimeoutError:
            line.send(Patient(f"the Jobs of {scenario} did not come within {PATIENCE_S:g} s after the last creation"))
        await asyncio.Event().wait()  # the operator gives its Lease back


class _Users:
    """They create, edit, and look at the clock when a Job comes."""

    def __init__(self, kube: FakeKube, scenario: Scenario) -> None:
        self._kube, self._scenario = kube, scenario
        self._created: dict[str, float] = {}
        self._made: dict[str, float] = {}
        self._all_there = asyncio.Event()
        self._edits = 0
        kube.subscribe(self._see)

    async def run(self) -> Seen:
        editing = asyncio.create_task(self._edit())
        begun = time.monotonic()
        await paced(names("job", self._scenario.count), self._scenario.per_s, self._create)
        async with asyncio.timeout(PATIENCE_S):
            await self._all_there.wait()
        editing.cancel()
        delays = {name: made - self._created[name] for name, made in self._made.items()}
        return Seen(delays, max(self._made.values()) - begun, self._edits)

    async def _create(self, name: str) -> None:
        self._created[name] = time.monotonic()
        self._kube.add(FINE_TUNE_JOBS, a_job(f"team-{len(self._created) % NAMESPACES}", name))

    async def _edit(self) -> None:
        if not self._scenario.edits_per_s:
            return
        begun = time.monotonic()
        self._kube.add(self._scenario.edited, a_job("team-hot", "hot"))
        while True:
            self._edits += 1
            await asyncio.sleep(max(0.0, begun + self._edits / self._scenario.edits_per_s - time.monotonic()))
            spec = {"runtime": {"ttlSecondsAfterFinished": 1000 + self._edits}}
            self._kube.edit(self._scenario.edited, "team-hot", "hot", {"spec": spec})

    def _see(self, change: Change) -> None:
        if change.type != "ADDED" or change.resource != JOBS:
            return
        owner = change.object["metadata"]["labels"]["graft.dev/name"]
        if owner in self._created:
            self._made.setdefault(owner, time.monotonic())
            if len(self._made) == self._scenario.count:
                self._all_there.set()
