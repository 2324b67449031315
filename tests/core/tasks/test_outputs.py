"""Answers read by the output contract: faults name the field and never quote the answer."""

import pytest

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.outputs import (
    Json,
    check_output_schema,
    normalize_label,
    normalize_sql,
    normalize_text,
    parse_json,
    parse_output,
)

SCHEMA: dict[str, object] = {
    "type": "object",
    "required": ["keyword", "is_in_scope"],
    "additionalProperties": False,
    "properties": {
        "keyword": {"type": "string", "minLength": 1},
        "is_in_scope": {"type": "boolean"},
        "color": {"enum": ["red", "blue"]},
        "kind": {"const": "q"},
        "price": {"type": "object", "properties": {"max": {"type": ["integer", "null"]}}},
    },
}
JSON_TASK = TaskSpec(type=TaskType.TEXT_TO_JSON, output_schema=SCHEMA)


def test_an_answer_that_keeps_the_schema_is_ok() -> None:
    parsed = parse_output(JSON_TASK, ' {"keyword": "áo", "is_in_scope": true}\n')
    assert parsed.ok
    assert parsed.value == {"keyword": "áo", "is_in_scope": True}


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["not JSON: Expecting value at line 1 column 1"]),
        ("Sure! {}", ["not JSON: Expecting value at line 1 column 1"]),
        ('{"keyword": NaN}', ["not JSON: NaN is not a JSON number"]),
        ('{"keyword": "a", "keyword": "b"}', ["not JSON: an object has the same key twice"]),
        ("[" * 100_000, ["not JSON: a number is too long or the nesting too deep"]),
        ("9" * 10_000, ["not JSON: a number is too long or the nesting too deep"]),
        ("[]", ['the answer: must be of type "object"']),
        ("{}", ["keyword: is missing", "is_in_scope: is missing"]),
        ('{"keyword": "", "is_in_scope": "hush"}', ["keyword: must keep minLength 1", 'is_in_scope: must be of type "boolean"']),
        ('{"keyword": "k", "is_in_scope": true, "hush": 1}', ["hush: is not a field of the schema"]),
        ('{"keyword": "k", "is_in_scope": true, "color": "hush"}', ['color: must be one of ["red", "blue"]']),
        ('{"keyword": "k", "is_in_scope": true, "kind": "hush"}', ['kind: must be "q"']),
        ('{"keyword": "k", "is_in_scope": true, "price": {"max": 1.5}}', ['price.max: must be of type ["integer", "null"]']),
    ],
)  # fmt: skip
def test_faults_name_the_field_and_the_expectation(text: str, faults: list[str]) -> None:
    parsed = parse_output(JSON_TASK, text)
    assert sorted(parsed.faults) == sorted(faults)
    assert not parsed.ok


def test_faults_are_counted_up_to_a_bound() -> None:
    task = TaskSpec(
        type=TaskType.TEXT_TO_JSON, output_schema={"type": "object", "required": [f"f{i}" for i in range(20)]}
    )
    faults = parse_output(task, "{}").faults
    assert len(faults) == 9
    assert faults[-1] == "and more"


def test_without_a_schema_any_json_is_ok() -> None:
    assert parse_output(TaskSpec(type=TaskType.TEXT_TO_JSON), "[1, 2]").value == [1, 2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Refund", "refund"),
        (' "refund". ', "refund"),
        ("ĐỔI TRẢ", "đổi trả"),
        ("other", None),
        ("", None),
        ("refund now", None),
    ],
)
def test_labels_are_normalised_to_the_tasks_spelling(text: str, value: str | None) -> None:
    task = TaskSpec(type=TaskType.CLASSIFICATION, labels=("refund", "đổi trả"))
    assert parse_output(task, text).value == value
    assert parse_output(task, text).ok == (value is not None)


def test_labels_may_be_open() -> None:
    assert parse_output(TaskSpec(type=TaskType.CLASSIFICATION), " A ").value == "A"


@pytest.mark.parametrize("kind", [TaskType.CHAT, TaskType.RAG_QA, TaskType.TEXT_TO_SQL])
def test_texts_must_not_be_empty(kind: TaskType) -> None:
    assert parse_output(TaskSpec(type=kind), " x ").value == "x"
    assert parse_output(TaskSpec(type=kind), " \n").faults == ("the answer is empty",)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object", "properties": {"a": {"type": "text"}}}, r"outputSchema\.properties\.a\.type: not a JSON Schema"),
        ({"type": "array"}, r"outputSchema\.type: 'array', expected 'object'"),
        ({}, r"outputSchema\.type: None, expected 'object'"),
        ({"type": "object", "properties": {"a": {"$ref": "http://internal/"}}}, r"properties\.a\.\$ref: the keyword '\$ref' is not allowed"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}, r"properties\.a\.pattern: the keyword 'pattern'"),
        ({"type": "object", "allOf": [{"patternProperties": {}}]}, r"allOf\[0\]\.patternProperties"),
        ({"type": "object", "description": "x" * 70_000}, "is over 65536 characters"),
    ],
)  # fmt: skip
def test_a_bad_output_schema_is_refused_by_path(schema: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check_output_schema(schema)


def test_a_property_may_be_named_like_a_keyword() -> None:
    check_output_schema(
        {"type": "object", "properties": {"pattern": {"type": "string"}, "$id": {"enum": [{"$ref": 1}]}}}
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("SELECT  a\nFROM t;", "select a from t"),
        ("select 'A  b' from t", "SELECT 'A  b' FROM t ;"),
    ],
)
def test_equal_statements_normalise_to_one(left: str, right: str) -> None:
    assert normalize_sql(left) == normalize_sql(right)


def test_text_in_quotes_is_kept() -> None:
    assert normalize_sql("select 'A'") != normalize_sql("select 'a'")
    assert normalize_text(" e\u0301  x ") == "é x"
    assert normalize_label(" 'Đúng'. ") == "đúng"


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("null", None), ('"\\ud83d\\ude00"', "😀")])
def test_any_json_value_is_read(text: str, value: Json) -> None:
    assert parse_json(text) == value


def test_non_finite_numbers_are_refused() -> None:
    with pytest.raises(InvalidInput, match="Infinity is not a JSON number"):
        parse_json("-Infinity".replace("-", ""))
