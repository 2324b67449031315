"""The process edge: request in, report and exit code out, whatever happens in between."""

import contextlib
import gc
import json
import logging
import os
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from graft_core.api.v1alpha1.finetunejob import AttemptStatus, UsageStatus
from graft_core.clock import Clock, SystemClock, to_rfc3339
from graft_core.contracts.base import ObjectRef
from graft_core.contracts.exit_codes import EXIT_CODES
from graft_core.contracts.train_report import TrainReport
from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import InvalidInput
from graft_core.telemetry.logs import JsonFormatter, configure_logs, get_log
from graft_core.telemetry.tracing import TRACEPARENT, extract_context, get_tracer, setup_tracing
from graft_trainer.modeling.durable import write_atomic
from graft_trainer.run.check import check
from graft_trainer.run.context import Child
from graft_trainer.run.ending import ending_of
from graft_trainer.run.folder import RunFolder
from graft_trainer.run.pod import Pod
from graft_trainer.run.progress import ProgressWriter
from graft_trainer.run.signals import Stop
from graft_trainer.run.stages import evaluate, publish, run_all, train

__all__ = ["role_of", "run_child"]

_COMMANDS = {"validate": check, "train": train, "evaluate": evaluate, "publish": publish, "run": run_all}
_UNKNOWN_JOB = ObjectRef(namespace="unknown", name="unknown", uid="unknown")
_USAGE_FILE = "usage.json"

_log = get_log(__name__)


@dataclass
class _Attempt:
    """This process, for the report."""

    clock: Clock
    started_at: datetime
    started_s: float
    usage_file: Path
    reason: str = ""
    """How the attempt before ended, where it could say so."""
    gpus: int = 0
    processes: int = 1
    nodes: int = 1
    child: Child | None = field(default=None)

    def train_seconds(self) -> int:
        """Add this attempt's seconds to those of the ones before that could note theirs."""
        before = 0
        with contextlib.suppress(OSError, ValueError, KeyError):
            before = int(json.loads(self.usage_file.read_text())["train_seconds"])
        return before + round(self.clock.monotonic() - self.started_s)

    def usage(self) -> UsageStatus:
        """Say what all attempts used."""
        total = self.train_seconds()
        return UsageStatus(train_seconds=total, gpu_seconds=total * self.gpus)


def run_child(
    command: str,
    *,
    request_file: Path,
    run_dir: Path,
    clock: Clock | None = None,
    pod: Pod | None = None,
    processes: int = 1,
    nodes: int = 1,
) -> int:
    """Run one command to its end.

    Args:
        command: validate, train, evaluate, publish or run.
        request_file: TrainRequest as JSON.
        run_dir: Run folder; made if missing.
        clock: The system's by default.
        pod: Set in a pod of a cluster: progress over HTTP, last words for the kubelet, checkpoints in object storage.
        processes: Training processes on this machine.
        nodes: Machines that train together.

    Returns:
        The exit code; `report.json` says the rest.
    """
    _set_up_libraries()
    configure_logs()
    stop_tracing = setup_tracing("graft-trainer", os.environ)
    folder = RunFolder(run_dir.absolute())
    folder.make()
    clock = clock or SystemClock()
    before = _end_of_the_one_before(folder.report)
    attempt = _Attempt(clock, clock.now(), clock.monotonic(), folder.work / _USAGE_FILE, before)
    progress = ProgressWriter(folder.progress, clock)
    with _log_file(folder.log), pod.served(progress) if pod else contextlib.nullcontext():
        attempt.processes, attempt.nodes = processes, nodes
        report = _complete(_run(command, request_file, folder, attempt, progress, pod), attempt, progress)
        write_atomic(folder.report, report.to_json())
        if pod is not None:
            pod.leave(report, attempt.child)
    stop_tracing()
    _log.info("child_ended", command=command, exit_class=report.exit_class.value, message=report.message)
    return EXIT_CODES[report.exit_class]


def _run(  # one call, all of it made by run_child
    command: str, request_file: Path, folder: RunFolder, attempt: _Attempt, progress: ProgressWriter, pod: Pod | None
) -> TrainReport:
    job = _UNKNOWN_JOB
    try:
        request = _read_request(request_file)
        job = request.job
        attempt.gpus = request.compute.gpus * (request.compute.nodes or 1)
        stop = Stop()
        stop.install()
        child = Child(request, folder, attempt.clock, stop, progress, train_seconds=attempt.train_seconds)
        child.processes, child.nodes = attempt.processes, attempt.nodes
        child.node_rank = int(os.environ.get("PET_NODE_RANK", "0")) if attempt.nodes > 1 else 0
        attempt.child = child
        if pod is not None:
            attempt.reason = pod.enter(child, role_of(command), attempt.usage_file) or attempt.reason
        _log.info("child_started", command=command, job=f"{job.namespace}/{job.name}", uid=job.uid)
        with get_tracer(__name__).start_as_current_span(
            f"graft.trainer.{command}",
            extract_context({TRACEPARENT: request.traceparent or ""}),
            attributes={"graft.job": f"{job.namespace}/{job.name}"},
        ):
            return _COMMANDS[command](child)
    except Exception as err:  # noqa: BLE001  # the process edge: whatever it was, the report says so
        return _report_failure(command, job, attempt, err)


def role_of(command: str) -> Literal["check", "train"]:
    """Say which child a command is the work of."""
    return "check" if command == "validate" else "train"


def _end_of_the_one_before(path: Path) -> str:
    """Read how the last attempt in this folder ended, and take its report away: one that is found later must be this attempt's."""
    try:
        found = TrainReport.model_validate_json(path.read_bytes()).exit_class.value
    except (OSError, ValueError):
        found = ""
    path.unlink(missing_ok=True)
    return found


def _read_request(path: Path) -> TrainRequest:
    try:
        return TrainRequest.model_validate_json(path.read_bytes())
    except OSError as err:
        raise InvalidInput(f"--request {path.name!r} cannot be read ({err.strerror})", path="--request") from err
    except ValidationError as err:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'request'}: {e['msg']}" for e in err.errors(include_input=False)]
        raise InvalidInput(f"the request is not a TrainRequest: {'; '.join(faults[:8])}", path="--request") from err


def _report_failure(command: str, job: ObjectRef, attempt: _Attempt, error: Exception) -> TrainReport:
    kind, message, path = ending_of(error)
    _log.failure("child_failed", error, command=command, exit_class=kind.value)
    known = attempt.child.findings if attempt.child else {}
    return TrainReport.model_validate(
        {
            **known,
            "job": job,
            "role": role_of(command),
            "exit_class": kind,
            "message": message,
            "path": path,
        }
    )


def _complete(report: TrainReport, attempt: _Attempt, progress: ProgressWriter) -> TrainReport:
    if report.role == "check":
        return report
    usage = attempt.usage()
    with contextlib.suppress(OSError):
        write_atomic(attempt.usage_file, json.dumps({"train_seconds": usage.train_seconds}))
    resumed = attempt.child.resumed_from_step if attempt.child else 0
    status = AttemptStatus(started_at=to_rfc3339(attempt.started_at), resumed_from_step=resumed, reason=attempt.reason)
    return report.model_copy(update={"usage": usage, "attempt": status, "progress": progress.last()})


@contextlib.contextmanager
def _log_file(path: Path) -> Generator[None]:
    """Also keep the log in the run folder: it is published as train.log."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _set_up_libraries() -> None:
    """Settings that libraries read once, when they are imported."""
    # Importing them makes a million objects that stay: at the usual pace, looking through those is a tenth of a start.
    gc.set_threshold(50_000, 20, 100)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    # Waiting threads sleep instead of spinning: on a machine that does other work too, spinning halves everybody's speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # cuBLAS is repeatable only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Announcements of libraries to each other's maintainers.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft|torch)(\.|$)")
    logging.captureWarnings(capture=True)
