"""One JSON value out of a file: parsed fast, refused strictly.

orjson is lenient where it matters here: it keeps the last of two equal keys, and turns integers over 64 bits into floats.
Both change a record without a word, so both are looked for. A scan of the raw bytes proves most records free of repeated
keys at the price of one `count`: every key ends in `":`, so a record with as many of these as keys repeats none.
"""

import re
from typing import Any, Final

import orjson

from graft_core.errors import InvalidInput
from graft_core.tasks.outputs import parse_json
from graft_trainer.config import DataLimits
from graft_trainer.data.screen import neighbours

__all__ = ["BadRecord", "check_value", "has_spaced_key", "parse_record", "texts_of"]

_BIG: Final = float(2**63)
_LONG: Final = 1 << 14
_SPACED_COLON: Final = re.compile(rb'"[ \t\r\n]+:')


class BadRecord(Exception):
    """A record cannot be used; the text says why without quoting it."""


def parse_record(raw: bytes, limits: DataLimits, *, may_space: bool = True) -> object:
    """Parse one JSON text.

    Args:
        raw: UTF-8 without white space around it that is not JSON's.
        limits: Bounds on depth and keys.
        may_space: White space may stand between a key and its colon; False where has_spaced_key has ruled it out.

    Returns:
        Anything that JSON can hold.

    Raises:
        BadRecord: Not UTF-8, not JSON, a key twice in one object, a number over 64 bits, too deep or too many keys.
    """
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise BadRecord(_explain(raw, err, limits)) from None
    keys = _count_keys(value, limits.depth)
    if keys > limits.keys:
        raise BadRecord(_too_many(keys, limits))
    if raw.count(b'":') != keys or (may_space and has_spaced_key(raw)):
        _refuse_repeated_keys(raw)
    return value


def has_spaced_key(raw: bytes) -> bool:
    """Say whether some key may have white space before its colon; never says no wrongly."""
    # White space before a colon is rare: the pattern is slow, and only needed where that is found.
    if len(raw) > _LONG:
        is_suspect = not neighbours(b":", raw).isdisjoint(b" \t\r\n")
    else:
        is_suspect = b" :" in raw or b"\t:" in raw or b"\r:" in raw or b"\n:" in raw
    return is_suspect and _SPACED_COLON.search(raw) is not None


def check_value(value: object, limits: DataLimits) -> int:
    """Count the keys of a value and refuse what is too deep, too wide or out of range.

    Args:
        value: Anything that JSON can hold.
        limits: Bounds on depth and keys.

    Returns:
        Keys of all objects together.

    Raises:
        BadRecord: A bound is passed, or a number does not fit 64 bits.
    """
    keys = _count_keys(value, limits.depth)
    if keys > limits.keys:
        raise BadRecord(_too_many(keys, limits))
    return keys


def _too_many(keys: int, limits: DataLimits) -> str:
    return f"{keys} keys; at most {limits.keys} fit in a record"


def _count_keys(value: Any, depth: int) -> int:  # noqa: ANN401 - narrowed by exact type: `cast` would be a call in the hottest loop
    kind = type(value)
    if kind is dict:
        keys, items = len(value), value.values()
    elif kind is list:
        keys, items = 0, value
    else:
        _check_number(value)
        return 0
    if depth == 0:
        raise BadRecord("nested too deeply")
    for item in items:
        kind = type(item)
        if kind is str or kind is bool:
            continue
        if kind is dict or kind is list:
            keys += _count_keys(item, depth - 1)
        elif kind is float or kind is int:
            _check_number(item)
    return keys


def _check_number(value: object) -> None:
    if isinstance(value, int | float) and not -_BIG <= value < _BIG:
        raise BadRecord("a number is beyond 64 bits or not finite; write it as a text")


def _refuse_repeated_keys(raw: bytes) -> None:
    try:
        parse_json(raw.decode())
    except InvalidInput as err:
        raise BadRecord(str(err)) from None


def _explain(raw: bytes, err: orjson.JSONDecodeError, limits: DataLimits) -> str:
    """Say in a reader's words why orjson refused; its own message quotes nothing either."""
    if b"\x00" in raw:
        return f"byte {raw.index(0) + 1} is NUL; the file may be UTF-16 or binary, expected UTF-8 text"
    try:
        raw.decode()
    except UnicodeDecodeError as fault:
        return f"not valid UTF-8 at byte {fault.start + 1}"
    text = raw.strip()
    if text.endswith(b",") and not text.startswith(b"["):
        return "trailing comma: each line of .jsonl is one JSON object without a comma behind it"
    message = err.msg
    if "surrogate" in message:
        return f"half of a surrogate pair at column {err.colno}; expected valid Unicode"
    if "depth" in message:
        return f"nested too deeply; at most {limits.depth} levels fit in a record"
    return f"not JSON: {message} at column {err.colno}"


def texts_of(value: object) -> str:
    """Return all texts of a JSON value, keys too, a line each."""
    texts: list[str] = []
    left: list[Any] = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict):
            left.extend((*item.keys(), *item.values()))
        elif isinstance(item, list):
            left.extend(item)
    return "\n".join(texts)
