"""Checked records on their way to disk: Arrow batches for the texts, and one small row each for duplicates and splits.

A part file holds the batches of one piece in Arrow's IPC format, uncompressed, so that it can be memory-mapped. Beside it, the
parent gets an INDEX row a record: hashes, never texts. Inputs are hashed with BLAKE2b: whoever writes
the data must not be able to make two inputs look like one by choosing them. Between answers to one input a checksum is enough.
"""

import hashlib
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


class BatchWriter:
    """Takes examples, writes a part file, keeps the index rows."""

    def __init__(self, path: Path, tokens: ControlTokens, *, source: str, batch_bytes: int, side: int) -> None:
        self._path, self._tokens = path, tokens
        self._source, self._batch_bytes, self._side = source, batch_bytes, side
        self._file: Any = None
        self._inputs: list[bytes] = []
        self._answers: list[bytes] = []
        self._numbers: list[tuple[int, int, int, int]] = []  # line, length, label, stratum
        self._bytes = 0
        self.batches: list[Batch] = []
        self.index: list[IndexRows] = []
        self.problems: list[Problem] = []
        """Records that spell out a control token or hold NUL."""
        self.sensitive: dict[str, Sighting] = {}
        """What looks like a secret or a canary, by kind."""

    def add(self, line: int, raw: bytes, answer: bytes, length: int, label: int, stratum: int) -> None:
        """Take one example."""
        self._inputs.append(raw)
        self._answers.append(answer)
        self._numbers.append((line, length, label, stratum))
        self._bytes += len(raw) + len(answer)
        if self._bytes >= self._batch_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        self._drop_forged()
        inputs, answers, numbers = self._inputs, self._answers, self._numbers
        self._inputs, self._answers, self._numbers, self._bytes = [], [], [], 0
        if not inputs:
            return
        lines, lengths, labels, strata = np.array(numbers, np.int64).T
        if self._file is None:
            self._file = pa.ipc.new_file(str(self._path), SCHEMA)
        columns = [pa.array(inputs, pa.binary()), pa.array(answers, pa.binary()), pa.array(lines, pa.int64())]
        self._file.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self.batches.append(Batch(self._path.name, len(self.batches), len(inputs)))
        rows = np.zeros(len(inputs), INDEX)
        blake = hashlib.blake2b
        wide = np.frombuffer(b"".join([blake(raw, digest_size=16).digest() for raw in inputs]), "<u8").reshape(-1, 2)
        rows["hi"], rows["lo"] = wide[:, 0], wide[:, 1]
        rows["answer"] = list(map(crc32, answers))
        rows["length"] = np.minimum(lengths, 0xFFFFFFFF)
        rows["label"], rows["stratum"], rows["side"] = labels, strata, self._side
        self.index.append(rows)

    def close(self) -> None:
        """Write the rest and the file's footer."""
        self.flush()
        if self._file is not None:
            self._file.close()

    def _drop_forged(self) -> None:
        # One search over all texts: clean batches, nearly all of them, are not looked at record by record.
        joined = b"\n".join((*self._inputs, *self._answers))
        self._note_sensitive(joined)
        has_nul = b"\x00" in joined or (b"\\" in joined and b"\\u0000" in joined)
        if not has_nul and not self._tokens.may_occur(joined):
            return
        kept: list[int] = []
        for i, (raw, answer) in enumerate(zip(self._inputs, self._answers, strict=True)):
            fault = self._find_forged(raw, answer)
            if fault is None:
                kept.append(i)
            else:
                self.problems.append(Problem(self._source, self._numbers[i][0], fault))
        if len(kept) < len(self._inputs):
            self._inputs = [self._inputs[i] for i in kept]
            self._answers = [self._answers[i] for i in kept]
            self._numbers = [self._numbers[i] for i in kept]

    def _note_sensitive(self, joined: bytes) -> None:
        for kind in find_kinds(joined):
            hits = [
                self._numbers[i][0]
                for i, texts in enumerate(zip(self._inputs, self._answers, strict=True))
                if kind in find_kinds(b"\n".join(texts))
            ]
            if hits:
                first, count = hits[0], len(hits)
                known = self.sensitive.get(kind)
                self.sensitive[kind] = Sighting(known.line, known.count + count) if known else Sighting(first, count)

    def _find_forged(self, raw: bytes, answer: bytes) -> str | None:
        text = f"{texts_of(orjson.loads(raw))}\n{answer.decode()}"
        if "\x00" in text:
            return "a text holds NUL (U+0000); remove it"
        token = self._tokens.find(text)
        if token is None:
            return None
        return f"a text spells out the control token {token!r}, which would forge a turn; remove or rewrite it"
