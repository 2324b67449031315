"""The prepared data set on disk, and its records as they are asked for.

    prepared/
      part-00000.arrow …   batches of (input, answer, line), written by the checking processes
      train.npy …          numbers of the split's records, in the files' order
      dataset.json         everything else; a folder without it, or under another name, is no prepared data set

The folder is built under another name and renamed when it is complete, so that a killed check leaves nothing that looks done.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, overload

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_core.api.v1alpha1.jobstatus import DroppedCounts
from graft_core.api.v1alpha1.task import TaskType
from graft_core.errors import NotReady
from graft_core.tasks.messages import Message
from graft_trainer.data.records import LengthHistogram, PreparedDataset, Problem, Record, SplitName, SplitNames

__all__ = ["META", "BatchMeta", "DatasetMeta", "RecordSplit", "StoredRecords", "open_prepared"]

META = "dataset.json"
"""Written last."""

_ENCODE: Final = json.JSONEncoder(ensure_ascii=False).encode
_OPEN_PARTS = 128
"""Part files mapped at a time; each costs a file descriptor."""


class BatchMeta(BaseModel):
    """Where a stretch of records is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: str
    number: int
    rows: int
    source: str
    """URI of the file the records came from."""
    line_base: int
    """Added to the stored line."""


class DatasetMeta(BaseModel):
    """`dataset.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    key: str
    """sha256 over digest and spec: what this data set answers for."""
    digest: str
    format: DatasetFormat
    found: str
    task: TaskType
    labels: tuple[str, ...]
    label_counts: dict[str, dict[SplitName, int]]
    invalid: int
    duplicate: int
    length_unit: Literal["tokens", "characters"]
    length_counts: tuple[int, ...]
    longest: int
    problems: tuple[tuple[str, int, str], ...]
    warnings: tuple[str, ...]
    batches: tuple[BatchMeta, ...]


class StoredRecords:
    """Records by their number over all files."""

    def __init__(self, folder: Path, batches: Sequence[BatchMeta], layout: DatasetFormat, *, task: TaskType) -> None:
        self._folder, self._batches = folder, batches
        self._first: list[int] = [0]
        for batch in batches:
            self._first.append(self._first[-1] + batch.rows)
        self._is_chat = layout is DatasetFormat.MESSAGES
        self._is_classification = task is TaskType.CLASSIFICATION
        self._is_json = task is TaskType.TEXT_TO_JSON
        self._open = lru_cache(maxsize=_OPEN_PARTS)(self._open_part)

    def _open_part(self, part: str) -> Any:  # noqa: ANN401 - pyarrow has no types
        return pa.ipc.open_file(pa.memory_map(str(self._folder / part)))

    def place(self, seq: int) -> tuple[str, int]:
        """Return the file and line of a record."""
        meta, batch, row = self._find(seq)
        return meta.source, meta.line_base + batch.column(2)[row].as_py()

    def _find(self, seq: int) -> tuple[BatchMeta, Any, int]:
        at = bisect_right(self._first, seq) - 1
        meta = self._batches[at]
        return meta, self._open(meta.part).get_batch(meta.number), seq - self._first[at]

    def record(self, seq: int) -> Record:
        """Read one record."""
        meta, batch, row = self._find(seq)
        raw, answer, line = (batch.column(i)[row].as_py() for i in range(3))
        held = orjson.loads(raw)
        # Stored compact; learned as people and models write JSON.
        text = _ENCODE(orjson.loads(answer)) if self._is_json else answer.decode()
        return Record(
            id=sha256(raw + b"\x00" + answer).hexdigest(),
            source=meta.source,
            line=meta.line_base + line,
            fields={} if self._is_chat else held,
            messages=tuple(Message(**turn) for turn in held) if self._is_chat else None,
            answer=text,
            label=text if self._is_classification else None,
        )


class RecordSplit(Sequence[Record]):
    """One split: an index into the stored records."""

    def __init__(self, stored: StoredRecords, rows: npt.NDArray[np.int64]) -> None:
        self._stored, self._rows = stored, rows

    def __len__(self) -> int:
        """Records in the split."""
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "RecordSplit": ...
    def __getitem__(self, index: int | slice) -> "Record | RecordSplit":
        """Read one record, or return a part of the split without reading it."""
        if isinstance(index, slice):
            return RecordSplit(self._stored, self._rows[index])
        return self._stored.record(int(self._rows[index]))

    def __iter__(self) -> Iterator[Record]:
        """Read the records one after the other."""
        return (self._stored.record(int(row)) for row in self._rows)


def open_prepared(folder: Path) -> PreparedDataset:
    """Open a prepared folder.

    Args:
        folder: `prepared/` of a run folder.

    Returns:
        The data set; its splits read lazily.

    Raises:
        NotReady: The folder is not there or not complete.
    """
    try:
        meta = DatasetMeta.model_validate_json((folder / META).read_bytes())
    except FileNotFoundError as err:
        raise NotReady(
            f"no prepared data set in {folder.name!r} of the run folder; run validate or train first"
        ) from err
    stored = StoredRecords(folder, meta.batches, meta.format, task=meta.task)
    splits = {name: RecordSplit(stored, np.load(folder / f"{name}.npy", mmap_mode="r")) for name in SplitNames}
    return PreparedDataset(
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        digest=meta.digest,
        dropped=DroppedCounts(invalid=meta.invalid, duplicate=meta.duplicate),
        labels=meta.labels,
        label_counts=meta.label_counts,
        format=meta.format,
        found=meta.found,
        lengths=LengthHistogram(meta.length_unit, meta.length_counts, meta.longest),
        problems=tuple(Problem(*problem) for problem in meta.problems),
        warnings=meta.warnings,
    )
