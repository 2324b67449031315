"""Checked records on their way to disk: Arrow batches for the texts, and one small row each for duplicates and splits.

A part file holds the batches of one piece in Arrow's IPC format, uncompressed, so that it can be memory-mapped. Beside it, the
parent gets an INDEX row a record: hashes, never texts. Inputs are hashed with BLAKE2b: whoever writes
the data must not be able to make two inputs look like one by choosing them. Between answers to one input a checksum is enough.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
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
        self.ends = array("i", [0])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[bytes]:
        starts = iter(self.ends)
        start = next(starts)
        for end in starts:
            yield bytes(self.data[start:end])
            start = end

    def to_arrow(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        buffers = [None, pa.py_buffer(self.ends), pa.py_buffer(bytes(self.data))]
        return pa.Array.from_buffers(pa.binary(), len(self), buffers)


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

        self.add = self._make_add()

    def _make_add(self) -> Callable[[int, bytes, bytes, int, int, int], int]:
        """Return a function that takes one example and says how many bytes wait; a closure, for it runs millions of times."""
        inputs, input_end = self.inputs.data, self.inputs.ends.append
        answers, answer_end = self.answers.data, self.answers.ends.append
        digests, checksum, blake = self.digests, self.checksums.append, hashlib.blake2b
        add_line, add_length = self.lines.append, self.lengths.append
        add_label, add_stratum = self.labels.append, self.strata.append

        def add(line: int, raw: bytes, answer: bytes, length: int, label: int, stratum: int) -> int:
            nonlocal inputs, answers, digests
            inputs += raw
            answers += answer
            input_end(len(inputs))
            answer_end(len(answers))
            digests += blake(raw, digest_size=16).digest()
            checksum(crc32(answer))
            add_line(line)
            add_length(length)
            add_label(label)
            add_stratum(stratum)
            return len(inputs) + len(answers)

        return add

    def without(self, dropped: set[int]) -> "_Waiting":
        kept = _Waiting()
        texts = zip(self.inputs, self.answers, strict=True)
        numbers = zip(self.lines, self.lengths, self.labels, self.strata, strict=True)
        for i, ((raw, answer), (line, length, label, stratum)) in enumerate(zip(texts, numbers, strict=True)):
            if i not in dropped:
                kept.add(line, raw, answer, length, label, stratum)
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
        self.batches: list[Batch] = []
        self.index: list[IndexRows] = []
        self.problems: list[Problem] = []
        """Records that spell out a control token or hold NUL."""
        self.sensitive: dict[str, Sighting] = {}
        """What looks like a secret or a canary, by kind."""

    def add(self, line: int, raw: bytes, answer: bytes, length: int, label: int, stratum: int) -> None:
        """Take one example."""
        if self._waiting.add(line, raw, answer, length, label, stratum) >= self._batch_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
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
            data = bytes(column.data)
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
