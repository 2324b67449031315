"""JSON Lines in pieces: each piece is checked by itself, in any process, and together they are the file.

A piece [start, end) owns the lines that *begin* in it; its last line may end behind it. A line over `record_bytes` is told as
one bad record and skipped without being held, however long it is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from graft_trainer.config import DataLimits
from graft_trainer.data.readers import Row
from graft_trainer.data.shape import Example, Shaper
from graft_trainer.data.sight import Sight, measure
from graft_trainer.data.values import BadRecord, has_spaced_key, parse_record

__all__ = ["LinePiece", "LineReader", "cut"]

_BOM: Final = b"\xef\xbb\xbf"
_FEW: Final = 64
"""Lines that are parsed before a whole piece is searched for what makes parsing slower."""

_T = TypeVar("_T")


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
        return self._walk(lambda value: value, None)

    def examples(self, shaper: Shaper) -> Iterator[tuple[int, Example | None, str | None]]:
        """Yield each row shaped, or None and the reason why there is no example; lines count as in `rows`."""
        return self._walk(shaper.shape, Sight(shaper))

    def _walk(self, shape: Callable[[object], _T], sight: Sight | None) -> Iterator[tuple[int, _T | None, str | None]]:
        data, is_cut = self._read()
        most, size, find = self._limits.record_bytes, len(data), data.find
        counts = measure(data) if sight is not None else memoryview(b"")
        told = sight if len(counts) else None
        parse = self._parser(data)
        has_escapes = b"\\" in data
        at = number = 0
        while at < size:
            start, end = at, find(b"\n", at)
            if end < 0:
                end = size
            at, number = end + 1, number + 1
            example: Any = None
            try:
                if told is not None and end - start <= most and not (has_escapes and find(b"\\", start, end) >= 0):
                    example = told.tell(data, start, end, counts[number - 1])
                if example is None:
                    raw = data[start:end]
                    if not raw or raw.isspace():
                        continue
                    value = parse(raw, is_cut=is_cut and end == size)
                    example = shape(value)
                    if told is not None:
                        told.learn(raw, value)
            except BadRecord as err:
                yield number, None, str(err)
            else:
                yield number, example, None
        self.lines = number

    def _parser(self, data: bytes) -> Callable[..., object]:
        limits, most = self._limits, self._limits.record_bytes
        few, may_space = _FEW, True

        def parse(raw: bytes, *, is_cut: bool) -> object:
            nonlocal few, may_space
            if len(raw) > most or is_cut:
                raise BadRecord(f"a line over {most} bytes; at most that fits in a record")
            if few:
                few -= 1
                if not few:
                    may_space = has_spaced_key(data)
            return parse_record(raw, limits, may_space=may_space)

        return parse

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
