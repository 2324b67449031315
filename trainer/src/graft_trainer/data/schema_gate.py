"""A quick yes for answers that keep the output schema; whatever is not a quick yes goes to jsonschema.

jsonschema takes some fifty microseconds an answer, a minute a million. For the keywords that output schemas are mostly made of,
a few type comparisons prove an answer valid. The proof is one-sided: True means valid, False means "ask jsonschema", which also
finds the words for what is wrong. tests/trainer/data/test_schema_gate.py holds the two against each other.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Final, cast

__all__ = ["compile_exact", "compile_gate"]

_Gate = Callable[[Any], bool]

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_MAX_EITHER: Final = 4
"""Fields of two types that are spelled out as combinations."""
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "$comment", "deprecated"})
_SCALAR: Final = frozenset({"type", "enum"}) | _ANNOTATIONS
_OBJECT: Final = frozenset({"type", "properties", "required", "additionalProperties"}) | _ANNOTATIONS
_ARRAY: Final = frozenset({"type", "items", "minItems", "maxItems"}) | _ANNOTATIONS


def compile_gate(schema: Mapping[str, object]) -> _Gate:
    """Return a function that answers True only for values that keep the schema."""
    kind = schema.get("type")
    if kind == "object" and schema.keys() <= _OBJECT:
        return _object_gate(schema)
    if kind == "array" and schema.keys() <= _ARRAY:
        return _array_gate(schema)
    if isinstance(kind, str) and kind in _TYPES and schema.keys() <= _SCALAR:
        return _scalar_gate(schema, _TYPES[kind])
    return _never


def compile_exact(schema: Mapping[str, object]) -> _Gate | None:
    """Return a faster gate for flat objects without enums: all fields there, in the schema's order, of the right types.

    None where the schema is of another kind. False says nothing.
    """
    properties = schema.get("properties")
    if (
        schema.get("type") != "object"
        or not schema.keys() <= _OBJECT
        or not isinstance(properties, dict)
        or not properties
    ):
        return None
    held = cast("dict[str, object]", properties)
    if not set(cast("list[str]", schema.get("required", []))) <= held.keys():
        return None
    kinds: list[tuple[type, ...]] = []
    for sub in held.values():
        if not isinstance(sub, dict):
            return None
        field = cast("dict[str, object]", sub)
        kind = field.get("type")
        if not isinstance(kind, str) or kind not in _TYPES or not field.keys() <= _SCALAR - {"enum"}:
            return None
        kinds.append(_TYPES[kind])
    if sum(len(types) > 1 for types in kinds) > _MAX_EITHER:
        return None
    names, allowed = tuple(held), frozenset(product(*kinds))
    return lambda value: type(value) is dict and tuple(value) == names and tuple(map(type, value.values())) in allowed


def _never(value: object) -> bool:
    del value
    return False


def _scalar_gate(schema: Mapping[str, object], types: tuple[type, ...]) -> _Gate:
    allowed = schema.get("enum")
    if allowed is None:
        # Exact types: True is no integer in JSON, though it is one in Python.
        return types_gate(types)
    if not isinstance(allowed, list) or not all(type(item) is str for item in cast("list[object]", allowed)):
        return _never
    texts = frozenset(cast("list[str]", allowed))
    return lambda value: type(value) is str and value in texts and str in types


def types_gate(types: tuple[type, ...]) -> _Gate:
    """Return a gate for values of exactly these types."""
    if len(types) == 1:
        only = types[0]
        return lambda value: type(value) is only
    return lambda value: type(value) in types


def _array_gate(schema: Mapping[str, object]) -> _Gate:
    items = schema.get("items", {})
    least, most = schema.get("minItems", 0), schema.get("maxItems", 1 << 62)
    if not isinstance(items, dict) or not isinstance(least, int) or not isinstance(most, int):
        return _never
    gate = compile_gate(cast("dict[str, object]", items))

    def check(value: object) -> bool:
        if type(value) is not list:
            return False
        held = cast("list[object]", value)
        return least <= len(held) <= most and all(map(gate, held))

    return check


def _object_gate(schema: Mapping[str, object]) -> _Gate:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return _never
    gates = {
        name: compile_gate(cast("dict[str, object]", sub)) if isinstance(sub, dict) else _never
        for name, sub in cast("dict[str, object]", properties).items()
    }
    needed = frozenset(cast("list[str]", required))
    is_closed = schema.get("additionalProperties", True) is not True

    def check(value: object) -> bool:
        if type(value) is not dict:
            return False
        held = cast("dict[str, object]", value)
        if not needed <= held.keys():
            return False
        for name, item in held.items():
            gate = gates.get(name)
            if gate is None:
                if is_closed:
                    return False
            elif not gate(item):
                return False
        return True

    return check
