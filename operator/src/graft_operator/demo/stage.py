"""What every act works with: applying files, waiting for objects, asking the service, checking what came."""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from graft_core.clock import Clock
from graft_core.errors import GraftError, Unavailable
from graft_operator.demo.board import Act, Board
from graft_operator.demo.server import Server
from graft_operator.demo.traffic import Question, Traffic
from graft_operator.local.fields import Json, child, children, number, text
from graft_operator.local.manifests import read_manifests, refuse

__all__ = ["RELEASE_TIMEOUT_S", "ActFailed", "Stage"]

TERMINAL_PHASES = frozenset({"Succeeded", "Failed", "GatesFailed"})
POLL_S = 0.25
JOB_TIMEOUT_S = 900.0
"""A slow machine is no fault: these are for what hangs."""

RELEASE_TIMEOUT_S = 300.0


class ActFailed(GraftError):
    """An act did not end as it must."""

    reason = "ActFailed"


class Stage:
    """The running demo: its server, its board, its files."""

    def __init__(self, server: Server, board: Board, clock: Clock, examples: Path, cache: Path) -> None:
        self.server, self.board, self.clock, self.examples, self.cache = server, board, clock, examples, cache
        self.stopping = threading.Event()

    @contextmanager
    def act(self, name: str) -> Generator[Act]:
        """Run one act: its state and time stand on the board whatever happens; an exception marks it failed and goes on."""
        act = next(a for a in self.board.acts if a.name == name)
        act.state, begun = "running", self.clock.monotonic()
        self.board.note(name, act.title)
        try:
            yield act
        except BaseException as error:
            act.state, act.happened = "failed", act.happened or str(error) or type(error).__name__
            raise
        else:
            act.state = "ok"
        finally:
            act.seconds = self.clock.monotonic() - begun
            self.board.note(name, f"{act.state}: {act.happened} ({act.seconds:.0f} s)")

    def apply(self, folder: str, *, only: str | None = None) -> None:
        """Apply the manifests of an example folder, as `graft apply -f` would."""
        found = read_manifests([str(self.examples / folder)])
        if found.faults:
            raise refuse(found.faults)
        picked = [d for d in found.documents if only is None or d.target.kind.kind == only]
        self.server.apply([d.body for d in picked])
        for document in picked:
            self.board.note("apply", f"{document.target.label} (examples/{folder})")

    def wait_for(self, key: str, is_met: Callable[[Json], bool], *, timeout_s: float, what: str) -> Json:
        """Wait until an object looks as it should; ActFailed after the time-out, naming its phase and conditions."""
        deadline = self.clock.monotonic() + timeout_s
        while not self.stopping.is_set():
            obj = self.board.objects.get(key)
            if obj is not None and is_met(obj):
                return obj
            if self.clock.monotonic() > deadline:
                raise ActFailed(f"{key} did not become {what} within {timeout_s:.0f} s; it is {_tell(obj)}")
            self.stopping.wait(POLL_S)
        raise ActFailed("the demo was interrupted")

    def wait_for_job(self, name: str, phase: str, *, timeout_s: float = JOB_TIMEOUT_S) -> Json:
        """Wait for the end of a FineTuneJob, and return its status; ActFailed where it is another end than the act's."""
        key = f"finetunejob/{name}"
        obj = self.wait_for(
            key, lambda o: text(o, "status", "phase") in TERMINAL_PHASES, timeout_s=timeout_s, what="finished"
        )
        if text(obj, "status", "phase") != phase:
            raise ActFailed(f"{key} ended {_tell(obj)}; expected {phase}")
        return child(obj, "status")

    def wait_for_release(self, name: str, job: str, *, timeout_s: float = RELEASE_TIMEOUT_S) -> Json:
        """Wait until the release serves the adapter of a job at 100, and return its status."""
        digest = text(self.board.objects[f"finetunejob/{job}"], "status", "artifact", "digest")

        def is_released(obj: Json) -> bool:
            stable = child(obj, "status", "stable")
            is_whole = text(stable, "digest") == digest and number(stable, "weight") == 100
            return text(obj, "status", "phase") == "Released" and is_whole

        what = f"Released with the adapter of {job}"
        return child(self.wait_for(f"modelrelease/{name}", is_released, timeout_s=timeout_s, what=what), "status")

    def base_url(self, release: str) -> str:
        """Return where an OpenAI client finds a release."""
        return f"{self.server.gateway.rstrip('/')}/default/{release}/v1"

    def traffic(self, release: str, folder: str, *, per_second: float) -> Traffic:
        """Make the traffic for a release from the records of an example."""
        return Traffic(
            self.board,
            self.clock,
            release=release,
            base_url=self.base_url(release),
            questions=self.questions(folder),
            per_second=per_second,
        )

    def questions(self, folder: str) -> list[Question]:
        """Read records of an example as questions with their right answers."""
        file = next(p for p in sorted((self.examples / folder / "data").glob("*.jsonl")) if "-" not in p.stem)
        records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        random.Random(11).shuffle(records)
        if "label" in records[0]:
            return [Question(r["text"], r["label"], lambda answer, right: answer.strip() == right) for r in records]
        return [Question(r["input"], r["output"], _same_json) for r in records]

    def make_shop_base(self) -> Path:
        """Train the small base model of the language example, or find it in the cache; returns its folder."""
        script = self.examples / "02-shop-query-json" / "base_model.py"
        command = [sys.executable, str(script), "--out", str(self.cache), "--threads", "1", "--progress", "jsonl"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            for line in process.stdout or ():
                self.board.base_model = {**self.board.base_model, **json.loads(line)}
                self.board.changed.set()
                if self.stopping.is_set():
                    raise ActFailed("the demo was interrupted")
            _, errors = process.communicate()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode != 0:
            raise Unavailable(f"{script.name} ended with exit code {process.returncode}: {errors[-600:]}")
        return Path(text(self.board.base_model, "path"))


def _same_json(answer: str, right: str) -> bool:
    try:
        return bool(json.loads(answer) == json.loads(right))
    except ValueError:
        return False


def _tell(obj: Json | None) -> str:
    if obj is None:
        return "not there"
    told = [c for c in children(obj, "status", "conditions") if text(c, "message")]
    said = "; ".join(f"{text(c, 'type')}={text(c, 'status')} {text(c, 'reason')}: {text(c, 'message')}" for c in told)
    return f"{text(obj, 'status', 'phase', default='Pending')} ({said})"
