"""The pieces' results put together: lines numbered through each file, labels and strata under one numbering."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from graft_trainer.data.batches import NO_CODE, Codes, IndexRows
from graft_trainer.data.faults import MAX_EXAMPLES, DatasetError
from graft_trainer.data.index import Buckets
from graft_trainer.data.records import Problem
from graft_trainer.data.scan import PieceJob, PieceResult
from graft_trainer.data.sensitive import Sighting
from graft_trainer.data.store import BatchMeta
from graft_trainer.data.values import BadRecord

__all__ = ["Gathered"]


@dataclass(slots=True)
class Gathered:
    """What all pieces together hold."""

    buckets: Buckets
    labels: Codes
    strata: Codes
    batches: list[BatchMeta] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """The first bad records."""
    bad: int = 0
    seen: int = 0
    sides: list[tuple[int, int]] = field(default_factory=list)
    """(records, given split) by batch."""
    sensitive: dict[str, tuple[Problem, int]] = field(default_factory=dict)
    """First sighting and records, by kind."""
    _line_base: dict[str, int] = field(default_factory=dict)

    def take(self, job: PieceJob, result: PieceResult) -> None:
        """Add one piece; pieces come in the files' order.

        Raises DatasetError: Too many different labels or strata.
        """
        uri = job.file.uri
        base = self._line_base.get(uri, 0)
        self._line_base[uri] = base + result.lines
        self.seen += result.seen
        self.bad += result.bad
        room = MAX_EXAMPLES - len(self.problems)
        self.problems += [Problem(p.source, p.line + base, p.reason) for p in result.problems[:room]]
        try:
            label_codes = _translate(self.labels, result.labels)
            stratum_codes = _translate(self.strata, result.strata)
        except BadRecord as err:
            raise DatasetError.of_file(uri, str(err)) from None
        for batch, rows in zip(result.batches, result.index, strict=True):
            _recode(rows, label_codes, stratum_codes)
            self.buckets.add(rows)
            self.batches.append(
                BatchMeta(part=batch.part, number=batch.number, rows=batch.rows, source=uri, line_base=base)
            )
            self.sides.append((batch.rows, job.side))
        self._see(uri, base, result.sensitive)

    def _see(self, uri: str, base: int, sightings: dict[str, Sighting]) -> None:
        for kind, seen in sightings.items():
            first, count = self.sensitive.get(kind, (Problem(uri, seen.line + base, kind), 0))
            self.sensitive[kind] = first, count + seen.count


def _translate(codes: Codes, names: Sequence[str]) -> Iterable[int]:
    # The last entry is what NO_CODE (-1 as an index) turns into.
    return [*(codes.code(name) for name in names), NO_CODE]


def _recode(rows: IndexRows, labels: Iterable[int], strata: Iterable[int]) -> None:
    for name, table in (("label", labels), ("stratum", strata)):
        lookup = np.array(list(table), np.uint16)
        local = rows[name]
        rows[name] = lookup[np.where(local == NO_CODE, len(lookup) - 1, local)]
