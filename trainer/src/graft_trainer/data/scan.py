"""Checking one piece of a data set, in whatever process: rows in, a part file and a small result out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graft_trainer.config import DataLimits
from graft_trainer.data.batches import NO_CODE, Batch, BatchWriter, Codes, IndexRows
from graft_trainer.data.faults import MAX_EXAMPLES
from graft_trainer.data.lines import LinePiece, LineReader
from graft_trainer.data.readers import read_rows
from graft_trainer.data.records import Problem, SplitName
from graft_trainer.data.sensitive import Sighting
from graft_trainer.data.shape import Example, Shaper, ShaperSpec
from graft_trainer.data.sources import InputFile
from graft_trainer.data.special import ControlTokens
from graft_trainer.data.values import BadRecord

__all__ = ["SIDES", "PieceJob", "PieceResult", "scan_piece"]

SIDES: dict[SplitName, int] = {"train": 1, "validation": 2, "test": 3}
"""Code of each split, in INDEX.side and in the assignment."""


@dataclass(frozen=True, slots=True)
class PieceJob:
    """One piece to check; small, for it travels to another process."""

    file: InputFile
    piece: LinePiece | None
    """Stretch of a .jsonl; None: the whole file of another kind."""
    part: Path
    """Where to write the part file."""
    side: int
    """Given split, or 0 where the records are to be divided."""
    shaper: ShaperSpec
    special_tokens: tuple[str, ...]
    limits: DataLimits

    @property
    def size(self) -> int:
        """Bytes of the piece."""
        return self.file.size if self.piece is None else self.piece.end - self.piece.start


@dataclass(slots=True)
class PieceResult:
    """What one piece holds."""

    batches: list[Batch]
    index: list[IndexRows]
    """Rows by batch; `seq` is not set yet."""
    lines: int
    """Lines that begin in the piece, for the numbering of the next; 0 where lines count in the whole file."""
    seen: int
    """Records, bad ones too."""
    bad: int
    problems: list[Problem]
    """The first bad records; lines count within the piece."""
    labels: tuple[str, ...]
    """Labels by code in `index`."""
    strata: tuple[str, ...]
    """Strata by code in `index`."""
    sensitive: dict[str, Sighting]
    """What looks like a secret or a canary, by kind; lines count within the piece."""


def scan_piece(job: PieceJob) -> PieceResult:
    """Check one piece and store its records.

    Raises DatasetError: The file cannot be read on.
    """
    reader = LineReader(job.file.path, job.piece, job.limits) if job.piece is not None else None
    shaper = Shaper(job.shaper)
    examples = reader.examples(shaper) if reader else _shaped(job, shaper)
    tokens = ControlTokens(job.special_tokens)
    writer = BatchWriter(job.part, tokens, source=job.file.uri, batch_bytes=job.limits.batch_bytes, side=job.side)
    labels = Codes(job.limits.labels, "labels; is the label's column free text?")
    strata = Codes(job.limits.strata, "values of spec.dataset.split.stratifyBy; is it free text?")
    bad: list[Problem] = []
    seen = n_bad = 0
    add = writer.add
    for line, example, unread in examples:
        seen += 1
        fault = unread or ""  # one of the two is always there
        if example is not None:
            raw, answer, length, label, stratum = example
            try:
                add(
                    line,
                    raw,
                    answer,
                    length,
                    NO_CODE if label is None else labels.code(label),
                    NO_CODE if stratum is None else strata.code(stratum),
                )
                continue
            except BadRecord as err:
                fault = str(err)
        n_bad += 1
        if len(bad) < MAX_EXAMPLES:
            bad.append(Problem(job.file.uri, line, fault))
    writer.close()
    problems = sorted([*bad, *writer.problems], key=lambda problem: problem.line)
    return PieceResult(
        batches=writer.batches,
        index=writer.index,
        lines=reader.lines if reader else 0,
        seen=seen,
        bad=n_bad + len(writer.problems),
        problems=problems[:MAX_EXAMPLES],
        labels=labels.names,
        strata=strata.names,
        sensitive=writer.sensitive,
    )


def _shaped(job: PieceJob, shaper: Shaper) -> Iterator[tuple[int, Example | None, str | None]]:
    for line, value, fault in read_rows(job.file, job.shaper.layout.columns, job.limits):
        if fault is not None:
            yield line, None, fault
            continue
        try:
            example = shaper.shape(value)
        except BadRecord as err:
            yield line, None, str(err)
        else:
            yield line, example, None
