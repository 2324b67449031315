"""Checked records on their way to disk: Arrow batches for the texts, and one small row each for duplicates and splits.

A part file holds the batches of one piece in Arrow's IPC format, uncompressed, so that it can be memory-mapped. Beside it, the
parent gets an INDEX row a record: hashes, never texts. Inputs are hashed with BLAKE2b: whoever writes
the data must not be able to make two inputs look like one by choosing them. Between answers to one input a checksum is enough.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from graft_trainer.data.records import Problem
from graft_trainer.data.sensitive import Sighting, find_kinds
from graft_trainer.data.special import ControlTokens
from graft_trainer.data.values import BadRecord, texts_of

__all__ = ["INDEX", "NO_CODE", "SCHEMA", "Batch", "BatchWriter", "Codes", "IndexRows"]

IndexRows = npt.NDArray[np.void]
"""One-dimensional, of dtype INDEX."""

INDEX: Final = np.dtype(
    [
        ("hi", "<u8"),  # 128 bits over the input: equal inputs must never be split
        ("lo", "<u8"),
        ("answer", "<u4"),  # CRC-32: with equal inputs and lengths, tells copies from other answers
        ("seq", "<u8"),  # number of the record over all files, in their order
        ("length", "<u4"),  # characters
        ("label", "<u2"),
        ("stratum", "<u2"),
        ("side", "u1"),  # which given split it came from; 0: to be divided
    ]
)
"""38 bytes a record."""

NO_CODE: Final = 0xFFFF
"""No label, or no stratum."""

_Row = tuple[int, bytes, bytes, int, int, int]
"""Line, input, answer, length, label, stratum."""
_FEW: Final = 256
"""Rows that are turned into columns at a time: enough to pay, few enough to stay in the processor's cache."""

SCHEMA: Final = pa.schema([("input", pa.binary()), ("answer", pa.binary()), ("line", pa.int64())])
"""`input` is JSON, an object of fields or a list of messages; `line` counts within the piece."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One stored batch."""

    part: str
    """File name below the prepared folder."""
    number: int
    """Which batch of that file."""
    rows: int


class Codes:
    """Small numbers for repeated texts, in order of first appearance."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._codes: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Texts by code."""
        return tuple(self._codes)

    def code(self, text: str) -> int:
        """Return the text's number.

        Raises BadRecord: More texts than a closed set may have.
        """
        found = self._codes.get(text)
        if found is None:
            if len(self._codes) >= self._most:
                raise BadRecord(f"more than {self._most} different {self._what}")
            found = self._codes[text] = len(self._codes)
        return found


class _Texts:
    """A column of byte strings in one piece of memory: millions of small objects would cost ten times as much."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._sizes = array("i")

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for size in self._sizes:
            yield bytes(self.data[start : start + size])
            start += size

    def extend(self, items: Sequence[bytes]) -> None:
        self.data += b"".join(items)
        self._sizes.extend(map(len, items))

    def to_arrow(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        ends = np.zeros(len(self) + 1, np.int32)
        np.cumsum(np.asarray(self._sizes, np.int32), out=ends[1:])
        return pa.Array.from_buffers(pa.binary(), len(self), [None, pa.py_buffer(ends), pa.py_buffer(self.data)])


def _integers(values: "array[int]") -> Any:  # noqa: ANN401 - pyarrow has no types
    # pa.array would import pandas, a second in each process, to ask whether this is one of its own.
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


class _Waiting:
    """Examples that are not written yet."""

    def __init__(self) -> None:
        self.inputs, self.answers = _Texts(), _Texts()
        self.digests = bytearray()
        self.checksums = array("I")
        self.lines, self.lengths = array("q"), array("q")
        self.labels, self.strata = array("H"), array("H")

    def take(self, rows: Sequence[_Row]) -> None:
        """Add examples, column by column: there are millions, and a call for each value of each would show."""
        if not rows:
            return
        lines, inputs, answers, lengths, labels, strata = zip(*rows, strict=True)
        self.inputs.extend(inputs)
        self.answers.extend(answers)
        blake = hashlib.blake2b
        self.digests += b"".join([blake(raw, digest_size=16).digest() for raw in inputs])
        self.checksums.extend(map(crc32, answers))
        self.lines.extend(lines)
        self.lengths.extend(lengths)
        self.labels.extend(labels)
        self.strata.extend(strata)

    def without(self, dropped: set[int]) -> "_Waiting":
        columns = (self.lines, self.inputs, self.answers, self.lengths, self.labels, self.strata)
        kept = _Waiting()
        kept.take([row for i, row in enumerate(zip(*columns, strict=True)) if i not in dropped])
        return kept

    def to_index(self, side: int) -> IndexRows:
        rows = np.zeros(len(self.inputs), INDEX)
        wide = np.frombuffer(bytes(self.digests), "<u8").reshape(-1, 2)
        rows["hi"], rows["lo"] = wide[:, 0], wide[:, 1]
        rows["answer"] = np.asarray(self.checksums, np.uint32)
        rows["length"] = np.minimum(np.asarray(self.lengths, np.int64), 0xFFFFFFFF)
        rows["label"], rows["stratum"] = np.asarray(self.labels, np.uint16), np.asarray(self.strata, np.uint16)
        rows["side"] = side
        return rows


class BatchWriter:
    """Takes examples, writes a part file, keeps the index rows."""

    def __init__(self, path: Path, tokens: ControlTokens, *, source: str, batch_bytes: int, side: int) -> None:
        self._path, self._tokens = path, tokens
        self._source, self._batch_bytes, self._side = source, batch_bytes, side
        self._file: Any = None
        self._waiting = _Waiting()
        self._rows: list[_Row] = []
        """The last few, not yet in `_waiting`."""
        self._bytes = 0
        self.batches: list[Batch] = []
        self.index: list[IndexRows] = []
        self.problems: list[Problem] = []
        """Records that spell out a control token or hold NUL."""
        self.sensitive: dict[str, Sighting] = {}
        """What looks like a secret or a canary, by kind."""

    def add(self, line: int, raw: bytes, answer: bytes, length: int, label: int, stratum: int) -> None:
        """Take one example."""
        rows = self._rows
        rows.append((line, raw, answer, length, label, stratum))
        self._bytes += len(raw) + len(answer)
        if self._bytes >= self._batch_bytes:
            self.flush()
        elif len(rows) >= _FEW:
            self._waiting.take(rows)
            rows.clear()

    def flush(self) -> None:
        """Write what is waiting."""
        self._waiting.take(self._rows)
        self._rows.clear()
        self._bytes = 0
        held, self._waiting = self._waiting, _Waiting()
        held = self._without_forged(held)
        if not len(held.inputs):
            return
        if self._file is None:
            self._file = pa.ipc.new_file(str(self._path), SCHEMA)
        columns = [held.inputs.to_arrow(), held.answers.to_arrow(), _integers(held.lines)]
        self._file.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self.batches.append(Batch(self._path.name, len(self.batches), len(held.inputs)))
        self.index.append(held.to_index(self._side))

    def close(self) -> None:
        """Write the rest and the file's footer."""
        self.flush()
        if self._file is not None:
            self._file.close()

    def _without_forged(self, held: _Waiting) -> _Waiting:
        # One search over all texts: clean batches, nearly all of them, are not looked at record by record.
        kinds, is_suspect = set[str](), False
        for column in (held.inputs, held.answers):
            data = column.data
            kinds.update(find_kinds(data))
            is_suspect = is_suspect or self._tokens.may_occur(data)
            is_suspect = is_suspect or b"\x00" in data or (b"\\" in data and b"\\u0000" in data)
        if kinds:
            self._note_sensitive(held, kinds)
        if not is_suspect:
            return held
        dropped: set[int] = set()
        for i, (raw, answer) in enumerate(zip(held.inputs, held.answers, strict=True)):
            fault = self._find_forged(raw, answer)
            if fault is not None:
                self.problems.append(Problem(self._source, held.lines[i], fault))
                dropped.add(i)
        return held.without(dropped) if dropped else held

    def _note_sensitive(self, held: _Waiting, kinds: set[str]) -> None:
        for line, raw, answer in zip(held.lines, held.inputs, held.answers, strict=True):
            for kind in kinds.intersection(find_kinds(b"\n".join((raw, answer)))):
                known = self.sensitive.get(kind)
                self.sensitive[kind] = Sighting(known.line, known.count + 1) if known else Sighting(line, 1)

    def _find_forged(self, raw: bytes, answer: bytes) -> str | None:
        text = f"{texts_of(orjson.loads(raw))}\n{answer.decode()}"
        if "\x00" in text:
            return "a text holds NUL (U+0000); remove it"
        token = self._tokens.find(text)
        if token is None:
            return None
        return f"a text spells out the control token {token!r}, which would forge a turn; remove or rewrite it"
