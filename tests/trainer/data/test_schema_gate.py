from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from graft_trainer.data.schema_gate import compile_exact, compile_gate

FLAT = {
    "type": "object",
    "required": ["keyword"],
    "properties": {
        "keyword": {"type": "string"},
        "scope": {"type": "boolean"},
        "n": {"type": "integer"},
        "x": {"type": "number"},
    },
}
SCHEMAS: list[dict[str, Any]] = [
    FLAT,
    {**FLAT, "additionalProperties": False},
    {"type": "object", "properties": {"keyword": {"type": "string", "enum": ["a", ""]}, "scope": {"type": "null"}}},
    {
        "type": "object",
        "properties": {"keyword": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}},
    },
    {"type": "object", "properties": {"keyword": FLAT, "n": {"type": "array", "items": FLAT}}},
    {"type": "object", "properties": {"keyword": {"type": "string", "minLength": 3}, "n": {"enum": [1, True, None]}}},
    {"type": "object", "properties": {"keyword": True, "scope": {"type": ["string", "null"]}}, "required": ["missing"]},
    {"type": "object", "additionalProperties": {"type": "string"}},
    {"type": "object"},
]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.sampled_from(["", "a", "abcd"]))
NAMES = st.sampled_from(["keyword", "scope", "n", "x", "other"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=8,
)


@pytest.mark.timeout(20)
@given(schema=st.sampled_from(SCHEMAS), value=st.one_of(VALUES, st.dictionaries(NAMES, SCALARS, max_size=5)))
def test_a_quick_yes_is_never_wrong(schema: dict[str, Any], value: Any) -> None:
    is_valid = Draft202012Validator(schema).is_valid(value)
    assert is_valid or not compile_gate(schema)(value)
    exact = compile_exact(schema)
    assert is_valid or exact is None or not exact(value)


def test_common_answers_get_a_quick_yes() -> None:
    answer = {"keyword": "k", "scope": True, "n": 3, "x": 1.5}
    exact = compile_exact(FLAT)
    assert compile_gate(FLAT)(answer)
    assert exact is not None
    assert exact(answer)
    assert not exact({"scope": True, "keyword": "k", "n": 3, "x": 1})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
        {"type": "object", "properties": {name: {"type": "number"} for name in "abcde"}},
    ],
)
def test_other_schemas_have_no_exact_gate(schema: dict[str, Any]) -> None:
    assert compile_exact(schema) is None
