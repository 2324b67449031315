"""Lines that look like one that was read with care: told by a pattern, without a parser.

Most files are written by one program: each line has the same keys in the same order, the same white space, the same kinds of values.
From a line that was parsed and shaped, `learn` makes a pattern. A line that fits it differs from the first in nothing but the contents of
texts without escapes, booleans and whole numbers, so parsing and shaping it would come to the example that is built here from its
bytes. Any other line (an escape, a fraction in an answer, another order, bytes that are not UTF-8) fits no pattern, is parsed, and all
words about what is wrong come from there. tests/trainer/data/test_sight.py holds the two ways against each other.
"""

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_trainer.data.screen import CHUNK, chunks
from graft_trainer.data.shape import Example, Shaper

__all__ = ["Sight", "Tell", "measure"]

Tell = Callable[[bytes, int, int, int], Example | None]
"""Return what shaping a line would return, or None where the line must be parsed; raises BadRecord where shaping would.

The line stands between two indices of bytes that `measure` accepts, has no backslash, and that many characters with its end."""

_Groups = tuple[bytes, ...]
_Finish = Callable[[_Groups, int], tuple[bytes, int, str | None, str | None]]
"""Takes the characters of input and answer in the line; returns the answer, the example's length, label, stratum."""

_MOST: Final = 4
"""Patterns tried on a line."""
_ATTEMPTS: Final = 16
"""Lines that a pattern is made from; where so many gave no good one, each line is different."""
_STYLES: Final = ((b": ", b", "), (b":", b","))
"""What stands behind a key and behind a value: json.dumps writes the first, nearly everything else the second."""

_SHORT: Final = 16
"""Bytes a line, on average."""

_TEXT: Final = rb'"([^"]*)"'
_FILLED: Final = rb'"((?=[!#-~\xc3-\xe0\xe4-\xf4]|\xe1[^\x9a])[^"]*)"'
"""A text whose first character is no white space; some that begin with another character are left to the parser."""
_INTEGER: Final = rb"(0|-?[1-9][0-9]{0,17})"
"""As orjson writes it, and surely within 64 bits."""
_ANY: Final = rb'("[^"]*"|true|false|null|-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?)'
"""A scalar that nobody reads."""
_KINDS: Final[dict[type, bytes]] = {str: _TEXT, bool: b"(true|false)", int: _INTEGER, type(None): b"(null)"}


class _Column(NamedTuple):
    """Where a column's value is found."""

    groups: tuple[int, ...]
    """Indices into a match's groups."""
    pattern: bytes


class Sight:
    """The patterns for one shaper's lines; not thread-safe."""

    def __init__(self, shaper: Shaper) -> None:
        self._shaper = shaper
        self._tells: tuple[Tell, ...] = ()
        self._attempts = _ATTEMPTS if shaper.layout.format is not DatasetFormat.MESSAGES else 0
        self.tell: Tell = _first(())
        """By the patterns learned so far."""

    def learn(self, raw: bytes, value: object) -> None:
        """Make a pattern from a line that was parsed and shaped without a fault.

        Args:
            raw: The line.
            value: What parsing it gave.
        """
        if not self._attempts or b"\\" in raw:
            return
        self._attempts -= 1
        tell = _make(raw, cast("dict[str, Any]", value), self._shaper)
        if tell is not None:
            self._tells = (*self._tells, tell)
            self._attempts *= len(self._tells) < _MOST
            self.tell = tell if len(self._tells) == 1 else _first(self._tells)


def measure(data: bytes) -> memoryview:
    """Count the characters of each line, its line feed among them whether it is there or not.

    Args:
        data: Lines.

    Returns:
        Numbers; none where lines must not be told by sight: they are not UTF-8, have control characters but at their ends (within a
        text, JSON forbids them), or are so short that the numbers would take more memory than they are worth.
    """
    controls = sum(int(np.count_nonzero(chunk < 32)) for chunk in chunks(data))
    feeds, returns = data.count(b"\n"), data.count(b"\r")
    if controls != feeds + returns or (returns and returns != data.count(b"\r\n")) or feeds * _SHORT > len(data):
        return memoryview(b"")
    ends = [np.flatnonzero(chunk == ord("\n")) + i * CHUNK for i, chunk in enumerate(chunks(data))]
    starts = np.concatenate([np.array([-1]), *ends]) + 1
    is_open = not data.endswith(b"\n")
    offsets = np.append(starts, len(data)) if is_open else starts
    texts = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    held = pa.Array.from_buffers(pa.utf8(), len(offsets) - 1, texts)
    try:
        held.validate(full=True)
    except pa.ArrowInvalid:
        return memoryview(b"")
    counts = np.array(pc.call_function("utf8_length", [held]), np.int32)
    counts[-1:] += is_open
    return counts.data


def _first(tells: Sequence[Tell]) -> Tell:
    def tell(data: bytes, at: int, end: int, characters: int) -> Example | None:
        for one in tells:
            example = one(data, at, end, characters)
            if example is not None:
                return example
        return None

    return tell


def _make(raw: bytes, value: dict[str, Any], shaper: Shaper) -> Tell | None:
    columns: dict[str, _Column] = {}
    groups = 0
    for style in _STYLES:
        for name, item in value.items():
            pattern = _pattern(name, item, shaper, style)
            if pattern is None:
                return None
            more = re.compile(pattern).groups
            columns[name] = _Column(tuple(range(groups, groups + more)), pattern)
            groups += more
        end = rb"\r" if raw.endswith(b"\r") else b""
        match = re.compile(_object([(name, held.pattern) for name, held in columns.items()], style) + end).fullmatch
        found = match(raw)
        if found is not None:
            return _teller(match, found, columns, value, shaper)
        columns, groups = {}, 0
    return None


def _pattern(name: str, item: object, shaper: Shaper, style: tuple[bytes, bytes]) -> bytes | None:
    """Return a pattern for the values of one column, None where there is none."""
    kind = type(item)
    if name == shaper.layout.answer:
        if shaper.is_json:
            held = shaper.order(item)
            is_plain = shaper.is_plain is not None and shaper.is_plain(held)
            return _answer_object(item, style) if is_plain else None
        if shaper.is_classification:
            return rb'("[^"]*"|true|false|0|-?[1-9][0-9]{0,17})'
        return _FILLED
    if any(name == column for column, _ in shaper.layout.inputs):
        return _FILLED if kind is str else None
    return _ANY if kind in {str, bool, int, float, type(None)} else None


def _answer_object(item: object, style: tuple[bytes, bytes]) -> bytes:
    held = cast("dict[str, object]", item)
    # A float never fits: how it is written is not how it came.
    return _object([(name, _KINDS.get(type(value), b"(?!)")) for name, value in held.items()], style)


def _object(members: Sequence[tuple[str, bytes]], style: tuple[bytes, bytes]) -> bytes:
    colon, comma = style
    return rb"\{" + comma.join(re.escape(orjson.dumps(name)) + colon + item for name, item in members) + rb"\}"


def _teller(
    match: Callable[[bytes, int, int], re.Match[bytes] | None],
    first: re.Match[bytes],
    columns: dict[str, _Column],
    value: dict[str, Any],
    shaper: Shaper,
) -> Tell | None:
    layout = shaper.layout
    inputs = sorted((field, column) for column, field in layout.inputs)
    if not all(column in columns for _, column in inputs):
        return None
    written = _format([(field, b'"%b"') for field, _ in inputs])
    pick = itemgetter(*(columns[column].groups[0] for _, column in inputs))
    # What is in the line but not in a group, with the line feed.
    around = _count(first[0]) - sum(map(_count, first.groups())) + 1
    read = {*(column for _, column in inputs), layout.answer}
    unread = tuple(i for name, column in columns.items() if name not in read for i in column.groups)
    finish = _finisher(columns[layout.answer], value[layout.answer], shaper)

    def tell(data: bytes, at: int, end: int, characters: int) -> Example | None:
        found = match(data, at, end)
        if found is None:
            return None
        groups = found.groups()
        characters -= around
        for i in unread:
            characters -= _count(groups[i])
        answer, length, label, stratum = finish(groups, characters)
        return written % pick(groups), answer, length, label, stratum

    return tell


def _count(text: bytes) -> int:
    return len(text) if text.isascii() else len(text.decode())


def _finisher(column: _Column, answer: object, shaper: Shaper) -> _Finish:
    """Return what `Shaper` does with an answer, for one that fits the pattern."""
    if shaper.is_json:
        groups_of = dict(zip(cast("dict[str, object]", answer), column.groups, strict=True))
        kinds = cast("dict[str, object]", shaper.order(answer))
        written = _format([(name, b'"%b"' if type(item) is str else b"%b") for name, item in kinds.items()])
        pick, stratum_of = itemgetter(*(groups_of[name] for name in kinds)), shaper.stratum_of
        around = _count(written % ((b"",) * len(kinds)))

        def finish_json(groups: _Groups, characters: int) -> tuple[bytes, int, None, str | None]:
            found = written % pick(groups)
            # The length of a JSON answer is that of its bytes.
            length = characters - _count(found) + around + len(found)
            return found, length, None, None if stratum_of is None else stratum_of(orjson.loads(found))

        return finish_json
    at, name = column.groups[0], shaper.layout.answer
    if shaper.is_classification:

        def finish_label(groups: _Groups, characters: int) -> tuple[bytes, int, str, str]:
            token = groups[at]
            label = shaper.label(orjson.loads(token), name)
            return label.encode(), characters - _count(token) + len(label), label, label

        return finish_label
    return lambda groups, characters: (groups[at], characters, None, None)


def _format(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the template of a JSON object as orjson writes it."""
    return b"{" + b",".join(orjson.dumps(name).replace(b"%", b"%%") + b":" + item for name, item in members) + b"}"
