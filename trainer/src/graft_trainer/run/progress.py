"""progress.jsonl: one line whenever there is something to tell, at most every half second while training."""

import math
import os
from pathlib import Path
from typing import Final

from graft_core.api.v1alpha1.finetunejob import ProgressStatus
from graft_core.clock import Clock, to_rfc3339
from graft_core.contracts.train_report import Progress, TrainPhase

__all__ = ["ProgressWriter", "to_decimal"]

MIN_INTERVAL_S: Final = 0.5
"""Steps in between are not told; the last one of a phase always is."""

TAIL_BYTES: Final = 8192
"""More than a few lines."""


def to_decimal(value: float) -> str | None:
    """Write a number as the API's decimal strings, six significant digits; None where it is NaN or infinite."""
    return f"{value:.6g}" if math.isfinite(value) else None


class ProgressWriter:
    """Appends to progress.jsonl; each line is one write, so only the last can be torn."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._phase: TrainPhase = "Preparing"
        self._told_at = -math.inf
        self._status = ProgressStatus(steps="0/0")
        self._eval_loss: str | None = None
        self._resumed_from = 0
        self.newest = ""
        """The newest line, as JSON; empty before there is one. Other threads may read it."""
        # A kill may have torn the last line; start the next one on its own.
        if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            self._append("\n")

    def resumed(self, step: int) -> None:
        """Remember the checkpoint that this attempt went on from."""
        self._resumed_from = step

    def last(self) -> ProgressStatus | None:
        """Say where training stands by the file's last line, whoever wrote it; None before there is a step."""
        self.follow()
        return self._status if self._status.step else None

    def follow(self) -> int:
        """Take over where other processes are that write to the same file; return the step they went on from."""
        for line in reversed(_tail(self._path).split("\n")):
            try:
                found = Progress.model_validate_json(line)
            except ValueError:
                continue
            self._status, self._eval_loss, self._resumed_from = found.status, found.eval_loss, found.resumed_from_step
            self.newest = line
            break
        return self._resumed_from

    def enter(self, phase: TrainPhase) -> None:
        """Begin a phase."""
        self._phase = phase
        self._tell()

    def step(self, status: ProgressStatus) -> None:
        """Tell where training stands, unless the last line is fresh."""
        is_last = status.step >= status.total_steps
        self._status = status
        if is_last or self._clock.monotonic() - self._told_at >= MIN_INTERVAL_S:
            self._tell()

    def evaluated(self, eval_loss: float) -> None:
        """Tell the loss on the validation split."""
        self._eval_loss = to_decimal(eval_loss)
        self._tell()

    def _tell(self) -> None:
        self._told_at = self._clock.monotonic()
        line = Progress(
            at=to_rfc3339(self._clock.now()),
            phase=self._phase,
            status=self._status,
            eval_loss=self._eval_loss,
            resumed_from_step=self._resumed_from,
        )
        self.newest = line.to_json()
        self._append(self.newest + "\n")

    def _append(self, line: str) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def _tail(path: Path) -> str:
    """Read the last few lines; the file grows for as long as a training takes."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")
