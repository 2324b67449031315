"""The header of a safetensors file, read without trusting a byte of it.

The file is `u64 little-endian header length | JSON header | tensor bytes`; each entry has dtype, shape and [begin, end) in the tensor bytes.
The format asks that the tensors cover these bytes exactly, without holes or overlaps
(https://github.com/huggingface/safetensors, "Format"): anything else could hide data or point out of the file.
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, cast

from graft_core.errors import Corrupt

__all__ = ["TensorInfo", "read_header"]

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
"""Far over what an adapter's names need; the format itself allows 100 MB."""
_DTYPE_BYTES: Final[Mapping[str, int]] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Types that an adapter may have; integers, booleans and 8-bit floats have no business in one."""
_NAME: Final = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,511}")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Read and check a header; raises Corrupt where the file is no safetensors, or contradicts itself, and says where.

    Args:
        path: The file, complete.

    Returns:
        The tensors by name.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            _refuse(path, f"has {size} bytes, too few for a header")
        (length,) = struct.unpack("<Q", prefix)
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            _refuse(path, f"declares a header of {length} bytes in a file of {size}; is it a pickle, or cut off?")
        raw = file.read(length)
    tensors = {name: _read_entry(path, name, entry) for name, entry in _parse(path, raw).items()}
    if not tensors:
        _refuse(path, "holds no tensor")
    _check_coverage(path, tensors, size - 8 - length)
    return tensors


def _refuse(path: Path, what: str) -> NoReturn:
    raise Corrupt(f"{path.name} {what}; publish the adapter again")


def _parse(path: Path, raw: bytes) -> dict[str, object]:
    try:
        header: object = json.loads(raw, object_pairs_hook=_refuse_twins)
    except (ValueError, RecursionError) as err:
        raise Corrupt(
            f"{path.name} has a header that is not JSON ({str(err)[:80]}); publish the adapter again"
        ) from err
    if not isinstance(header, dict):
        _refuse(path, "has a header that is not an object")
    entries = cast("dict[str, object]", header)
    entries.pop("__metadata__", None)
    return entries


def _refuse_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _read_entry(path: Path, name: str, entry: object) -> TensorInfo:
    if not _NAME.fullmatch(name):
        _refuse(path, f"names a tensor {name[:60]!r}")
    fields = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPE_BYTES:
        _refuse(path, f"tensor {name!r} has dtype {str(dtype)[:20]!r}, expected one of {', '.join(_DTYPE_BYTES)}")
    extents = _integers(shape)
    if extents is None or len(extents) > 8:
        _refuse(path, f"tensor {name!r} has no valid shape")
    span = _integers(offsets)
    if span is None or len(span) != 2 or span[0] > span[1]:
        _refuse(path, f"tensor {name!r} has no valid data_offsets")
    if span[1] - span[0] != math.prod(extents) * _DTYPE_BYTES[dtype]:
        _refuse(path, f"tensor {name!r} of shape {extents!r} and {dtype} does not fill its {span[1] - span[0]} bytes")
    return TensorInfo(dtype, extents, span[0], span[1])


def _integers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    items = cast("list[object]", value)
    # Booleans are integers to Python; 2**53 is where JSON readers begin to disagree.
    if not all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**53 for item in items):
        return None
    return tuple(cast("list[int]", items))


def _check_coverage(path: Path, tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    at = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != at:
            what = "overlaps the one before it" if info.begin < at else "leaves a hole before it"
            _refuse(path, f"tensor {name!r} {what} (begins at {info.begin}, expected {at})")
        at = info.end
    if at != data_bytes:
        what = "is cut off" if at > data_bytes else "has bytes that belong to no tensor"
        _refuse(path, f"{what} (tensors end at {at}, data at {data_bytes})")
