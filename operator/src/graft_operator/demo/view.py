"""The two ways to watch the demo: a live screen on a terminal, a plain log anywhere else."""

import sys
import threading
from typing import Any, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from graft_operator.demo.board import ActState, Board, Note

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


def _jobs(board: Board, jobs: dict[str, dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    if board.base_model:
        step, total = int(board.base_model.get("step", 0)), int(board.base_model.get("totalSteps", 1))
        state = "cached" if board.base_model.get("cached") else "ready" if board.base_model.get("done") else "Training"
        table.add_row("shop base model", Text(state), _bar(step, total), Text(f"{step}/{total}", style="dim"))
    for key, obj in jobs.items():
        status = obj.get("status", {})
        progress = status.get("progress") or {}
        phase = str(status.get("phase", "Pending"))
        detail = f"step {progress.get('step', 0)}/{progress.get('totalSteps', 0)}" if progress else ""
        if progress.get("loss") and phase == "Training":
            detail += f"  loss {progress['loss']}  {progress.get('tokensPerSecond', 0)} tok/s  {progress.get('etaSeconds', 0)} s left"
        detail = _score(status) or detail
        bar = _bar(int(progress.get("step", 0)), int(progress.get("totalSteps", 0)) or 1)
        table.add_row(
            key.partition("/")[2], Text(phase, style=PHASE_STYLES.get(phase, "cyan")), bar, Text(detail, style="dim")
        )
    return table


def _score(status: dict[str, Any]) -> str:
    gates = status.get("gates") or []
    words = [f"{g['metric']} {g.get('value', '')} {'✔' if g['result'] == 'Pass' else '✘'}" for g in gates]
    return "  ".join(words)


def _releases(board: Board, releases: dict[str, dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for key, obj in releases.items():
        name, status = key.partition("/")[2], obj.get("status", {})
        phase = str(status.get("phase", "Pending"))
        table.add_row(Text(name), Text(phase, style=PHASE_STYLES.get(phase, "cyan")), "", "")
        for role in ("stable", "candidate"):
            arm = status.get(role)
            if arm:
                table.add_row(
                    "",
                    Text(f"{role} {arm['revision'][:7]}"),
                    _bar(int(arm.get("weight", 0)), 100),
                    Text(f"{arm.get('weight', 0)} %", style="dim"),
                )
        for look in (status.get("analysis") or [])[-3:]:
            style = {"Pass": "green", "Fail": "red"}.get(str(look["verdict"]), "dim")
            words = f"{look['metric']}: {look.get('candidate', '')} against {look.get('stable', '')} ({look.get('samples', 0)} answers)"
            table.add_row("", Text(str(look["verdict"]), style=style), Text(words, style="dim"), "")
        figures = board.traffic.get(name)
        if figures:
            table.add_row(
                "",
                Text("traffic", style="dim"),
                Text(f"{figures['sent']} sent, {figures['failed']} failed", style="dim"),
                "",
            )
    return table


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=min(done, total), width=30)
