"""Predictor arms: one supervised process a revision, on a loopback port chosen at run time, restarted for ever with back-off.

An arm is ready when its process lives, answers /v2/health/ready, and the gateway's own health check agrees; only then may the reconciler
give it weight. What starts it (config, environment, limits) is kept by revision, so that a revision can be gone back to.
"""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import aiohttp

from graft_core.clock import Clock, from_rfc3339, to_rfc3339
from graft_core.errors import Conflict
from graft_core.telemetry.logs import get_log
from graft_operator.local.database import Database
from graft_operator.local.files import write_text
from graft_operator.local.process_record import ProcessRecord
from graft_operator.local.processes import Processes
from graft_operator.local.sockets import free_port, is_free
from graft_operator.local.supervised import Supervised
from graft_operator.render.predictor_config import ArmRecipe
from graft_operator.settings import LocalSettings

__all__ = ["ArmRecord", "Arms"]

_LOG = get_log(__name__)

_RECIPES = "recipes"

LOOK_SOON_S = 0.25
"""Interval of health checks until an arm is ready."""

LOOK_S = 2.0
"""Interval once it is; the gateway looks each second on its own."""

HEALTH_TIMEOUT_S = 2.0
"""A predictor that can't say that it is ready within this is not."""

MEMORY_LOOKS = 2
"""A memory limit is measured every so many looks at a ready arm."""


class ArmRecord(ProcessRecord):
    """One arm, as the database keeps it."""

    revision: str
    digest: str
    port: int
    phase: Literal["waiting", "starting", "running", "stopping"] = "waiting"
    failures: int = 0
    """Ends in a row without having been ready in between."""

    @property
    def key(self) -> str:
        """Key of the record."""
        return f"{self.uid}/{self.revision}"


class Arms:
    """All arms of one state folder."""

    def __init__(
        self,
        database: Database,
        processes: Processes,
        clock: Clock,
        settings: LocalSettings,
        changed: Callable[[str], None],
    ) -> None:
        self._db = database
        self._processes = processes
        self._clock = clock
        self._settings = settings
        self._changed = changed
        self._kept = Supervised("arms", ArmRecord, self._folder, database, processes, clock, changed)
        self._ready: dict[str, str] = {}
        """Why an arm is not ready, by key; empty: it is."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_closing = False

    def folder(self, uid: str, revision: str) -> Path:
        """Return the run folder of an arm."""
        return self._settings.state / "runs" / uid / f"arm-{revision}"

    def recover(self) -> None:
        """Adopt what lives and start anew what does not; once, before the first pass."""
        for record in self._kept.all():
            folder = self._folder(record)
            found = self._processes.find(folder, record.attempt)
            if found is not None:
                _LOG.info("arm_adopted", arm=record.key, pid=found[0])
                phase = "stopping" if record.phase == "stopping" else "running"
                adopted = record.model_copy(update={"pid": found[0], "started": found[1], "phase": phase})
                self._kept.put(adopted)
                self._watch(adopted)
                if phase == "stopping":
                    self._begin_stop(adopted)
            elif record.phase == "stopping":
                self._forget(record)
            elif record.phase == "starting":
                # Under the number it was to have: should it have been started after all, one of the two finds the folder locked.
                self._launch(record)
            else:
                self._kept.put(record.model_copy(update={"phase": "waiting"}))
                self._begin(record.key)

    def of(self, uid: str) -> tuple[ArmRecord, ...]:
        """Return the arms of one release."""
        return tuple(r for r in self._kept.all() if r.uid == uid)

    def all(self) -> tuple[ArmRecord, ...]:
        """Return every arm."""
        return self._kept.all()

    def unready_reason(self, record: ArmRecord) -> str:
        """Say why the process does not answer as ready; empty: it does."""
        return self._ready.get(record.key, "it is starting")

    def known(self, uid: str) -> dict[str, str]:
        """Return the digests by revision whose recipe is kept."""
        return {
            key.partition("/")[2]: str(body["config"]["adapter"]["digest"])
            for key, body in self._db.records(_RECIPES).items()
            if key.startswith(f"{uid}/")
        }

    def is_live(self, uid: str, revision: str) -> bool:
        """Say whether the arm's log may still grow."""
        return self._kept.get(f"{uid}/{revision}") is not None

    def create(self, uid: str, owner: str, revision: str, recipe: ArmRecipe | None) -> None:
        """Make an arm; one that is there is success.

        Args:
            uid: The release's.
            owner: namespace/name of the release.
            revision: The arm's.
            recipe: What starts it; None: the one kept for this revision.

        Raises:
            Conflict: There is no recipe, or the arm is still being stopped.
        """
        key = f"{uid}/{revision}"
        old = self._kept.get(key)
        if old is not None and old.phase == "stopping":
            raise Conflict(f"arm {revision} of {owner} is still being stopped")
        if old is not None:
            return
        if recipe is not None:
            kept: dict[str, Any] = {
                "config": recipe.config.model_dump(mode="json", by_alias=True, exclude_none=True),
                "env": dict(recipe.env),
                "memory_bytes": recipe.limits.memory_bytes,
                "gpus": recipe.config.engine.gpus,
            }
            self._db.put_record(_RECIPES, key, kept)
        else:
            found = self._db.records(_RECIPES).get(key)
            if found is None:
                raise Conflict(f"nothing is kept of revision {revision} of {owner}, so it can't be started again")
            kept = found
        now = to_rfc3339(self._clock.now())
        record = ArmRecord(
            uid=uid,
            owner=owner,
            revision=revision,
            digest=kept["config"]["adapter"]["digest"],
            port=free_port(),
            not_before=now,
            memory_bytes=kept["memory_bytes"],
            gpus=kept["gpus"],
        )
        self._kept.put(record)
        self._begin(key)

    def remove(self, uid: str, revision: str, version: str) -> None:
        """Drain and stop an arm, then forget it; its recipe stays.

        Raises:
            Conflict: The arm changed since the decision.
        """
        record = self._kept.get(f"{uid}/{revision}")
        if record is None or record.phase == "stopping":
            return
        if str(record.version) != version:
            raise Conflict(
                f"arm {revision} changed since it was looked at (version {record.version!r}, expected {version!r})"
            )
        if record.phase == "running":
            self._begin_stop(record.model_copy(update={"phase": "stopping", "version": record.version + 1}))
        else:
            self._forget(record)

    def forget_release(self, uid: str) -> None:
        """Drop the recipes and folders of a release that is gone."""
        shutil.rmtree(self._settings.state / "runs" / uid, ignore_errors=True)
        for key in self._db.records(_RECIPES):
            if key.startswith(f"{uid}/"):
                self._db.drop_record(_RECIPES, key)

    def release(self) -> None:
        """Look after the arms no longer; they live on."""
        self._is_closing = True
        for task in self._tasks.values():
            task.cancel()
        self._kept.cancel_all()

    async def close(self, *, now: bool) -> None:
        """Stop every arm; they start again with the next `graft up`.

        Args:
            now: Kill instead of draining.
        """
        self.release()
        living = [r for r in self._kept.all() if r.pid]
        await self._kept.end_all(living, self._settings.drain_s, now=now)

    def _begin(self, key: str) -> None:
        record = self._kept.get(key)
        if record is None or record.phase != "waiting" or self._is_closing:
            return
        wait = (from_rfc3339(record.not_before) - self._clock.now()).total_seconds()
        if wait > 0:
            self._kept.later(key, wait, lambda: self._begin(key))
            return
        port = record.port if is_free(record.port) else free_port()
        changes = {"phase": "starting", "attempt": record.attempt + 1, "port": port, "pid": 0}
        self._kept.put(starting := record.model_copy(update=changes))
        self._launch(starting)

    def _launch(self, record: ArmRecord) -> None:
        folder = self._folder(record)
        recipe = self._db.records(_RECIPES)[record.key]
        (folder / "cache").mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.json", json.dumps(recipe["config"], ensure_ascii=False))
        command = [*self._settings.predictor_command, "--config", str(folder / "config.json"), "--host", "127.0.0.1"]
        command += ["--port", str(record.port), "--cache-dir", str(folder / "cache")]
        env = {k: v for k, v in os.environ.items() if not k.startswith("GRAFT_")} | recipe["env"]
        env |= {"GRAFT_CHILD": record.key, "PYTHONUNBUFFERED": "1"}
        if not record.gpus:
            env["CUDA_VISIBLE_DEVICES"] = ""
        try:
            pid, started = self._processes.start(folder, record.attempt, command, env)
        except OSError as error:
            self._ready[record.key] = f"{command[0]} cannot be started: {error}"
            self._back_off(record)
            return
        self._ready[record.key] = "it is starting"
        running = record.model_copy(update={"phase": "running", "pid": pid, "started": started})
        self._kept.put(running)
        self._watch(running)

    def _watch(self, record: ArmRecord) -> None:
        folder, key, attempt = self._folder(record), record.key, record.attempt
        self._processes.when_ended(folder, (record.pid, record.started), lambda: self._ended(key, attempt))
        if (old := self._tasks.pop(key, None)) is not None:
            old.cancel()
        self._tasks[key] = asyncio.get_running_loop().create_task(self._look_after(key, attempt))

    async def _look_after(self, key: str, attempt: int) -> None:
        timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT_S)
        looks = 0
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while (record := self._kept.get(key)) is not None and record.attempt == attempt:
                reason = await _ask(session, record.port)
                if reason != self._ready.get(key):
                    self._tell(record, reason)
                looks += 1
                if record.memory_bytes is not None and looks % MEMORY_LOOKS == 0:
                    self._look_at_memory(record)
                await asyncio.sleep(LOOK_SOON_S if reason else LOOK_S)

    def _tell(self, record: ArmRecord, reason: str) -> None:
        self._ready[record.key] = reason
        if not reason and record.failures:
            self._kept.put(record.model_copy(update={"failures": 0}))
        else:
            self._changed(record.uid)

    def _look_at_memory(self, record: ArmRecord) -> None:
        used = self._processes.memory_bytes((record.pid, record.started))
        if record.memory_bytes is not None and used > record.memory_bytes:
            _LOG.warning("arm_over_memory", arm=record.key, used=used, limit=record.memory_bytes)
            self._ready[record.key] = f"it used {used >> 20} MiB, more than spec.predictor.resources.memory allows"
            self._kept.signal(record, signal.SIGKILL)

    def _ended(self, key: str, attempt: int) -> None:
        record = self._kept.get(key)
        if record is None or record.attempt != attempt or self._is_closing:
            return
        folder = self._folder(record)
        if (found := self._processes.find(folder, attempt)) is not None:
            self._kept.put(adopted := record.model_copy(update={"pid": found[0], "started": found[1]}))
            self._watch(adopted)
            return
        self._kept.cancel(key)
        if (task := self._tasks.pop(key, None)) is not None:
            task.cancel()
        if record.phase == "stopping":
            self._forget(record)
            return
        code = self._processes.exit_code(folder, attempt)
        why = "was killed" if code is None or code < 0 else f"ended with exit code {code}"
        self._ready[key] = (
            f"the predictor {why}; `graft logs mr/{record.owner.partition('/')[2]} --revision {record.revision}` shows why"
        )
        _LOG.warning("arm_ended", arm=key, attempt=attempt, code=code)
        self._back_off(record)

    def _back_off(self, record: ArmRecord) -> None:
        first, longest = self._settings.backoff_s
        wait = min(longest, first * 2.0 ** min(record.failures, 10))
        at = to_rfc3339(self._clock.now() + timedelta(seconds=wait))
        self._kept.put(
            record.model_copy(update={"phase": "waiting", "failures": record.failures + 1, "not_before": at, "pid": 0})
        )
        self._begin(record.key)

    def _begin_stop(self, record: ArmRecord) -> None:
        self._ready[record.key] = "it is being stopped"
        self._kept.stop(record, self._settings.drain_s)

    def _folder(self, record: ArmRecord) -> Path:
        return self.folder(record.uid, record.revision)

    def _forget(self, record: ArmRecord) -> None:
        # The log stays for `graft logs` until the release goes; the cache of answers does not.
        shutil.rmtree(self._folder(record) / "cache", ignore_errors=True)
        self._ready.pop(record.key, None)
        self._kept.drop(record)


async def _ask(session: aiohttp.ClientSession, port: int) -> str:
    try:
        async with session.get(f"http://127.0.0.1:{port}/v2/health/ready") as answer:
            return "" if answer.status == 200 else f"the predictor is not ready yet (HTTP {answer.status})"
    except (aiohttp.ClientError, TimeoutError, OSError):
        return "the predictor does not answer yet"
