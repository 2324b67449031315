"""Structural faults: what the schema refuses, told with the value, what was expected, and what the field is for.

pydantic finds them; its words are for programmers, so they are told anew from the structural schema.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError

from graft_core.api.crd import KINDS, object_schema
from graft_core.api.fault import Fault, show_value
from graft_core.api.schema import Schema
from graft_core.api.shapes import is_object, is_sequence
from graft_core.api.wording import WORDING

__all__ = ["find_schema_faults"]


def find_schema_faults(doc: Mapping[str, Any]) -> list[Fault]:
    """List what the schema refuses in an object without status and nulls."""
    kind = str(doc["kind"])
    try:
        # Strict, and from JSON: texts become enums and lists become tuples, but "16" does not become 16.
        KINDS[kind].model.model_validate_json(json.dumps(doc), strict=True)
    except ValidationError as err:
        errors = cast("list[dict[str, Any]]", err.errors(include_url=False, include_context=False))
        found = [(str(error["type"]), _translate(object_schema(kind), doc, error)) for error in errors]
        paths = [fault.path for _, fault in found]
        # A list whose items are all bad is also told to be too short; the items are what there is to mend.
        return [f for kind, f in found if kind != "too_short" or not any(p.startswith(f"{f.path}[") for p in paths)]
    return []


def _translate(schema: Schema, doc: Mapping[str, Any], error: Mapping[str, Any]) -> Fault:
    loc = cast("tuple[str | int, ...]", error["loc"])
    path = _to_path(loc)
    node, parent = _schema_at(schema, loc), _schema_at(schema, loc[:-1])
    match str(error["type"]):
        case "missing":
            return Fault(path, f"is required{_purpose(node)}")
        case "extra_forbidden":
            return Fault(path, f"unknown field{_suggestion(str(loc[-1]), parent)}")
        case _:
            value = _value_at(doc, loc)
            if path.startswith("metadata"):
                return Fault(path, f"{show_value(path, value)} is not valid: {_expect_name(loc) or error['msg']}")
            expected = _expectation(node, value) or str(error["msg"])
            purpose = _purpose(node) or _purpose(parent)
            return Fault(path, f"{show_value(path, value)} is not valid; expected {expected}{purpose}")


def _to_path(loc: Sequence[str | int]) -> str:
    text = ""
    for part in loc:
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _schema_at(schema: Schema, loc: Sequence[str | int]) -> Schema:
    node = schema
    for part in loc:
        if isinstance(part, int):
            node = cast("Schema", node.get("items", {}))
        elif part != "[key]":
            node = cast("Schema", node.get("properties", {}).get(part) or node.get("additionalProperties") or {})
    return node


def _value_at(doc: object, loc: Sequence[str | int]) -> object:
    value = doc
    for part in loc:
        if part == "[key]":
            continue
        if isinstance(part, int):
            value = value[part] if is_sequence(value) else None
        else:
            value = value.get(part) if is_object(value) else None
    return value


def _expect_name(loc: Sequence[str | int]) -> str | None:
    if loc[-1] == "name":
        return "expected at most 50 of a-z, 0-9 and '-', beginning with a letter; names of child objects add to it, so it has no dots"
    if loc[-1] == "namespace":
        return "expected at most 63 of a-z, 0-9 and '-'"
    return None


def _expectation(node: Schema, value: object) -> str | None:
    """Say what the schema asks for, the part that the value misses first."""
    kind = str(node.get("type", ""))
    if not _has_type(kind, value):
        return {"integer": "a whole number, without quotes", "string": "a text (numbers with a fraction are written in quotes)", "array": "a list", "object": "an object", "boolean": "true or false"}.get(kind)  # fmt: skip
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    if kind == "integer":
        return f"{node.get('minimum', '…')} to {node.get('maximum', '…')}"
    if kind == "string" and isinstance(value, str):
        return _expect_text(node, value)
    size, low, high = ("Items", "items", "items") if kind == "array" else ("Properties", "keys", "keys")
    return f"{node.get(f'min{size}', 0)} to {node.get(f'max{size}', '…')} {low if low == high else high}"


def _has_type(kind: str, value: object) -> bool:
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return is_sequence(value)
        case _:
            return is_object(value)


def _expect_text(node: Schema, value: str) -> str:
    low, high = int(node.get("minLength", 0)), int(node.get("maxLength", len(value)))
    if not low <= len(value) <= high:
        return f"{low} to {high} characters, it has {len(value)}"
    return WORDING.get(str(node.get("pattern")), f"a text that matches {node.get('pattern')}")


def _purpose(node: Schema) -> str:
    text = str(node.get("description", "")).partition(". ")[0].rstrip(".")
    return f" ({text})" if text else ""


def _suggestion(name: str, parent: Schema) -> str:
    known = list(cast("Schema", parent.get("properties", {})))
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; expected one of {', '.join(known)}" if known else "; remove it"
