"""Rows out of files, one after the other, each with its line; a row that cannot be read is its reason instead.

Reading is bounded whatever the file: no line, cell or value over `record_bytes` is ever held. Faults that leave no way to find
the next record (a broken .json array, a Parquet page) end the file with a DatasetError.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import pyarrow as pa
import pyarrow.parquet as pq

from graft_trainer.config import DataLimits
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.sources import FileKind, InputFile
from graft_trainer.data.values import BadRecord, check_value, parse_record

__all__ = ["Row", "read_header", "read_rows"]

Row = tuple[int, object, str | None]
"""Line (or row number), value, and None; or line, None and the reason why there is no value."""

_BOM: Final = b"\xef\xbb\xbf"
_PARQUET_ROWS: Final = 1024
_MANY_COLUMNS: Final = 4096


def read_rows(file: InputFile, columns: tuple[str, ...] | None, limits: DataLimits) -> Iterator[Row]:
    """Read a file that is not JSON Lines from its beginning; `lines.py` reads those in pieces.

    Iterating raises DatasetError where the file as a whole cannot be read on.

    Args:
        file: What to read.
        columns: Columns that matter to a Parquet reader; None: all.
        limits: Bounds.

    Returns:
        Rows in order; lines count from 1 in the whole file.
    """
    match file.kind:
        case FileKind.PARQUET:
            return _read_parquet(file, columns, limits)
        case FileKind.CSV | FileKind.TSV:
            return _read_csv(file, limits)
        case FileKind.JSON | FileKind.JSONL:
            return _read_array(file, limits)


def read_header(file: InputFile, limits: DataLimits) -> tuple[str, ...] | None:
    """Return the column names that the file itself declares; None for JSON, where each record has its own."""
    match file.kind:
        case FileKind.PARQUET:
            with _open_parquet(file) as parquet:
                return tuple(parquet.schema_arrow.names)
        case FileKind.CSV | FileKind.TSV:
            return tuple(_csv_header(file, _csv_reader(file, limits, [])))
        case FileKind.JSON | FileKind.JSONL:
            return None


# ---------------------------------------------------------------- CSV


def _read_csv(file: InputFile, limits: DataLimits) -> Iterator[Row]:
    broken: list[int] = []
    reader = _csv_reader(file, limits, broken)
    header = _csv_header(file, reader)
    width = len(header)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            yield line, None, _csv_fault(err, limits)
            continue
        except BadRecord as err:
            raise DatasetError.of_file(file.uri, str(err), line=line) from None
        if broken:
            broken.clear()
            yield line, None, "a cell is not valid UTF-8"
        elif not cells:
            continue
        elif len(cells) != width:
            yield line, None, f"{len(cells)} cells, but the header has {width} columns"
        else:
            yield line, dict(zip(header, cells, strict=True)), None


def _csv_fault(err: csv.Error, limits: DataLimits) -> str:
    text = str(err)
    if "field larger" in text:
        return f"a cell over {limits.record_bytes} bytes; is a quote left open?"
    return f"not CSV: {text}"


def _csv_reader(file: InputFile, limits: DataLimits, broken: list[int]) -> Any:  # noqa: ANN401 - csv.reader has no public type
    # Process-wide, but there is one right value: what a record may weigh.
    csv.field_size_limit(limits.record_bytes)
    return csv.reader(_text_lines(file.path, limits, broken), delimiter=_delimiter(file), strict=True)


def _delimiter(file: InputFile) -> str:
    if file.kind is FileKind.TSV:
        return "\t"
    with file.path.open("rb") as raw:
        first = raw.readline(65536)
    # Spreadsheets write semicolons where the comma is the decimal sign.
    return ";" if b"," not in first and b";" in first else ","


def _csv_header(file: InputFile, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except (csv.Error, BadRecord) as err:
        raise DatasetError.of_file(file.uri, f"the header cannot be read: {err}", line=1) from None
    if not header or not all(header):
        raise DatasetError.of_file(file.uri, "the first line must name all columns", line=1)
    repeated = next((name for name in header if header.count(name) > 1), None) if len(header) <= _MANY_COLUMNS else "?"
    if repeated is not None:
        raise DatasetError.of_file(file.uri, f"the header names column {repeated[:64]!r} twice", line=1)
    return header


def _text_lines(path: Path, limits: DataLimits, broken: list[int]) -> Iterator[str]:
    """Yield decoded lines with their line ends; notes in `broken` those that are not UTF-8, raises BadRecord for an endless one."""
    with path.open("rb") as raw:
        number = 0
        while line := raw.readline(limits.record_bytes + 1):
            number += 1
            if len(line) > limits.record_bytes:
                raise BadRecord(f"a line over {limits.record_bytes} bytes")
            if number == 1:
                line = line.removeprefix(_BOM)
            try:
                text = line.decode()
            except UnicodeDecodeError:
                broken.append(number)
                text = line.decode(errors="replace")
            yield text


# ---------------------------------------------------------------- JSON array


def _read_array(file: InputFile, limits: DataLimits) -> Iterator[Row]:
    if file.size > limits.json_array_bytes:
        raise DatasetError.of_file(
            file.uri,
            f"a JSON array of {file.size} bytes; over {limits.json_array_bytes} bytes, write JSON Lines (.jsonl)",
        )
    try:
        text = file.path.read_bytes().removeprefix(_BOM).decode()
    except UnicodeDecodeError as err:
        raise DatasetError.of_file(file.uri, f"not valid UTF-8 at byte {err.start + 1}") from None
    walker = _ArrayWalker(file, text)
    while (element := walker.next()) is not None:
        line, raw = element
        if len(raw) > limits.record_bytes:
            yield line, None, f"{len(raw)} bytes; at most {limits.record_bytes} fit in a record"
            continue
        try:
            yield line, parse_record(raw, limits), None
        except BadRecord as err:
            yield line, None, str(err)


class _ArrayWalker:
    """Finds the elements of a JSON array and the lines they begin on."""

    def __init__(self, file: InputFile, text: str) -> None:
        self._file, self._text = file, text
        self._scan = json.JSONDecoder().raw_decode
        self._line, self._counted = 1, 0
        self._at = self._skip(0)
        if text[self._at : self._at + 1] != "[":
            self._fail("expected a JSON array ('[')")
        self._at = self._skip(self._at + 1)
        self._is_done = text[self._at : self._at + 1] == "]"
        if self._is_done:
            self._check_end()

    def next(self) -> tuple[int, bytes] | None:
        """Return line and bytes of the next element, None behind the last."""
        if self._is_done:
            return None
        start = self._at
        line = self._line_at(start)
        try:
            _, end = self._scan(self._text, start)
        except json.JSONDecodeError as err:
            self._at = err.pos
            self._fail(f"not JSON: {err.msg}")
        except (RecursionError, ValueError):
            self._fail("nested too deeply, or a number of thousands of digits")
        self._at = self._skip(end)
        mark = self._text[self._at : self._at + 1]
        if mark == "]":
            self._is_done = True
            self._check_end()
        elif mark == ",":
            self._at = self._skip(self._at + 1)
            if self._text[self._at : self._at + 1] == "]":
                self._fail("trailing comma behind the last record")
        else:
            self._fail("expected ',' or ']' behind a record" if mark else "the file ends within the array")
        return line, self._text[start:end].encode("utf-8", "surrogatepass")

    def _check_end(self) -> None:
        self._at = self._skip(self._at + 1)
        if self._at < len(self._text):
            self._fail("text behind the end of the array")

    def _skip(self, at: int) -> int:
        text = self._text
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        return at

    def _line_at(self, at: int) -> int:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = max(self._counted, at)
        return self._line

    def _fail(self, reason: str) -> NoReturn:
        raise DatasetError.of_file(self._file.uri, reason, line=self._line_at(self._at))


# ---------------------------------------------------------------- Parquet


def _open_parquet(file: InputFile) -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        # Small reads and no read-ahead: a row group is decoded page by page, not held as a whole.
        return pq.ParquetFile(file.path, memory_map=False, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as err:
        raise DatasetError.of_file(
            file.uri, f"not a complete Parquet file ({type(err).__name__}); was it cut off while it was written?"
        ) from None


def _read_parquet(file: InputFile, columns: tuple[str, ...] | None, limits: DataLimits) -> Iterator[Row]:
    with _open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
        wanted = [name for name in names if columns is None or name in columns]
        for name in wanted:
            if names.count(name) > 1:
                raise DatasetError.of_file(file.uri, f"column {name[:64]!r} is there twice")
            _check_type(file, name, parquet.schema_arrow.field(name).type)
        row = 0
        try:
            for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
                for value, fault in _parquet_values(batch, limits):
                    row += 1
                    yield row, value, fault
        except (pa.ArrowException, OSError) as err:
            raise DatasetError.of_file(
                file.uri, f"a damaged Parquet page ({type(err).__name__})", line=row + 1
            ) from None


def _check_type(file: InputFile, name: str, kind: Any) -> None:  # noqa: ANN401 - pyarrow has no types
    if not _is_json_type(kind):
        raise DatasetError.of_file(
            file.uri,
            f"column {name[:64]!r} is of type {str(kind)[:64]}; expected texts, numbers, booleans, lists or structs",
        )


def _is_json_type(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    types = pa.types
    if types.is_dictionary(kind):
        return _is_json_type(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_json_type(kind.value_type)
    if types.is_struct(kind):
        return all(_is_json_type(kind.field(i).type) for i in range(kind.num_fields))
    simple = (
        types.is_string,
        types.is_large_string,
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_null,
    )
    return any(check(kind) for check in simple)


def _parquet_values(batch: Any, limits: DataLimits) -> Iterator[tuple[object, str | None]]:  # noqa: ANN401 - pyarrow has no types
    try:
        values = cast("list[object]", batch.to_pylist())
    except UnicodeDecodeError:
        # A text that is not UTF-8 spoils its own row only.
        values = [_parquet_row(batch.slice(i, 1)) for i in range(batch.num_rows)]
    for value in values:
        try:
            if isinstance(value, BadRecord):
                raise value
            check_value(value, limits)
        except BadRecord as err:
            yield None, str(err)
        else:
            yield value, None


def _parquet_row(row: Any) -> object:  # noqa: ANN401 - pyarrow has no types
    try:
        return cast("object", row.to_pylist()[0])
    except UnicodeDecodeError:
        return BadRecord("a text is not valid UTF-8")
