"""The part of JSONPath that printer columns, `-o jsonpath=` and `--for=jsonpath=` need: keys, indices and `*`."""

import json
import re
from collections.abc import Iterator
from typing import cast

from graft_core.errors import InvalidInput

__all__ = ["look_up", "parse_path", "to_words"]

_STEP = re.compile(r"\.((?:[^.\[\]\\]|\\.)+)|\[(-?\d+|\*)\]|\['([^']+)'\]")


def parse_path(text: str) -> tuple[str, ...]:
    r"""Read `{.a.b[0].c}`, with or without braces and `$`, into its steps.

    Args:
        text: The path; a dot within a key is written `\.` or `['a.b']`.

    Returns:
        Keys, indices and `*`, in order.

    Raises:
        InvalidInput: It is none, or it needs more of JSONPath than there is here.
    """
    inner = text.strip()
    if inner.startswith("{") != inner.endswith("}"):
        raise InvalidInput(f"JSONPath {text!r} has a brace without its pair; expected e.g. {{.status.phase}}")
    inner = inner.removeprefix("{").removesuffix("}").removeprefix("$")
    if inner and inner[0] not in ".[":
        inner = f".{inner}"
    steps: list[str] = []
    at = 0
    while at < len(inner):
        match = _STEP.match(inner, at)
        if match is None:
            raise InvalidInput(
                f"JSONPath {text!r} is not understood at {inner[at:]!r}; expected keys and indices, e.g. {{.status.gates[0].value}}"
            )
        key, index, quoted = match.groups()
        steps.append(quoted or index or re.sub(r"\\(.)", r"\1", key))
        at = match.end()
    return tuple(steps)


def look_up(obj: object, json_path: str) -> tuple[object, ...]:
    """Return the values a path leads to: none, one, or with `*` several; null counts as none."""
    return tuple(value for value in _follow(obj, parse_path(json_path)) if value is not None)


def to_words(values: tuple[object, ...]) -> str:
    """Write values as kubectl does: texts as they are, objects and arrays as JSON, separated by spaces."""
    return " ".join(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)


def _follow(obj: object, steps: tuple[str, ...]) -> Iterator[object]:
    if not steps:
        yield obj
        return
    step, rest = steps[0], steps[1:]
    if isinstance(obj, dict):
        held = cast("dict[str, object]", obj)
        for key in held if step == "*" else (step,):
            yield from _follow(held.get(key), rest)
    elif isinstance(obj, list):
        items = cast("list[object]", obj)
        if step == "*":
            chosen = items
        else:
            number = int(step) if step.lstrip("-").isdecimal() else len(items)
            chosen = [items[number]] if -len(items) <= number < len(items) else []
        for item in chosen:
            yield from _follow(item, rest)
