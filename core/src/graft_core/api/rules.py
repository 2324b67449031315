"""CEL rules evaluated here as the API server evaluates them there. Needs the extra `cel`.

The package `common-expression-language` knows standard CEL; of what Kubernetes adds, the rules may use `isSorted`, which is registered
below. A test runs each rule of both kinds in it, and the CRDs went through apiextensions' own compiler and cost limits.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, cast

import cel

from graft_core.api.fault import Fault
from graft_core.api.schema import Schema
from graft_core.api.shapes import is_object, is_sequence

__all__ = ["find_rule_faults"]


def _is_sorted(values: list[int]) -> bool:
    return values == sorted(values)


_FUNCTIONS: Final = {"isSorted": _is_sorted}
"""Kubernetes' list functions that the rules use."""
_NOTHING: Final[Mapping[str, object]] = {}


@cache
def _compile(rule: str) -> tuple[cel.Program, bool]:
    program = cel.compile(rule)
    return program, "oldSelf" in program.variables()


def find_rule_faults(schema: Schema, value: object, old: object, path: str, broken: Sequence[str]) -> Iterator[Fault]:
    """Evaluate the rules of a schema and of all below it.

    Args:
        schema: Structural schema of the value.
        value: With defaults filled in.
        old: The value it replaces, or None: transition rules run only on a change.
        path: Where the value is.
        broken: Paths of structural faults; a rule over such a part would only repeat them, or fail.

    Yields:
        A fault a broken rule.
    """
    if path in broken:
        return
    if "x-kubernetes-validations" in schema and not any(_is_within(fault, path) for fault in broken):
        yield from _own_faults(schema, value, old, path)
    if is_object(value):
        before: Mapping[str, object] = old if is_object(old) else _NOTHING
        for name, item in value.items():
            below = cast("Schema | None", schema.get("properties", {}).get(name) or schema.get("additionalProperties"))
            if below is not None:
                yield from find_rule_faults(below, item, before.get(name), _join(path, name), broken)
    elif is_sequence(value) and "items" in schema:
        for i, item in enumerate(value):
            # Lists are atomic: an item has no older self.
            yield from find_rule_faults(schema["items"], item, None, f"{path}[{i}]", broken)


def _own_faults(schema: Schema, value: object, old: object, path: str) -> Iterator[Fault]:
    rules = cast("list[Mapping[str, str]]", schema["x-kubernetes-validations"])
    for rule in rules:
        program, is_transition = _compile(rule["rule"])
        if is_transition and old is None:
            continue
        variables: dict[str, object] = {"self": value, "oldSelf": old} if is_transition else {"self": value}
        if program.execute(cel.Context(variables, dict(_FUNCTIONS))) is not True:
            yield Fault(f"{path}{rule.get('fieldPath', '')}".lstrip("."), rule["message"])


def _is_within(fault: str, path: str) -> bool:
    return fault == path or fault.startswith((f"{path}.", f"{path}["))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
