"""Nulls pruned and defaults filled in, as the API server does between reading an object and checking its rules."""

import copy
from collections.abc import Mapping
from typing import Any, cast

from graft_core.api.crd import object_schema
from graft_core.api.schema import Schema
from graft_core.api.shapes import is_object, is_sequence

__all__ = ["apply_defaults", "fill_defaults", "prune_nulls"]


def apply_defaults(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with the defaults of its spec filled in, as the API server stores it."""
    schema = object_schema(str(doc["kind"]))["properties"]["spec"]
    return {**doc, "spec": fill_defaults(schema, prune_nulls(doc)["spec"])}


def prune_nulls(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object without status, and without nulls in its spec: the API server takes `field: null` for an absent field."""
    rest = {name: part for name, part in doc.items() if name != "status"}
    spec = _without_nulls(object_schema(str(doc["kind"]))["properties"]["spec"], doc.get("spec"))
    return {**rest, "spec": spec} if spec is not None else {name: part for name, part in rest.items() if name != "spec"}


def _without_nulls(schema: Schema, value: object) -> object:
    if "x-kubernetes-preserve-unknown-fields" in schema:
        return value
    if is_object(value):
        fields = cast("dict[str, Schema]", schema.get("properties", {}))
        other = cast("Schema", schema.get("additionalProperties", {}))
        return {name: _without_nulls(fields.get(name, other), item) for name, item in value.items() if item is not None}
    if is_sequence(value):
        return [_without_nulls(cast("Schema", schema.get("items", {})), item) for item in value]
    return value


def fill_defaults(schema: Schema, value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Fill in defaults as the API server does: outer first, an absent field only."""
    if is_object(value):
        result: dict[str, Any] = dict(value)
        for name, field in cast("dict[str, Schema]", schema.get("properties", {})).items():
            if name not in result and "default" in field:
                result[name] = copy.deepcopy(field["default"])
            if name in result:
                result[name] = fill_defaults(field, result[name])
        below = cast("Schema | None", schema.get("additionalProperties"))
        return result if below is None else {name: fill_defaults(below, item) for name, item in result.items()}
    if is_sequence(value) and "items" in schema:
        return [fill_defaults(schema["items"], item) for item in value]
    return value
