"""Pydantic's schemas as structural schemas, and what has no equal there."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from graft_core.api.base import Cel, KubeModel
from graft_core.api.schema import structural_schema
from graft_core.errors import InvalidInput


class Inner(KubeModel):
    """An   inner thing."""

    cel = (Cel("self.size > 0", "size must be over 0", ".size"), Cel("true", "never"))

    size: Annotated[int, Field(gt=0, lt=10)] = 3
    """Size."""


class Outer(KubeModel):
    """Outer."""

    kind: Literal["only"]
    """Kind."""
    inner: Inner = Inner()
    """Inner."""
    maybe: Inner | None = None
    """Perhaps."""
    many: Annotated[tuple[Inner, ...], Field(max_length=2)] = ()
    """Many."""
    big: Annotated[int, Field(ge=0)] = 0
    """Big."""


def test_models_are_inlined_with_rules_and_defaults() -> None:
    inner = {
        "type": "object",
        "properties": {
            "size": {
                "description": "Size.",
                "type": "integer",
                "minimum": 0,
                "maximum": 10,
                "exclusiveMinimum": True,
                "exclusiveMaximum": True,
                "format": "int32",
                "default": 3,
            }
        },
        "x-kubernetes-validations": [
            {"rule": "self.size > 0", "message": "size must be over 0", "fieldPath": ".size"},
            {"rule": "true", "message": "never"},
        ],
    }
    assert structural_schema(Outer) == {
        "description": "Outer.",
        "type": "object",
        "properties": {
            "kind": {"description": "Kind.", "type": "string", "enum": ["only"]},
            "inner": {"description": "Inner.", **inner, "default": {"size": 3}},
            "maybe": {"description": "Perhaps.", **inner},
            "many": {
                "description": "Many.",
                "type": "array",
                "maxItems": 2,
                "items": {"description": "An inner thing.", **inner},
                "x-kubernetes-list-type": "atomic",
                "default": [],
            },
            "big": {"description": "Big.", "type": "integer", "minimum": 0, "format": "int64", "default": 0},
        },
        "required": ["kind"],
    }


class WithFloat(BaseModel):
    x: float


class WithUnion(BaseModel):
    x: int | str


class WithTuple(BaseModel):
    x: tuple[int, str]


class WithAnything(BaseModel):
    x: object


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WithFloat, r"WithFloat\.x: floats are not used"),
        (WithUnion, r"WithUnion\.x: anyOf of 2 shapes"),
        (WithTuple, r"WithTuple\.x: prefixItems has no equal"),
        (WithAnything, r"WithAnything\.x: has no type"),
    ],
)
def test_what_kubernetes_refuses_is_refused_by_path(model: type[BaseModel], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        structural_schema(model)
