"""A child's life in a pod: what it takes from its surroundings, what it tells while it runs, and what it leaves when it goes."""

import contextlib
import json
import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from graft_core.contracts.pod import PINNED_ENV, PROGRESS_PORT, TERMINATION_FILE
from graft_core.contracts.train_report import TrainReport
from graft_core.contracts.train_request import Pinned
from graft_core.telemetry.logs import get_log
from graft_trainer.modeling.durable import write_atomic
from graft_trainer.run.context import Child
from graft_trainer.run.last_words import write_last_words
from graft_trainer.run.progress import ProgressWriter
from graft_trainer.run.progress_server import serve_progress
from graft_trainer.run.remote import RemoteState

__all__ = ["Pod"]

_log = get_log(__name__)


@dataclass(frozen=True)
class Pod:
    """The surroundings; the defaults are those that the operator renders."""

    port: int = PROGRESS_PORT
    termination_file: Path = Path(TERMINATION_FILE)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @contextlib.contextmanager
    def served(self, progress: ProgressWriter) -> Generator[int]:
        """Tell the newest progress over HTTP, from the first moment to the last; yields the port."""
        with serve_progress(lambda: progress.newest, self.port) as port:
            yield port

    def enter(self, child: Child, role: Literal["check", "train"], usage_file: Path) -> str:
        """Give a child what it needs here, and what attempts on other nodes left.

        Args:
            child: Its request gets the pins of the train child.
            role: Which child it is.
            usage_file: Gets the seconds of the attempts before.

        Returns:
            How the attempt before ended, where it could say so.
        """
        child.is_pod = True
        child.remote = RemoteState(child.request, role)
        pinned = self.environ.get(PINNED_ENV)
        if pinned:
            child.request = child.request.model_copy(update={"pinned": Pinned.model_validate_json(pinned)})
        if role == "check":
            return ""
        state = child.remote.read_state()
        if state and not usage_file.exists():
            write_atomic(usage_file, json.dumps({"train_seconds": int(state.get("train_seconds", 0))}))
        return str(state.get("end", ""))

    def leave(self, report: TrainReport, child: Child | None) -> None:
        """Leave the report: first where it can't fail to arrive, then whole where the rest of the run is."""
        if child is not None and not child.is_first_node:
            return  # one report a training; exit codes speak for the other nodes
        try:
            write_last_words(report, self.termination_file)
        except OSError as err:
            _log.warning("no_last_words", reason=str(err.strerror))
        if child is None or child.remote is None:
            return
        child.remote.write_report(report)
        if report.role == "train" and report.usage is not None:
            child.remote.write_state(report.usage.train_seconds, report.exit_class.value)
