"""The reconciler loop: a pass for each object that changed, one at a time by object; event-driven, idle when nothing happens.

A pass: read → decide → actions in order, stop at the first that fails → one status write, only where it differs → events. A pass that
fails is run again with back-off and jitter; nothing of it is remembered but what it did.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Literal

from pydantic import ValidationError

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, KIND_MODELRELEASE
from graft_core.clock import Clock
from graft_core.errors import Conflict
from graft_core.telemetry.logs import get_log
from graft_operator.local.documents import ObjectKey, to_key
from graft_operator.local.events import EventLog
from graft_operator.local.job_shell import JobShell
from graft_operator.local.objects import ObjectStore
from graft_operator.local.release_shell import ReleaseShell
from graft_operator.passes import log_pass, pass_span
from graft_operator.reconcile.decision import FineTuneJobDecision, ModelReleaseDecision
from graft_operator.reconcile.pacing import back_off_s, look_again_s, retry_after

__all__ = ["Loop", "Notice"]

_LOG = get_log(__name__)

Notice = Callable[[dict[str, Any], Literal["Normal", "Warning"], str, str], None]
"""Told of each event: object, type, reason, message."""

PROGRESS_LOOK_S = 0.5
"""How soon progress of a running trainer is seen."""

RESYNC_S = 300.0
"""Every object gets a pass at least so often, whatever was missed."""


class Loop:
    """Runs passes until it is stopped."""

    def __init__(
        self,
        store: ObjectStore,
        events: EventLog,
        jobs: JobShell,
        releases: ReleaseShell,
        clock: Clock,
        scrape_s: float,
        notice: Notice,
    ) -> None:
        self._store = store
        self._events = events
        self._jobs = jobs
        self._releases = releases
        self._clock = clock
        self._scrape_s = scrape_s
        self._notice = notice
        self._keys: dict[str, ObjectKey] = {}
        """Objects by uid."""
        self._running: dict[ObjectKey, asyncio.Task[None]] = {}
        self._dirty: set[ObjectKey] = set()
        self._timers: dict[ObjectKey, asyncio.TimerHandle] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._is_stopping = False

    async def run(self) -> None:
        """Watch until cancelled."""
        items, revision = self._store.find_all()
        for body in items:
            self._take(to_key(body), body)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(revision))
            group.create_task(self._follow_progress())
            group.create_task(self._follow_figures())
            group.create_task(self._resync())

    async def stop(self) -> None:
        """Begin no further pass, and wait for those under way."""
        self._is_stopping = True
        for timer in self._timers.values():
            timer.cancel()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=5.0)

    def mark_uid(self, uid: str) -> None:
        """Have a pass over the object with this uid, soon."""
        key = self._keys.get(uid)
        if key is not None:
            self.mark(key)

    def mark_releases(self, namespace: str | None = None) -> None:
        """Have a pass over every release of a namespace (None: of all)."""
        for key in list(self._keys.values()):
            if key.kind == KIND_MODELRELEASE and namespace in {None, key.namespace}:
                self.mark(key)

    def mark(self, key: ObjectKey) -> None:
        """Have a pass over an object, soon; marks during a pass mean one more after it."""
        if self._is_stopping:
            return
        self._dirty.add(key)
        if key not in self._running:
            self._running[key] = asyncio.get_running_loop().create_task(self._passes(key))

    async def _passes(self, key: ObjectKey) -> None:
        while key in self._dirty and not self._is_stopping:
            self._dirty.discard(key)
            if (timer := self._timers.pop(key, None)) is not None:
                timer.cancel()
            wait_s = await self._guarded(key)
            if wait_s is not None:
                self._later(key, wait_s)
        # Here and not in a callback of the task's: a mark that came in between would find a pass under way that never looks again.
        del self._running[key]

    async def _guarded(self, key: ObjectKey) -> float | None:
        try:
            wait_s = await self._pass(key)
        except Exception as error:  # noqa: BLE001  # the edge of a pass: a fault in one object must not stop the others
            retry = retry_after(error)
            if retry.is_expected:
                _LOG.info(retry.event, object=str(key), reason=str(error))
            else:
                _LOG.failure(retry.event, error, object=str(key))
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            return max(retry.at_least_s, back_off_s(failures, retry.first_s, random.random()))
        self._failures.pop(key, None)
        return wait_s

    async def _pass(self, key: ObjectKey) -> float | None:
        body = self._store.find(key)
        if body is None:
            return None
        now = self._clock.now()
        decision: FineTuneJobDecision | ModelReleaseDecision
        if key.kind == KIND_FINETUNEJOB:
            job = FineTuneJob.model_validate(body)
            decision = await self._jobs.decide(job, now)
            with pass_span(str(key), decision.actions):
                for action in decision.actions:
                    await self._jobs.apply(action, key, job)
            is_changed = decision.status != job.status
        else:
            release = ModelRelease.model_validate(body)
            decision = await self._releases.decide(release, now)
            with pass_span(str(key), decision.actions):
                for step in decision.actions:
                    await self._releases.apply(step, key, release)
            is_changed = decision.status != release.status
        if is_changed:
            self._write_status(key, body, decision)
        for event in decision.events:
            self._events.record(body, event.type, event.reason, event.message)
            self._notice(body, event.type, event.reason, event.message)
        log_pass(str(key), body["metadata"]["generation"], decision)
        return look_again_s(decision)

    def _write_status(
        self, key: ObjectKey, body: dict[str, Any], decision: FineTuneJobDecision | ModelReleaseDecision
    ) -> None:
        stored = self._store.find(key)
        if stored is None:
            return  # the finalizer's removal was its end
        # A finalizer of this pass changed the revision, but neither spec nor status: those are what the decision was made on.
        if (stored["metadata"]["generation"], stored["status"]) != (body["metadata"]["generation"], body["status"]):
            raise Conflict(f"{key} was changed while it was being decided on")
        status = decision.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._store.update_status(key, body["metadata"]["uid"], status)

    def _later(self, key: ObjectKey, wait_s: float) -> None:
        if not self._is_stopping and key not in self._dirty:
            self._timers[key] = asyncio.get_running_loop().call_later(max(0.0, wait_s), self.mark, key)

    def _take(self, key: ObjectKey, body: dict[str, Any]) -> None:
        self._keys[body["metadata"]["uid"]] = key
        self.mark(key)
        if key.kind == KIND_FINETUNEJOB:
            self.mark_releases(key.namespace)

    async def _follow(self, revision: int) -> None:
        async with aclosing(self._store.watch(revision)) as changes:
            async for change in changes:
                if change.type == "DELETED":
                    self._forget(change.key, change.object["metadata"]["uid"])
                else:
                    self._take(change.key, change.object)

    def _forget(self, key: ObjectKey, uid: str) -> None:
        self._keys.pop(uid, None)
        self._failures.pop(key, None)
        if key.kind == KIND_FINETUNEJOB:
            self._jobs.forget(uid)
            self.mark_releases(key.namespace)
        else:
            self._releases.forget(uid)

    async def _follow_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_LOOK_S)
            for uid in self._jobs.look_at_progress():
                self.mark_uid(uid)

    async def _follow_figures(self) -> None:
        while True:
            await asyncio.sleep(self._scrape_s)
            for key in [key for key in self._keys.values() if key.kind == KIND_MODELRELEASE]:
                await self._scrape(key)

    async def _scrape(self, key: ObjectKey) -> None:
        body = self._store.find(key)
        if body is None or not body["status"]:
            return
        try:
            release = ModelRelease.model_validate(body)
        except ValidationError:
            return  # its pass says what is wrong
        if await self._releases.scrape(release, self._clock.now()):
            self.mark(key)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_S)
            for body in self._store.find_all()[0]:
                self.mark(to_key(body))
