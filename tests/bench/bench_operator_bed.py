"""A control plane with an audit log, the operator as a process beside it, and a client that fills it."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.request import urlopen

import aiohttp
import psutil

from graft_operator.local.sockets import free_port
from tests.bench.processor import cpu_s
from tests.cluster.api import Access
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import install, our_crds
from tests.core.api import objects

__all__ = [
    "Client",
    "Json",
    "Operator",
    "Patient",
    "a_job",
    "a_twin",
    "control_plane",
    "operator_process",
    "running_operator",
    "wait_for",
]

Json = dict[str, Any]
JOBS_PATH = "/apis/graft.dev/v1alpha1/namespaces/{}/finetunejobs"
AGENT = "graft-bench"
TRIES = 6
BUSY = {408, 429, 500, 503, 504}
MERGE = "application/merge-patch+json"


class Patient(Exception):
    """Something that was awaited did not come."""


@contextmanager
def control_plane() -> Generator[ControlPlane]:
    """Start one with Graft's CRDs and an audit log; no controllers: a Job makes no pod."""
    with ControlPlane.start(audit=True) as plane:
        install(plane.api, our_crds())
        yield plane


def a_job(namespace: str, name: str) -> Json:
    """Return a FineTuneJob as a user applies it."""
    return objects.changed(objects.changed(objects.a_job(), "metadata.name", name), "metadata.namespace", namespace)


class Client:
    """A user that writes as fast as it is told; `async with` it."""

    def __init__(self, access: Access, connections: int = 24) -> None:
        self._access = access
        self._slots = asyncio.Semaphore(connections)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._access.server,
            connector=aiohttp.TCPConnector(ssl=self._access.tls(), limit=64),
            headers={"Authorization": f"Bearer {self._access.token}", "User-Agent": AGENT},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, method: str, path: str, body: Json | None = None, content: str = "application/json") -> Json:
        """Ask for a path, again where a busy server gave up; what it refuses ends the bench."""
        async with self._slots:
            for tried in itertools.count():
                status, found = await self._once(method, path, body, content)
                if status < 300 or (status == 409 and tried and method == "POST"):
                    return found
                if status not in BUSY or tried == TRIES:
                    raise Patient(f"{method} {path}: {status} {str(found)[:300]}")
                await asyncio.sleep(0.5 * 2**tried)
        raise AssertionError("counting has no end")

    async def _once(self, method: str, path: str, body: Json | None, content: str) -> tuple[int, Json]:
        assert self._session is not None
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": content}) as answer:
            return answer.status, cast("Json", await answer.json())

    async def create_job(self, namespace: str, name: str, finalizers: Sequence[str] = ()) -> Json:
        """Create a FineTuneJob."""
        body = a_job(namespace, name)
        body["metadata"]["finalizers"] = list(finalizers)
        return await self.send("POST", JOBS_PATH.format(namespace), body)

    async def patch_job(self, namespace: str, name: str, patch: Json, *, status: bool = False) -> Json:
        """Patch a FineTuneJob, or its status."""
        path = f"{JOBS_PATH.format(namespace)}/{name}" + ("/status" if status else "")
        return await self.send("PATCH", path, patch, MERGE)

    async def jobs_of(self, namespace: str) -> dict[str, str]:
        """Return the owner of each batch Job by the Job's name."""
        found = await self.send("GET", f"/apis/batch/v1/namespaces/{namespace}/jobs")
        return {one["metadata"]["name"]: one["metadata"]["labels"]["graft.dev/name"] for one in found["items"]}


async def paced(names: Iterable[str], per_s: float, do: Callable[[str], Awaitable[object]]) -> None:
    """Do something for each name, so many a second, whatever each takes."""
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, begun + number / per_s - time.monotonic()))
            group.create_task(_run(do(name)))


async def _run(doing: Awaitable[object]) -> None:
    await doing


@dataclass
class Operator:
    """One operator process."""

    process: psutil.Popen
    port: int
    log: Path
    started: float

    def cpu_s(self) -> float:
        """Processor seconds that it took."""
        return cpu_s(self.process)

    def rss_mib(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss) / 2**20

    def peak_mib(self) -> float:
        """Most resident memory that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**10

    def metrics(self) -> dict[str, float]:
        """Return its metrics by name with labels."""
        text = self._get("/metrics")
        rows = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    def total(self, prefix: str) -> float:
        """Sum up the metrics whose names begin so."""
        return sum(value for name, value in self.metrics().items() if name.startswith(prefix))

    def is_ready(self) -> bool:
        """Say whether it is, as the kubelet would ask."""
        try:
            return self._get("/readyz") == "ok\n"
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return cast("bytes", answer.read()).decode()


@contextmanager
def running_operator(plane: ControlPlane, name: str, profile: str = "", **settings: str) -> Generator[Operator]:
    """Run the operator on a control plane until the end of the block, and have it give its Lease back."""
    with operator_process(plane.kubeconfig, name, profile, **settings) as operator:
        yield operator


@contextmanager
def operator_process(kubeconfig: Path, name: str, profile: str = "", **settings: str) -> Generator[Operator]:
    """Run the operator until the end of the block; its log lies beside the kubeconfig."""
    port, log = free_port(), kubeconfig.with_name(f"operator-{name}.log")
    environment = {
        "KUBECONFIG": str(kubeconfig),
        "POD_NAME": name,
        "POD_NAMESPACE": "default",
        "GRAFT_PROBE_HOST": "127.0.0.1",
        "GRAFT_PROBE_PORT": str(port),
        "GRAFT_OUTPUT_URI": "s3://adapters/out",
        **settings,
    }
    profiler = ["-m", "cProfile", "-o", profile] if profile else []
    with log.open("wb") as told:
        process = psutil.Popen(
            [sys.executable, *profiler, "-m", "graft_operator", "operator"],
            env={**os.environ, **environment},
            stdout=told,
            stderr=told,
        )
        operator = Operator(process, port, log, time.monotonic())
        try:
            wait_for(operator.is_ready, 60, "the operator")
            yield operator
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
                process.kill()
                process.wait()


def wait_for(is_so: Callable[[], bool], seconds: float, what: str, every_s: float = 0.05) -> float:
    """Wait until something is so; return how long it took."""
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > seconds:
            raise Patient(f"{what} did not come within {seconds:g} s")
        time.sleep(every_s)
    return time.monotonic() - begun


def a_twin(group: str) -> Json:
    """Return the definition of FineTuneJobs under another group, which the operator does not know."""
    (found,) = (crd for crd in our_crds() if crd["spec"]["names"]["kind"] == "FineTuneJob")
    name = f"{found['spec']['names']['plural']}.{group}"
    return {**found, "metadata": {"name": name}, "spec": {**found["spec"], "group": group}}


def names(prefix: str, count: int) -> Sequence[str]:
    """Return so many names."""
    return [f"{prefix}-{number:05d}" for number in range(count)]
