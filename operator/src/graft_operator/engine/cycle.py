"""One pass over one object on a cluster: read, decide, actions in order, one status write, events.

The object is read first, so that nothing is older than the status beside it; where the watch has just told of it, that is its reading
(docs/adr/0018). Finalizers and the status are written with the
resourceVersion that was decided on; the API server answers with a Conflict where the object has moved on, and the pass is run again. A pass
that cannot go through because a person must do something says so on its object, and is run again all the same.
"""

import contextlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol, cast

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import FINALIZER, KIND_FINETUNEJOB, KIND_MODELRELEASE
from graft_core.clock import Clock
from graft_core.errors import Corrupt, GraftError, InvalidInput
from graft_core.telemetry.tracing import TRACEPARENT
from graft_operator.engine.directory import Directory, Key
from graft_operator.engine.holding import Holding
from graft_operator.engine.metrics import OperatorMetrics
from graft_operator.engine.reading import diff_merge, read_object
from graft_operator.engine.trouble import clear_trouble, is_trouble, tell_trouble
from graft_operator.passes import log_pass, pass_span
from graft_operator.ports import FINE_TUNE_JOBS, MODEL_RELEASES, Cluster, Json, Resource
from graft_operator.reconcile.decision import (
    AddFinalizer,
    Event,
    FineTuneJobAction,
    FineTuneJobDecision,
    ModelReleaseAction,
    ModelReleaseDecision,
    RemoveFinalizer,
)
from graft_operator.reconcile.kube.parts import text
from graft_operator.reconcile.pacing import look_again_s

__all__ = ["RESOURCES", "Cycle", "EventSink", "JobShell", "ReleaseShell"]


RESOURCES: Final[Mapping[str, Resource]] = {KIND_FINETUNEJOB: FINE_TUNE_JOBS, KIND_MODELRELEASE: MODEL_RELEASES}
"""Graft's own kinds."""

MAX_STATUS_BYTES: Final = 32_768

WATCHED_S: Final = 60.0
"""What was just made is looked at when a watch tells of it, and at the latest then: time for a pending reason to be shown."""


class JobShell(Protocol):
    """What the engine needs of the shell for FineTuneJobs; finalizers are the engine's."""

    async def decide(self, job: FineTuneJob, now: datetime) -> FineTuneJobDecision:
        """Observe one job and decide."""
        ...

    async def apply(self, action: FineTuneJobAction, job: FineTuneJob) -> bool | None:
        """Carry one action out; True where watches will tell what comes of it, so that no pass need look for it soon."""
        ...

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        ...


class ReleaseShell(Protocol):
    """What the engine needs of the shell for ModelReleases; finalizers are the engine's."""

    async def decide(self, release: ModelRelease, now: datetime) -> ModelReleaseDecision:
        """Observe one release and decide."""
        ...

    async def apply(self, action: ModelReleaseAction, release: ModelRelease) -> None:
        """Carry one action out."""
        ...

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        ...


class EventSink(Protocol):
    """Where a pass's events go."""

    def emit(self, involved: Json, event: Event) -> None:
        """Have one event written, soon."""
        ...


class Cycle:
    """Runs passes."""

    def __init__(
        self,
        cluster: Cluster,
        events: EventSink,
        jobs: JobShell,
        releases: ReleaseShell,
        directory: Directory,
        metrics: OperatorMetrics,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._jobs = jobs
        self._releases = releases
        self._directory = directory
        self._metrics = metrics
        self._clock = clock
        self._holding = Holding(clock)

    async def run(self, key: Key) -> float | None:
        """Run one pass.

        Args:
            key: The object.

        Returns:
            After how many seconds the next pass is due; None: when something changes.

        Raises:
            GraftError: It did not go through.
        """
        started, outcome = self._clock.monotonic(), "Broken"
        try:
            again_s = await self._pass(key)
            outcome = "ok"
            return again_s
        except GraftError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._metrics.passes.labels(key.kind, outcome).inc()
            self._metrics.pass_seconds.labels(key.kind).observe(self._clock.monotonic() - started)

    def forget(self, key: Key, uid: str) -> None:
        """Forget an object that is gone."""
        self._holding.forget(key)
        (self._jobs if key.kind == KIND_FINETUNEJOB else self._releases).forget(uid)

    async def _pass(self, key: Key) -> float | None:
        body = self._directory.take_body(key) or await self._cluster.get(RESOURCES[key.kind], key.namespace, key.name)
        if body is None:
            return None
        self._directory.saw(key, str(body["metadata"]["resourceVersion"]))
        now = self._clock.now()
        try:
            return await self._reconcile(_Stored(key, body), now)
        except GraftError as error:
            if is_trouble(error):
                await self._tell(key, body, error, now)
            raise

    async def _reconcile(self, stored: "_Stored", now: datetime) -> float | None:
        try:
            obj, status = read_object(stored.body)
        except InvalidInput as error:
            await self._let_go(stored, error)
            return None
        if isinstance(obj, FineTuneJob):
            job_decision = await self._jobs.decide(obj, now)
            with pass_span(str(stored.key), job_decision.actions, stored.traceparent):
                for action in job_decision.actions:
                    if not await self._finalize(stored, action):
                        stored.is_watched = bool(await self._jobs.apply(action, obj))
            decision: FineTuneJobDecision | ModelReleaseDecision = replace(
                job_decision,
                status=clear_trouble(job_decision.status, obj.metadata.generation, now),
                events=_worth_telling(job_decision.events),
            )
        else:
            decision = await self._decide_release(stored, obj, status, now)
        if decision.status != obj.status and not stored.is_gone and not stored.is_held:
            await self._write_status(
                stored, status, decision.status.model_dump(mode="json", by_alias=True, exclude_none=True)
            )
        for event in decision.events:
            self._events.emit(stored.body, event)
        log_pass(str(stored.key), obj.metadata.generation, decision)
        return stored.again_s(decision)

    async def _decide_release(
        self, stored: "_Stored", obj: ModelRelease, status: Json, now: datetime
    ) -> ModelReleaseDecision:
        """Decide by what is stored and what is held of it, and carry the actions out."""
        known = self._holding.recall(stored.key, obj, status)
        found = await self._releases.decide(known, now)
        with pass_span(str(stored.key), found.actions, stored.traceparent):
            for step in found.actions:
                if not await self._finalize(stored, step):
                    await self._releases.apply(step, known)
        decision = replace(found, status=clear_trouble(found.status, obj.metadata.generation, now))
        wait_s = self._holding.hold(stored.key, status, obj.status, decision)
        stored.is_held = wait_s is not None
        if wait_s is None:
            return decision
        again_s = wait_s if decision.look_again_s is None else min(wait_s, decision.look_again_s)
        return replace(decision, look_again_s=again_s)

    async def _finalize(self, stored: "_Stored", action: object) -> bool:
        """Carry an action on the finalizer out; False where it is another one."""
        if not isinstance(action, AddFinalizer | RemoveFinalizer):
            return False
        others = [name for name in stored.finalizers if name != FINALIZER]
        wanted = [*others, FINALIZER] if isinstance(action, AddFinalizer) else others
        patch = {"metadata": {"finalizers": wanted}}
        await self._patch(stored, patch)
        stored.is_gone = not wanted and "deletionTimestamp" in stored.body["metadata"]
        return True

    async def _write_status(self, stored: "_Stored", old: Json, new: Json) -> None:
        size = len(json.dumps(new, separators=(",", ":"), ensure_ascii=False).encode())
        if size > MAX_STATUS_BYTES:
            raise Corrupt(
                f"status of {stored.key} would have {size} bytes, expected at most {MAX_STATUS_BYTES}; nothing was written"
            )
        patch = diff_merge(old, new)
        if patch:
            await self._patch(stored, {"status": patch}, subresource="status")

    async def _patch(self, stored: "_Stored", patch: Json, *, subresource: str = "") -> None:
        key = stored.key
        written = await self._cluster.patch(
            RESOURCES[key.kind],
            key.namespace,
            key.name,
            patch,
            resource_version=str(stored.body["metadata"]["resourceVersion"]),
            subresource=subresource,
        )
        stored.body = {**stored.body, "metadata": written["metadata"]}
        self._directory.wrote(key, str(written["metadata"]["resourceVersion"]))

    async def _let_go(self, stored: "_Stored", error: InvalidInput) -> None:
        """Take the finalizer off an object that is being deleted and cannot be read; what it owns goes with it."""
        meta = stored.body["metadata"]
        if "deletionTimestamp" not in meta:
            raise error
        if FINALIZER not in stored.finalizers:
            return
        self._events.emit(
            stored.body,
            Event("Warning", "LetGo", f"deleted without a rollout's end or a job's, for it cannot be read: {error}"),
        )
        await self._finalize(stored, RemoveFinalizer())

    async def _tell(self, key: Key, body: Json, error: GraftError, now: datetime) -> None:
        patch, event = tell_trouble(body, error, now)
        # Without a resourceVersion: the pass may have written a finalizer, and this is about whatever is there now.
        with contextlib.suppress(GraftError):
            if patch:
                written = await self._cluster.patch(
                    RESOURCES[key.kind], key.namespace, key.name, {"status": patch}, subresource="status"
                )
                self._directory.wrote(key, str(written["metadata"]["resourceVersion"]))
        if event is not None:
            self._events.emit(body, event)


class _Stored:
    """The object of a pass, as its last write left it."""

    def __init__(self, key: Key, body: Json) -> None:
        self.key = key
        self.body = body
        self.is_gone = False
        self.is_held = False
        """The status waits for more to say."""
        self.is_watched = False
        """Watches tell what comes of the last action."""

    def again_s(self, decision: FineTuneJobDecision | ModelReleaseDecision) -> float | None:
        """Return seconds until the next pass; None: when something changes."""
        if self.is_gone:
            return None
        return WATCHED_S * random.uniform(1.0, 1.25) if self.is_watched else look_again_s(decision)

    @property
    def traceparent(self) -> str:
        """Return the trace that who applied the object handed on in an annotation; empty: none."""
        return text(self.body, "metadata", "annotations", TRACEPARENT)

    @property
    def finalizers(self) -> list[str]:
        """Finalizers of everybody."""
        return cast("list[str]", self.body["metadata"].get("finalizers") or [])


def _worth_telling(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return a job's warnings, and of its ordinary news the last, which says where it stands; its conditions have the rest."""
    news = [event for event in events if event.type == "Normal"]
    return tuple(event for event in events if event.type != "Normal" or event is news[-1])
