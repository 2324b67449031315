"""A report as a termination message: the kubelet keeps 4,096 bytes, so what a status can do without goes first.

Never cut: class, data set digest, base revision, artifact and the result of every gate. `report.json` in object storage holds it all.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from graft_core.contracts.pod import MAX_TERMINATION_BYTES
from graft_core.contracts.train_report import TrainReport

__all__ = ["fit_report", "write_last_words"]

LONG_CHARS: Final = 900
SHORT_CHARS: Final = 160
"""Characters of message and path, in the last two cuts; one may take four bytes."""

_Cut = Callable[[TrainReport], dict[str, object]]


def _gated(report: TrainReport, values: dict[str, str] | None) -> dict[str, str]:
    names = {gate.metric for gate in report.gates}
    return {name: value for name, value in (values or {}).items() if name in names}


def _baselines_of_gates(report: TrainReport) -> dict[str, object]:
    return {"baselines": {name: _gated(report, values) for name, values in (report.baselines or {}).items()}}


def _metrics_of_gates(report: TrainReport) -> dict[str, object]:
    return {"baselines": None, "metrics": _gated(report, report.metrics)}


def _details_of_failures(report: TrainReport) -> dict[str, object]:
    return {
        "gates": tuple(
            gate if gate.result != "Pass" else gate.model_copy(update={"detail": ""}) for gate in report.gates
        )
    }


def _no_details(report: TrainReport) -> dict[str, object]:
    # A closed label set follows from the data set, and that stays pinned by its digest.
    gates = tuple(gate.model_copy(update={"detail": ""}) for gate in report.gates)
    return {"gates": gates, "metrics": None, "labels": ()}


def _letters(report: TrainReport) -> dict[str, object]:
    return {"gates": (), "gate_results": "".join(gate.result[0] for gate in report.gates)}


def _texts(chars: int) -> _Cut:
    return lambda report: {"message": _shorten(report.message, chars), "path": report.path[:chars]}


_CUTS: Final[tuple[_Cut, ...]] = (
    _baselines_of_gates,
    _metrics_of_gates,
    _details_of_failures,
    _texts(LONG_CHARS),
    _no_details,
    _letters,
    _texts(SHORT_CHARS),
)
"""One after the other, until it fits."""


def fit_report(report: TrainReport, limit: int = MAX_TERMINATION_BYTES) -> str:
    """Write a report within a number of bytes, with as little left out as that asks for."""
    text = report.to_json()
    for cut in _CUTS:
        if len(text.encode()) <= limit:
            break
        report = report.model_copy(update=cut(report))
        text = report.to_json()
    return text


def write_last_words(report: TrainReport, path: Path) -> None:
    """Leave the report where the kubelet picks it up; the file is the kubelet's, and only its content is ours."""
    path.write_text(fit_report(report), encoding="utf-8")


def _shorten(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 1]}…"
