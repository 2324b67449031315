"""One training process among several, started by torchrun: trains, and leaves a note if it fails. Not for people: `graft-trainer run`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from graft_core.clock import SystemClock
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.train_request import TrainRequest
from graft_core.telemetry.logs import configure_logs, get_log
from graft_trainer.data.prepare import load_prepared
from graft_trainer.methods.plan import divisors
from graft_trainer.modeling.durable import write_atomic
from graft_trainer.run.context import Child, Prepared
from graft_trainer.run.ending import ending_of
from graft_trainer.run.folder import RunFolder
from graft_trainer.run.progress import ProgressWriter
from graft_trainer.run.remote import RemoteState
from graft_trainer.run.signals import Stop
from graft_trainer.run.training import train_here
from graft_trainer.run.workers import WorkerEnd, end_file

__all__ = ["main"]

_log = get_log(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Train in one of the processes.

    Args:
        argv: Arguments without the program's name; sys.argv's by default.

    Returns:
        The exit code; torchrun makes 1 of every one but 0.
    """
    args = _parse(argv)
    configure_logs()
    rank = int(os.environ["RANK"])
    folder = RunFolder(args.run_dir)
    request = TrainRequest.model_validate_json(
        args.request.read_bytes()
    )  # written by the process that started this one
    try:
        stop = Stop()
        stop.install()
        child = Child(request, folder, SystemClock(), stop, _progress(folder, rank), is_pod=args.pod)
        child.processes, child.nodes = args.processes, args.nodes
        if args.pod and rank == 0:
            child.remote = RemoteState(request, "train")
        # Checked and pinned by the process that started this one; nothing of it is fetched or looked at again.
        prepared = Prepared(args.base, "", request.task, load_prepared(folder.root), None)
        train_here(child, prepared, attempt=args.attempt)
    except Exception as err:  # noqa: BLE001  # the process edge: whatever it was, the note says so
        kind, message, path = ending_of(err)
        _log.failure("worker_failed", err, rank=rank, exit_class=kind.value)
        is_last = args.attempt >= len(divisors(request.training.batch_size // (args.processes * args.nodes)))
        end = WorkerEnd(exit_class=kind, message=message, path=path, is_last_size=is_last)
        note = end_file(folder.work, rank)
        note.parent.mkdir(exist_ok=True)
        write_atomic(note, end.model_dump_json())
        return EXIT_CODES[kind]
    return EXIT_CODES[ExitClass.SUCCEEDED]


def _progress(folder: RunFolder, rank: int) -> ProgressWriter:
    """Have the first process tell how it goes; the others write where nobody looks."""
    if rank == 0:
        return ProgressWriter(folder.progress, SystemClock())
    quiet = folder.work / "workers"
    quiet.mkdir(exist_ok=True)
    return ProgressWriter(quiet / f"rank-{rank}.jsonl", SystemClock())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m graft_trainer.run.worker")
    for name in ("--request", "--run-dir", "--base"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--processes", "--nodes", "--attempt"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--pod", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
