"""JSON Lines in pieces: each piece is checked by itself, in any process, and together they are the file.

A piece [start, end) owns the lines that *begin* in it; its last line may end behind it. A line over `record_bytes` is told as
one bad record and skipped without being held, however long it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from graft_trainer.config import DataLimits
from graft_trainer.data.readers import Row
from graft_trainer.data.values import BadRecord, has_spaced_key, parse_record

__all__ = ["LinePiece", "LineReader", "cut"]

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class LinePiece:
    """A stretch of one file."""

    start: int
    end: int


def cut(size: int, piece_bytes: int) -> list[LinePiece]:
    """Cut a file of `size` bytes into pieces."""
    return [LinePiece(at, min(at + piece_bytes, size)) for at in range(0, size, piece_bytes)]


class LineReader:
    """Reads one piece."""

    def __init__(self, path: Path, piece: LinePiece, limits: DataLimits) -> None:
        self._path, self._piece, self._limits = path, piece, limits
        self.lines = 0
        """Lines that begin in the piece; known once all rows are read."""

    def rows(self) -> Iterator[Row]:
        """Yield the rows; lines count from 1 at the piece's first."""
        data, is_cut = self._read()
        if not data:
            return
        may_space = has_spaced_key(data)
        found = data.split(b"\n")
        if data.endswith(b"\n"):
            found.pop()
        del data
        limits, most = self._limits, self._limits.record_bytes
        self.lines = len(found)
        last = len(found) if is_cut else 0
        for number, raw in enumerate(found, 1):
            if not raw or raw.isspace():
                continue
            if len(raw) > most or number == last:
                yield number, None, f"a line over {most} bytes; at most that fits in a record"
                continue
            try:
                yield number, parse_record(raw, limits, may_space=may_space), None
            except BadRecord as err:
                yield number, None, str(err)

    def _read(self) -> tuple[bytes, bool]:
        """Return the piece's lines, and whether the last is longer than may be read."""
        start, end = self._piece.start, self._piece.end
        with self._path.open("rb") as file:
            if start > 0:
                # The byte before tells whether a line begins right here.
                file.seek(start - 1)
            data = file.read(end - file.tell())
            if start > 0:
                first = data.find(b"\n")
                if first < 0:
                    return b"", False
                data = data[first + 1 :]
            else:
                data = data.removeprefix(_BOM)
            if not data or data.endswith(b"\n"):
                return data, False
            tail, is_cut = self._rest_of_line(file)
            return data + tail, is_cut

    def _rest_of_line(self, file: BinaryIO) -> tuple[bytes, bool]:
        tail = file.readline(self._limits.record_bytes + 1)
        return tail, len(tail) > self._limits.record_bytes and not tail.endswith(b"\n")
