"""Training in several processes, one a GPU: torchrun starts them, this one watches.

The process that `graft-trainer run` is stays what it is with one GPU: it prepares data and model, so that the workers find both on the
disk, tells progress, takes SIGTERM, and evaluates and publishes in the end. torchrun answers every failure with exit code 1, so each
worker leaves a note on how it ended. One that runs out of memory leaves the others waiting in an exchange; torchrun ends them, and all start
anew with the next smaller micro-batch.

On several nodes each has its own torchrun; they find each other by what Kubeflow's torch plugin sets (PET_MASTER_ADDR and so on).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from graft_core.contracts.exit_codes import ExitClass
from graft_core.errors import GraftError
from graft_core.telemetry.logs import get_log
from graft_trainer.modeling.durable import write_atomic
from graft_trainer.modeling.faults import Preempted
from graft_trainer.run.context import Child, Prepared

__all__ = ["WorkerEnd", "WorkerFailed", "end_file", "train_in_processes"]

LOOK_S: Final = 0.5
"""How soon a SIGTERM reaches the workers."""

_log = get_log(__name__)


class WorkerEnd(BaseModel):
    """How a worker failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exit_class: ExitClass
    message: str
    path: str = ""
    is_last_size: bool = False
    """Out of memory with the smallest micro-batch."""


class WorkerFailed(GraftError):
    """A worker failed; its class is the child's."""

    reason = "WorkerFailed"

    def __init__(self, end: WorkerEnd) -> None:
        super().__init__(end.message)
        self.end = end


def end_file(work: Path, rank: int) -> Path:
    """Say where a worker leaves how it failed."""
    return work / "workers" / f"rank-{rank}.json"


def train_in_processes(child: Child, prepared: Prepared) -> None:
    """Train with torchrun, with the largest micro-batch that fits.

    Args:
        child: Says how many processes, and watches.
        prepared: Data and base model, which the workers find on the disk.

    Raises:
        WorkerFailed: A worker failed.
        Preempted: The workers were told to leave, and saved.
    """
    request = child.folder.work / "worker-request.json"
    write_atomic(request, child.request.model_copy(update={"task": prepared.task}).to_json())
    for attempt in count():
        with child.stop.deferred():
            code = _run_workers(child, [*_worker_flags(child, request, prepared), "--attempt", str(attempt)])
            child.resumed(child.progress.follow())
        ends = list(_ends(child.folder.work))
        if code == 0 and not ends:
            break
        failed = min(ends, key=_urgency, default=None)
        if failed is None:
            message = (
                f"the training processes were killed (torchrun ended with code {code}); the log says which came first"
            )
            raise WorkerFailed(WorkerEnd(exit_class=ExitClass.INFRASTRUCTURE, message=message))
        if failed.exit_class is not ExitClass.OUT_OF_MEMORY or failed.is_last_size:
            raise WorkerFailed(failed)
        _log.warning("micro_batch_did_not_fit", attempt=attempt)
    if child.is_first_node and not child.folder.trained.exists():
        raise Preempted("another node of this training was told to leave; the work so far is saved")


def _run_workers(child: Child, flags: list[str]) -> int:
    for path in (child.folder.work / "workers").glob("*.json"):
        path.unlink()
    together = ["--standalone"] if child.nodes == 1 else ["--nnodes", str(child.nodes)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(child.processes), *together]
    # Its folders of logs, empty here, go with the run and are not left among everybody's temporary files.
    logs = ["--log-dir", str(child.folder.work / "torchrun")]
    command = [*torchrun, *logs, "-m", "graft_trainer.run.worker", *flags]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": _threads(child)})
    is_told = False
    while True:
        try:
            return process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            child.progress.follow()
        if child.stop.is_requested and not is_told:
            is_told = True
            process.send_signal(signal.SIGTERM)


def _worker_flags(child: Child, request: Path, prepared: Prepared) -> list[str]:
    return [
        "--request", str(request), "--run-dir", str(child.folder.root), "--base", str(prepared.base),
        "--processes", str(child.processes), "--nodes", str(child.nodes), *(["--pod"] if child.is_pod else []),
    ]  # fmt: skip


def _threads(child: Child) -> str:
    threads = child.request.compute.threads or os.cpu_count() or 1
    return str(max(1, threads // child.processes))


def _ends(work: Path) -> Iterator[WorkerEnd]:
    for path in sorted((work / "workers").glob("*.json")):
        try:
            yield WorkerEnd.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue


def _urgency(end: WorkerEnd) -> int:
    """Order ends: when one process fails, torchrun tells the others to leave, so Preempted is rarely the cause."""
    order = {ExitClass.PREEMPTED: 3, ExitClass.INFRASTRUCTURE: 2, ExitClass.BUG: 1}
    return order.get(end.exit_class, 0)
