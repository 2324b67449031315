"""An operator over the double of an API server: real cycle, directory, pump and metrics; shells that do as a test says, named as doubles."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import FINALIZER, KIND_FINETUNEJOB
from graft_core.telemetry.metrics import MetricSet
from graft_operator.engine.cycle import RESOURCES, Cycle
from graft_operator.engine.directory import Directory, Key
from graft_operator.engine.metrics import OperatorMetrics
from graft_operator.engine.pump import Pump
from graft_operator.engine.queue import Moot
from graft_operator.ports import JOBS, Json
from graft_operator.reconcile.decision import (
    Action,
    AddFinalizer,
    CreateChild,
    Event,
    FineTuneJobDecision,
    ModelReleaseDecision,
    RemoveFinalizer,
)
from tests.core.api import objects
from tests.fakes.clock import FakeClock
from tests.fakes.kube import Change, FakeKube

__all__ = ["JOB", "EngineWorld", "JobShellDouble", "ReleaseShellDouble", "a_job", "a_release"]


def a_job(name: str = "rephrase") -> Json:
    """Return a FineTuneJob as a user applies it."""
    return objects.changed(objects.changed(objects.a_job(), "metadata.name", name), "metadata.namespace", "ml")


def a_release(name: str = "service") -> Json:
    """Return a ModelRelease as a user applies it."""
    return objects.changed(objects.changed(objects.a_release(), "metadata.name", name), "metadata.namespace", "ml")


class JobShellDouble:
    """Decides what any job needs first: the finalizer, one child, and a phase that follows from the child."""

    def __init__(self, kube: FakeKube) -> None:
        self.kube = kube
        self.faults: list[Exception] = []
        """Raised by `apply`, one a time."""
        self.forgotten: list[str] = []
        self.decided = 0
        self.changes: dict[str, Any] = {}
        """Put into the status."""
        self.look_again_s: float | None = None
        self.meanwhile: Callable[[], object] = dict
        """What happens while it decides."""

    async def decide(self, job: FineTuneJob, now: datetime) -> FineTuneJobDecision:
        self.decided += 1
        self.meanwhile()
        meta = job.metadata
        if meta.deletion_timestamp is not None:
            return FineTuneJobDecision(job.status, (RemoveFinalizer(),) if FINALIZER in meta.finalizers else ())
        actions: list[Any] = [] if FINALIZER in meta.finalizers else [AddFinalizer()]
        events: Sequence[Event] = ()
        if await self.kube.get(JOBS, meta.namespace, f"{meta.name}-check") is None:
            actions.append(CreateChild("check", f"{meta.name}-check", None, 3))
            events = (Event("Normal", "Checking", "looks at the data first"),)
        status = job.status.model_copy(update={"observed_generation": meta.generation, **self.changes})
        return FineTuneJobDecision(
            job.status if status == job.status else status, tuple(actions), tuple(events), self.look_again_s
        )

    async def apply(self, action: Action, job: FineTuneJob) -> None:
        if self.faults:
            raise self.faults.pop(0)
        assert isinstance(action, CreateChild)
        meta = job.metadata
        owner = {"apiVersion": job.api_version, "kind": job.kind, "name": meta.name, "uid": meta.uid}
        labels = {"graft.dev/uid": meta.uid}
        child = {"name": action.name, "namespace": meta.namespace, "labels": labels, "ownerReferences": [owner]}
        await self.kube.create(JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": child, "spec": {}})

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)


class ReleaseShellDouble:
    """Decides nothing but the generation."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    async def decide(self, release: ModelRelease, now: datetime) -> ModelReleaseDecision:
        return ModelReleaseDecision(
            release.status.model_copy(update={"observed_generation": release.metadata.generation})
        )

    async def apply(self, action: Action, release: ModelRelease) -> None:
        raise AssertionError(action)

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)


class EngineWorld:
    """One operator, its cluster, and what it marked."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.clock = FakeClock()
        self.jobs, self.releases = JobShellDouble(self.kube), ReleaseShellDouble()
        self.directory = Directory()
        self.metrics = OperatorMetrics(MetricSet(CollectorRegistry()))
        self.told: list[tuple[str, Event]] = []
        self.marks: list[tuple[Key, float]] = []
        self.cycle = Cycle(self.kube, self, self.jobs, self.releases, self.directory, self.metrics, self.clock)
        self.pump = Pump(self.directory, self.metrics, self._mark, self.cycle.forget, self.clock)

    def emit(self, involved: Json, event: Event) -> None:
        """Keep an event."""
        self.told.append((str(involved["metadata"]["name"]), event))

    def watch(self) -> None:
        """Have the pump told of every change, as a watch without delay would."""
        own = set(RESOURCES.values())

        def take(change: Change) -> None:
            (self.pump.take_object if change.resource in own else self.pump.take_child)(change.type, change.object)

        self.kube.subscribe(take)

    def add(self, body: Json) -> Key:
        """Have a user apply an object."""
        made = self.kube.add(RESOURCES[body["kind"]], body)
        return Key(made["kind"], made["metadata"]["namespace"], made["metadata"]["name"])

    def find(self, key: Key) -> Json:
        """Look at an object that is there."""
        found = self.kube.find(RESOURCES[key.kind], key.namespace, key.name)
        assert found is not None
        return found

    def counted(self, name: str, **labels: str) -> float:
        """Return a metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def _mark(self, key: Key, after_s: float, is_moot: Moot | None) -> None:
        del is_moot  # nothing runs here while something is marked
        self.marks.append((key, after_s))


JOB = Key(KIND_FINETUNEJOB, "ml", "rephrase")
