"""Kubernetes quantities of a spec, as the numbers a process is held to."""

import math
from dataclasses import dataclass
from decimal import Decimal

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease

__all__ = ["Limits", "arm_limits", "child_limits", "quantity"]

_SUFFIXES = {
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use; None: no limit."""

    threads: int | None = None
    """CPU threads, the quantity rounded up."""
    memory_bytes: int | None = None
    """Resident memory."""


def child_limits(job: FineTuneJob) -> Limits:
    """Read what the children of a job may use."""
    return _limits(job.spec.resources.cpu, job.spec.resources.memory)


def arm_limits(release: ModelRelease) -> Limits:
    """Read what one arm of a release may use."""
    resources = release.spec.predictor.resources
    return _limits(resources.cpu, resources.memory)


def quantity(text: str) -> Decimal:
    """Turn a quantity such as "500m" or "64Gi" into a number; the API's pattern has seen to its form."""
    digits = text.rstrip("mkKMGTi")
    return Decimal(digits) * _SUFFIXES.get(text[len(digits) :], Decimal(1))


def _limits(cpu: str | None, memory: str | None) -> Limits:
    return Limits(
        threads=None if cpu is None else max(1, math.ceil(quantity(cpu))),
        memory_bytes=None if memory is None else int(quantity(memory)),
    )
