"""Operators as processes beside a real control plane, for tests that freeze, kill and forbid."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.core.api import objects

if TYPE_CHECKING:
    from tests.cluster.api import Access, Api
    from tests.cluster.controlplane import ControlPlane

__all__ = ["RULES", "OperatorProcess", "a_job", "checks_of", "operator_process", "status_of", "writes_of"]

RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["graft.dev"],
        "resources": ["finetunejobs", "modelreleases", "finetunejobs/status", "modelreleases/status"],
        "verbs": ["get", "list", "watch", "patch"],
    },
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]},
    {
        "apiGroups": ["serving.kserve.io", "gateway.networking.k8s.io", "apps"],
        "resources": ["inferenceservices", "httproutes", "deployments"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["list", "watch"]},
]
"""What an operator of these tests may do; the chart's own rights have tests of their own."""


class OperatorProcess:
    """One replica."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it said."""
        return self._log.read_text(encoding="utf-8")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)


@contextmanager
def operator_process(access: "Access", folder: Path, name: str, **settings: str) -> Generator[OperatorProcess]:
    """Run one replica as this user; it is killed at the end."""
    from tests.cluster.api import write_kubeconfig

    home = folder / name
    home.mkdir()
    environment = {
        "KUBECONFIG": str(write_kubeconfig(home / "config", access)),
        "POD_NAME": name,
        "POD_NAMESPACE": "default",
        "GRAFT_PROBE_PORT": "0",
        "GRAFT_OUTPUT_URI": "s3://adapters/out",
        **settings,
    }
    log = home / "log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "graft_operator", "operator"],
            env={**os.environ, **environment},
            stdout=told,
            stderr=told,
        )
        try:
            yield OperatorProcess(process, log)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def a_job(namespace: str, name: str) -> dict[str, Any]:
    """Return a FineTuneJob as a user applies it."""
    return objects.changed(objects.changed(objects.a_job(), "metadata.name", name), "metadata.namespace", namespace)


def checks_of(api: "Api", namespace: str) -> list[str]:
    """Return the owners of the check Jobs in a namespace, each as often as it has one."""
    jobs = api.list("batch/v1", "Job", namespace)
    return sorted(job["metadata"]["labels"]["graft.dev/name"] for job in jobs)


def status_of(api: "Api", namespace: str, name: str) -> dict[str, dict[str, Any]]:
    """Return a job's conditions by type."""
    found = api.find("graft.dev/v1alpha1", "FineTuneJob", namespace, name) or {}
    return {condition["type"]: condition for condition in (found.get("status") or {}).get("conditions") or []}


def writes_of(plane: "ControlPlane", user: str, resources: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """Return what a user wrote: time, verb and resource, by the audit log; leases only where they are asked for."""
    found: list[tuple[str, str, str]] = []
    for event in plane.audited_writes():
        resource = (event.get("objectRef") or {}).get("resource", "")
        is_wanted = resource in resources if resources else resource != "leases"
        if event["user"]["username"].endswith(f":{user}") and is_wanted:
            found.append((event["requestReceivedTimestamp"], event["verb"], resource))
    return found
