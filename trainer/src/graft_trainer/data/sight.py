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

from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_trainer.data.screen import chunks
from graft_trainer.data.shape import Example, Shaper

__all__ = ["Sight", "is_readable"]

_Groups = tuple[bytes, ...]
_Tell = Callable[[bytes, int, int], Example | None]
_Finish = Callable[[_Groups], tuple[bytes, int, str | None, str | None]]

_MOST: Final = 4
"""Patterns tried on a line."""
_ATTEMPTS: Final = 16
"""Lines that a pattern is made from; where so many gave no good one, each line is different."""
_STYLES: Final = ((b": ", b", "), (b":", b","))
"""What stands behind a key and behind a value: json.dumps writes the first, nearly everything else the second."""

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
        self._tells: tuple[_Tell, ...] = ()
        self._attempts = _ATTEMPTS if shaper.layout.format is not DatasetFormat.MESSAGES else 0

    def tell(self, data: bytes, at: int, end: int) -> Example | None:
        """Return what shaping the line would return, None where it must be parsed.

        BadRecord is raised where shaping would raise it.

        Args:
            data: Lines for which is_readable is true.
            at: Where the line begins.
            end: Where it ends; no backslash between the two.

        Returns:
            The example.
        """
        for tell in self._tells:
            example = tell(data, at, end)
            if example is not None:
                return example
        return None

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


def is_readable(data: bytes) -> bool:
    """Say whether lines have no control characters but at their ends: within a text, JSON forbids them."""
    controls = sum(int(np.count_nonzero(chunk < 32)) for chunk in chunks(data))
    returns = data.count(b"\r")
    return controls == data.count(b"\n") + returns and (not returns or returns == data.count(b"\r\n"))


def _make(raw: bytes, value: dict[str, Any], shaper: Shaper) -> _Tell | None:
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
        match = re.compile(_object([(name, held.pattern) for name, held in columns.items()], style) + rb"\r?").fullmatch
        if match(raw):
            return _teller(match, columns, value, shaper)
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
    columns: dict[str, _Column],
    value: dict[str, Any],
    shaper: Shaper,
) -> _Tell | None:
    layout = shaper.layout
    inputs = sorted((field, column) for column, field in layout.inputs)
    if not all(column in columns for _, column in inputs):
        return None
    written = _format([(field, b'"%b"') for field, _ in inputs])
    pick = itemgetter(*(columns[column].groups[0] for _, column in inputs))
    # Characters around the texts.
    around = len((written % ((b"",) * len(inputs))).decode())
    read = {*(column for _, column in inputs), layout.answer}
    unread = tuple(i for name, column in columns.items() if name not in read for i in column.groups)
    finish = _finisher(columns[layout.answer], value[layout.answer], shaper)

    def tell(data: bytes, at: int, end: int) -> Example | None:
        found = match(data, at, end)
        if found is None:
            return None
        groups = found.groups()
        raw = written % pick(groups)
        try:
            length = len(str(raw, "utf-8")) - around
            answer, more, label, stratum = finish(groups)
            for i in unread:
                str(groups[i], "utf-8")
        except (UnicodeDecodeError, orjson.JSONDecodeError):
            return None
        return raw, answer, length + more, label, stratum

    return tell


def _finisher(column: _Column, answer: object, shaper: Shaper) -> _Finish:
    """Return what `Shaper` does with an answer, for one that fits the pattern."""
    if shaper.is_json:
        groups_of = dict(zip(cast("dict[str, object]", answer), column.groups, strict=True))
        kinds = cast("dict[str, object]", shaper.order(answer))
        written = _format([(name, b'"%b"' if type(item) is str else b"%b") for name, item in kinds.items()])
        pick, stratum_of = itemgetter(*(groups_of[name] for name in kinds)), shaper.stratum_of

        def finish_json(groups: _Groups) -> tuple[bytes, int, None, str | None]:
            found = written % pick(groups)
            if not found.isascii():
                str(found, "utf-8")
            return found, len(found), None, None if stratum_of is None else stratum_of(orjson.loads(found))

        return finish_json
    at, name = column.groups[0], shaper.layout.answer
    if shaper.is_classification:

        def finish_label(groups: _Groups) -> tuple[bytes, int, str, str]:
            label = shaper.label(orjson.loads(groups[at]), name)
            return label.encode(), len(label), label, label

        return finish_label
    return lambda groups: (groups[at], len(str(groups[at], "utf-8")), None, None)


def _format(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the template of a JSON object as orjson writes it."""
    return b"{" + b",".join(orjson.dumps(name).replace(b"%", b"%%") + b":" + item for name, item in members) + b"}"
