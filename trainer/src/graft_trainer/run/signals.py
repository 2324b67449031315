"""SIGTERM: save and leave within the grace period.

While training, the signal is remembered and the loop saves a checkpoint at the end of its step. Anywhere else nothing would be lost that
is not already on the disk, so it ends the child at once by raising Preempted.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from graft_trainer.modeling.faults import Preempted

__all__ = ["Stop"]


class Stop:
    """Whether the child was asked to leave."""

    def __init__(self) -> None:
        self.is_requested = False
        self._is_deferred = False

    def install(self) -> None:
        """Take over SIGTERM and SIGINT; main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    @contextmanager
    def deferred(self) -> Generator[None]:
        """Within it a signal is only remembered; the caller looks at `is_requested` where it can save."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        self.check()

    def check(self) -> None:
        """Leave now if a signal came.

        Raises:
            Preempted: One came.
        """
        if self.is_requested:
            raise Preempted("SIGTERM came; the work so far is saved, and another run goes on from it")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.is_requested = True
        if not self._is_deferred:
            self.check()
