"""Pydantic models to structural schemas, as apiextensions.k8s.io/v1 wants them.

What pydantic emits and Kubernetes refuses is rewritten (`$ref`, `anyOf` with null, `const`, exclusive bounds, titles) or, where it has no
equal, refused with its path: floats, `oneOf`, tuples of several types, free maps. Docstrings under fields become descriptions, `cel` of a
model becomes `x-kubernetes-validations`.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast, get_args

from pydantic import BaseModel

from graft_core.api.base import Cel
from graft_core.errors import InvalidInput

__all__ = ["Schema", "structural_schema"]

Schema = dict[str, Any]
"""A structural schema; `Any` because JSON Schema's keywords hold every shape."""

INT32_MAX: Final = 2**31 - 1

_KEPT: Final[tuple[str, ...]] = ("description", "type", "format", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "minProperties", "maxProperties")  # fmt: skip
"""Keywords that mean the same in both worlds, in the order they are written."""
_DROPPED: Final = frozenset(
    {"title", "default", "properties", "required", "items", "additionalProperties", "$defs", "examples"}
)
"""Keywords that are handled apart, or that Kubernetes does without."""


@cache
def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the schema of a model; callers must not change it.

    Args:
        model: A KubeModel, such as a spec or a status.

    Returns:
        Type object, with everything inlined.

    Raises:
        InvalidInput: The model holds what a structural schema can't say; the message has its path.
    """
    source = model.model_json_schema(by_alias=True)
    rules = {found.__name__: found for found in _models_of(model)}
    return _Converter(cast("Schema", source.get("$defs", {})), rules).convert(
        {**source, "x-model": model.__name__}, model.__name__
    )


def _models_of(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Find the models that a model is made of."""
    found: set[type[BaseModel]] = set()
    waiting: list[object] = [model]
    while waiting:
        at = waiting.pop()
        if isinstance(at, type) and issubclass(at, BaseModel):
            if at not in found:
                found.add(at)
                waiting += [field.annotation for field in at.model_fields.values()]
        else:
            waiting += get_args(at)
    return found


class _Converter:
    """Rewrites one model's JSON schema."""

    def __init__(self, definitions: Schema, models: Mapping[str, type[BaseModel]]) -> None:
        self._definitions = definitions
        self._models = models

    def convert(self, source: Schema, path: str) -> Schema:
        """Rewrite one node and what is below it."""
        node = self._inline(source, path)
        if "const" in node:
            node = {**node, "enum": [node["const"]]}
        for bound in ("Minimum", "Maximum"):
            if f"exclusive{bound}" in node:
                node = {**node, bound.lower(): node[f"exclusive{bound}"], f"x-exclusive-{bound.lower()}": True}
        self._refuse(node, path)
        result = {keyword: node[keyword] for keyword in _KEPT if keyword in node}
        if "description" in result:
            result["description"] = " ".join(str(result["description"]).split())
        for bound in ("minimum", "maximum"):
            if node.get(f"x-exclusive-{bound}"):
                result[f"exclusive{bound.capitalize()}"] = True
        self._add_shape(result, node, path)
        if node.get("default") is not None:
            # Whole, though the fields have defaults of their own: the API server checks rules on a default before it fills it in.
            result["default"] = _without_nulls(node["default"])
        return result

    def _inline(self, source: Schema, path: str) -> Schema:
        node = dict(source)
        if "anyOf" in node:
            options = [option for option in node.pop("anyOf") if option != {"type": "null"}]
            if len(options) != 1:
                raise InvalidInput(
                    f"{path}: anyOf of {len(options)} shapes; use optional members and a CEL rule", path=path
                )
            node = {**self._inline(options[0], path), **node}
        if "$ref" in node:
            name = str(node.pop("$ref")).removeprefix("#/$defs/")
            node = {**self._definitions[name], "x-model": name, **node}
        return node

    def _refuse(self, node: Schema, path: str) -> None:
        if node.get("type") == "number":
            raise InvalidInput(f"{path}: floats are not used in the API; use a decimal string", path=path)
        if "type" not in node:
            raise InvalidInput(f"{path}: has no type", path=path)
        known = {*_KEPT, *_DROPPED, "const", "exclusiveMinimum", "exclusiveMaximum"}
        strangers = sorted(keyword for keyword in node if keyword not in known and not keyword.startswith("x-"))
        if strangers:
            raise InvalidInput(f"{path}: {strangers[0]} has no equal in a structural schema", path=path)

    def _add_shape(self, result: Schema, node: Schema, path: str) -> None:
        match node["type"]:
            case "integer":
                result["format"] = "int32" if node.get("maximum", INT32_MAX + 1) <= INT32_MAX else "int64"
            case "array":
                result["items"] = self.convert(node["items"], f"{path}[]")
                is_conditions = path.endswith("Status.conditions")
                result["x-kubernetes-list-type"] = "map" if is_conditions else "atomic"
                if is_conditions:
                    result["x-kubernetes-list-map-keys"] = ["type"]
            case "object":
                self._add_object(result, node, path)
            case _:
                pass

    def _add_object(self, result: Schema, node: Schema, path: str) -> None:
        if "properties" in node or node.get("additionalProperties") is False:
            fields: Schema = node.get("properties", {})
            result["properties"] = {name: self.convert(field, f"{path}.{name}") for name, field in fields.items()}
            if node.get("required"):
                result["required"] = node["required"]
        elif node.get("additionalProperties") is True:
            result["x-kubernetes-preserve-unknown-fields"] = True
        elif isinstance(node.get("additionalProperties"), dict):
            result["additionalProperties"] = self.convert(node["additionalProperties"], f"{path}.*")
            result["x-kubernetes-map-type"] = "atomic"
        else:
            raise InvalidInput(f"{path}: an object without properties", path=path)
        rules = self._rules(str(node.get("x-model", "")))
        if rules:
            result["x-kubernetes-validations"] = rules

    def _rules(self, name: str) -> list[Schema]:
        model = self._models.get(name)
        rules = cast("tuple[Cel, ...]", getattr(model, "cel", ()))
        return [
            {"rule": rule.rule, "message": rule.message, **({"fieldPath": rule.field_path} if rule.field_path else {})}
            for rule in rules
        ]


def _without_nulls(value: object) -> object:
    return json.loads(json.dumps(value), object_hook=lambda found: {k: v for k, v in found.items() if v is not None})
