"""A real operator process that is killed with SIGKILL before, or right after, one of its writes; another one goes on.

The API server is real, and Job controller and garbage collector are Kubernetes' own; kubelet, Deployment controller, gateway and KServe's controller are the doubles of
tests/cluster. Each trial has a namespace of its own. The process that goes on in one trial is the one that dies in the next, so a trial
costs one start. Each process has a Lease of its own: the dead one's would be waited for, as it must be, for 15 s (that has tests of its own).
"""

import os
import signal
from collections.abc import Callable, Collection, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from tests.cluster.api import Api, Json
from tests.cluster.faultproxy import FaultProxy
from tests.cluster.faults import Action, DropBefore, Seen, is_uncounted
from tests.cluster.tenants import make_namespace
from tests.operator.handlers.on_api_server import OperatorProcess, operator_process

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

__all__ = ["CrashBed", "Story", "Trial"]

LOOK_S: Final = 0.1
PATIENCE_S: Final = 300.0


class Story(Protocol):
    """What an object goes through, and who acts around it."""

    @property
    def resources(self) -> Collection[str]:
        """Plurals of what the operator writes for it."""
        ...

    def begin(self, api: Api, namespace: str) -> None:
        """Apply it."""
        ...

    def tend(self, api: Api, namespace: str) -> bool:
        """Do what everybody but the operator does next; True at the end of the story."""
        ...

    def shape(self, api: Api, namespace: str) -> Any:
        """Return the end state, without what names, time and tries leave behind."""
        ...


@dataclass(frozen=True, slots=True)
class Trial:
    """What one telling of a story came to."""

    shape: Any
    writes: tuple[str, ...]
    """Of the operator, in order: verb and resource."""
    was_killed: bool


@dataclass
class CrashBed:
    """An API server behind a proxy, and the operator of the moment."""

    plane: "ControlPlane"
    proxy: FaultProxy
    folder: Path
    operators: ExitStack
    settings: dict[str, str] = field(default_factory=dict[str, str])
    """Of its operators, beside those of every bed."""
    logs: list[OperatorProcess] = field(default_factory=list[OperatorProcess])
    looks: int = 0
    """Reads of what the story's operator writes, since one died or the story began: who has looked has nothing to add."""
    _process: OperatorProcess | None = None

    @classmethod
    @contextmanager
    def start(cls, plane: "ControlPlane", folder: Path, **settings: str) -> Generator["CrashBed"]:
        """Start the proxy; the first trial starts the first operator."""
        with FaultProxy(plane.access) as proxy, ExitStack() as operators:
            yield cls(plane, proxy, folder, operators, settings)

    def tell(self, story: Story, *, at: int = 0, is_done: bool = False, namespace: str = "") -> Trial:
        """Tell a story once.

        Args:
            story: The story.
            at: Number of the write that is the operator's last; 0: none.
            is_done: Whether the server still does it.
            namespace: Where it plays; none: a fresh one.

        Returns:
            What came of it.
        """
        namespace = namespace or make_namespace(self.plane.api)
        writes: list[str] = []
        victim = self.ensure_running()
        self.looks = 0

        def is_its(seen: Seen) -> bool:
            plural = f"{seen.path}/".partition(f"/namespaces/{namespace}/")[2].partition("/")[0]
            return not is_uncounted(seen) and plural in story.resources

        def kill() -> None:
            _kill(victim)
            self.looks = 0

        def count(seen: Seen) -> Action | None:
            if not is_its(seen) or not seen.is_write:
                self.looks += is_its(seen)
                return None
            writes.append(f"{seen.method} {seen.path.partition(namespace)[2]}")
            if len(writes) != at or is_done:
                return None
            kill()
            return DropBefore()

        def after(seen: Seen) -> None:
            if is_done and len(writes) == at and is_its(seen):
                kill()

        self.proxy.plan, self.proxy.after = count, after
        story.begin(self.plane.api, namespace)
        self._play(lambda: story.tend(self.plane.api, namespace), f"{type(story).__name__} at {at}")
        return Trial(story.shape(self.plane.api, namespace), tuple(writes), victim.process.poll() is not None)

    def _play(self, tend: Callable[[], bool], what: str) -> None:
        deadline, pause = monotonic() + PATIENCE_S, Event()
        while not tend():
            self.ensure_running()
            if monotonic() > deadline:
                raise AssertionError(f"{what}: no end within {PATIENCE_S:.0f} s; {self.logs[-1].log[-2000:]}")
            pause.wait(LOOK_S)

    def ensure_running(self) -> OperatorProcess:
        """Start another operator where the last one is dead; returns the one of the moment."""
        if self._process is None or self._process.process.poll() is not None:
            name = f"operator-{len(self.logs)}"
            # Patient with arms: on a busy machine the doubles are slow.
            settings = {"GRAFT_LOG_LEVEL": "WARNING", "GRAFT_UNREADY_GRACE_S": "120", **self.settings}
            settings["GRAFT_LEASE_NAME"] = f"{self.folder.name}-{name}".lower().replace("_", "-")
            running = operator_process(self.proxy.access, self.folder, name, **settings)
            self._process = self.operators.enter_context(running)
            self.logs.append(self._process)
        return self._process


def _kill(operator: OperatorProcess) -> None:
    """Kill it and see it dead, before anything else happens to its request."""
    if operator.process.returncode is None:
        os.kill(operator.process.pid, signal.SIGKILL)
        operator.process.wait()


def condition_shape(status: Json) -> list[tuple[str, str, str]]:
    """Return conditions without messages and times; what was once told of a fault that is over does not count."""
    found = [(one["type"], one["status"], one["reason"]) for one in status.get("conditions", ())]
    return sorted(one for one in found if one[0] != "Degraded" or one[1] == "True")
