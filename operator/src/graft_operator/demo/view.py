"""The two ways to watch the demo: a live screen on a terminal, a plain log anywhere else."""

import sys
import threading
from typing import Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from graft_operator.demo.board import ActState, Board, Note
from graft_operator.local.fields import Json, child, children, number, text

__all__ = ["PlainView", "RichView", "View"]

MARKS: dict[ActState, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "ok": ("✔", "bold green"),
    "failed": ("✘", "bold red"),
}
PHASE_STYLES = {
    "Succeeded": "green",
    "Released": "green",
    "Failed": "red",
    "GatesFailed": "yellow",
    "RolledBack": "yellow",
    "Degraded": "red",
}
REFRESH_PER_SECOND = 4
LOG_LINES = 9


class View(Protocol):
    """Shows a board while the demo runs."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *_: object) -> None:
        """Show the last state and leave the terminal as it was."""
        ...


class PlainView:
    """One line a note; nothing is drawn over, so that it reads well in a file."""

    def __init__(self, board: Board, out: TextIO | None = None) -> None:
        self._board, self._out, self._shown = board, out or sys.stdout, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Begin to print."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Print what is left."""
        self._stop.set()
        self._board.changed.set()
        self._thread.join(5)
        self._print()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._board.changed.wait(1.0)
            self._board.changed.clear()
            self._print()

    def _print(self) -> None:
        notes = self._board.notes
        for note in notes[self._shown :]:
            self._out.write(_plain(note) + "\n")
        self._shown = len(notes)
        self._out.flush()


class RichView:
    """Acts, progress bars, weights and verdicts on one screen, as they change."""

    def __init__(self, board: Board, console: Console | None = None) -> None:
        self._board = board
        self._live = Live(
            get_renderable=lambda: render_board(board),
            console=console,
            refresh_per_second=REFRESH_PER_SECOND,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Draw the end."""
        self._live.stop()


def render_board(board: Board) -> RenderableType:
    """Draw the whole screen from the board."""
    parts: list[RenderableType] = [_acts(board)]
    jobs = {key: obj for key, obj in board.objects.items() if key.startswith("finetunejob/")}
    releases = {key: obj for key, obj in board.objects.items() if key.startswith("modelrelease/")}
    if jobs or board.base_model:
        parts.append(Panel(_jobs(board, jobs), title="training", title_align="left", border_style="dim"))
    if releases:
        parts.append(Panel(_releases(board, releases), title="serving", title_align="left", border_style="dim"))
    lines = Text(
        "\n".join(_plain(note) for note in board.notes[-LOG_LINES:]), style="dim", no_wrap=True, overflow="ellipsis"
    )
    parts.append(lines)
    return Group(*parts)


def _plain(note: Note) -> str:
    return f"[{int(note.elapsed_s) // 60}:{int(note.elapsed_s) % 60:02d}] {note.act:<9} {note.text}"


def _acts(board: Board) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    seconds = int(board.elapsed_s)
    for act in board.acts:
        mark, style = MARKS[act.state]
        table.add_row(
            Text(mark, style=style),
            Text(act.title, style=style),
            Text(act.happened, style="dim", overflow="ellipsis", no_wrap=True),
        )
    return Panel(
        table, title=f"graft demo   {seconds // 60}:{seconds % 60:02d}", title_align="left", border_style="cyan"
    )


def _jobs(board: Board, jobs: dict[str, Json]) -> Table:
    table = Table.grid(padding=(0, 2))
    base = board.base_model
    if base:
        step, total = number(base, "step"), number(base, "totalSteps")
        state = "cached" if base.get("cached") else "ready" if "path" in base else "Training"
        table.add_row(
            "shop base model", Text(state), _bar(step, total), Text(f"{step}/{total}" if total else "", "dim")
        )
    for key, obj in jobs.items():
        status = child(obj, "status")
        phase = text(status, "phase", default="Pending")
        progress = child(status, "progress")
        bar = _bar(number(progress, "step"), number(progress, "totalSteps"))
        table.add_row(
            key.partition("/")[2], Text(phase, PHASE_STYLES.get(phase, "cyan")), bar, Text(_detail(status), "dim")
        )
    return table


def _detail(status: Json) -> str:
    gates = children(status, "gates")
    if gates:
        return "  ".join(
            f"{text(g, 'metric')} {text(g, 'value')} {'✔' if g['result'] == 'Pass' else '✘'}" for g in gates
        )
    progress = child(status, "progress")
    if not number(progress, "totalSteps"):
        return ""
    steps = f"step {number(progress, 'step')}/{number(progress, 'totalSteps')}"
    pace = f"  loss {text(progress, 'loss')}  {number(progress, 'tokensPerSecond')} tok/s  {number(progress, 'etaSeconds')} s left"
    return steps + (pace if text(progress, "loss") else "")


def _releases(board: Board, releases: dict[str, Json]) -> Table:
    table = Table.grid(padding=(0, 2))
    for key, obj in releases.items():
        name, status = key.partition("/")[2], child(obj, "status")
        phase = text(status, "phase", default="Pending")
        table.add_row(Text(name), Text(phase, PHASE_STYLES.get(phase, "cyan")))
        for role in ("stable", "candidate"):
            arm = child(status, role)
            if arm:
                weight = number(arm, "weight")
                table.add_row(
                    "", Text(f"{role} {text(arm, 'revision')[:7]}"), _bar(weight, 100), Text(f"{weight} %", "dim")
                )
        for look in children(status, "analysis")[-3:]:
            verdict = text(look, "verdict")
            words = f"{text(look, 'metric')}: {text(look, 'candidate')} against {text(look, 'stable')} ({number(look, 'samples')} answers)"
            table.add_row("", Text(verdict, {"Pass": "green", "Fail": "red"}.get(verdict, "dim")), Text(words, "dim"))
        figures = board.traffic.get(name)
        if figures:
            table.add_row(
                "",
                Text("traffic", "dim"),
                Text(f"{number(figures, 'sent')} sent, {number(figures, 'failed')} failed", "dim"),
            )
    return table


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=min(done, total), width=30)
