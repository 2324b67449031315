"""`spec.engine.args` of the in-process engine: `--name=value`, all faults told with the argument's place."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from graft_core.errors import InvalidInput

__all__ = ["DTypeName", "EngineArgs", "parse_engine_args"]

DTypeName = Literal["float32", "bfloat16"]

_ARG: Final = re.compile(r"--(?P<name>[a-z][a-z-]*)=(?P<value>.+)", re.DOTALL)
_DTYPES: Final[tuple[DTypeName, ...]] = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class EngineArgs:
    """The arguments, read."""

    num_beams: int = 1
    """Beams of the search; over 1 the answer comes as a whole. Unlike sampling it is deterministic."""
    max_new_tokens: int = 512
    """Tokens of an answer where the request does not say."""
    dtype: DTypeName = "float32"
    """Type of the weights; bfloat16 halves the memory."""


def parse_engine_args(args: Sequence[str]) -> EngineArgs:
    """Read the arguments.

    Args:
        args: As in the configuration, e.g. ("--num-beams=4",).

    Returns:
        The arguments with their defaults.

    Raises:
        InvalidInput: Unknown, given twice, or out of range; `path` is the argument's place.
    """
    parsed = EngineArgs()
    seen: set[str] = set()
    for i, arg in enumerate(args):
        path = f"engine.args[{i}]"
        match = _ARG.fullmatch(arg)
        if match is None or match["name"] not in _SETTERS:
            known = ", ".join(f"--{name}=…" for name in _SETTERS)
            raise InvalidInput(f"{path}: {arg[:80]!r} is not an argument of this engine; expected {known}", path=path)
        name = match["name"]
        if name in seen:
            raise InvalidInput(f"{path}: --{name} is given twice; keep one", path=path)
        seen.add(name)
        parsed = _SETTERS[name](parsed, match["value"], path)
    return parsed


def _integer(name: str, value: str, low: int, high: int, path: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
        raise InvalidInput(f"{path}: --{name}={value[:40]!r} is not an integer in {low}..{high}", path=path)
    return int(value)


def _set_num_beams(args: EngineArgs, value: str, path: str) -> EngineArgs:
    return replace(args, num_beams=_integer("num-beams", value, 1, 64, path))


def _set_max_new_tokens(args: EngineArgs, value: str, path: str) -> EngineArgs:
    return replace(args, max_new_tokens=_integer("max-new-tokens", value, 1, 1_000_000, path))


def _set_dtype(args: EngineArgs, value: str, path: str) -> EngineArgs:
    if value not in _DTYPES:  # narrows to the literal
        raise InvalidInput(f"{path}: --dtype={value[:40]!r} is not one of {', '.join(_DTYPES)}", path=path)
    return replace(args, dtype=value)


_SETTERS: Final[dict[str, Callable[[EngineArgs, str, str], EngineArgs]]] = {
    "num-beams": _set_num_beams,
    "max-new-tokens": _set_max_new_tokens,
    "dtype": _set_dtype,
}
