"""Scores of answers and the metrics made from them."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_core.api.v1alpha1.metrics import class_fields, metric_names, per_class_metric_names
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.outputs import Json
from graft_core.tasks.overlap import lcs_length, rouge_l, rouge_n, words_of
from graft_core.tasks.scores import INVALID_CLASS, RecordScore, aggregate, score_output

JSON_TASK = TaskSpec(
    type=TaskType.TEXT_TO_JSON,
    output_schema={
        "type": "object",
        "required": ["keyword", "is_in_scope"],
        "properties": {
            "keyword": {"type": "string"},
            "is_in_scope": {"type": "boolean"},
            "color": {"enum": ["red", "blue", 3]},
        },
    },
)
LABELS = TaskSpec(type=TaskType.CLASSIFICATION, labels=("a", "b", "c"))
EXPECTED: dict[str, Json] = {"keyword": "áo", "is_in_scope": True}


@pytest.mark.parametrize(
    ("answer", "validity", "completeness", "exact", "keyword", "scope", "color"),
    [
        pytest.param('{"keyword": "áo", "is_in_scope": true}', 1, 1, 1, 1, 1, 1, id="right"),
        pytest.param('{"is_in_scope": true, "keyword": " a\u0301o "}', 1, 1, 1, 1, 1, 1, id="equal after NFC and trimming"),
        pytest.param('{"keyword": "áo", "is_in_scope": false}', 1, 1, 0, 1, 0, 1, id="one field wrong"),
        pytest.param('{"keyword": "áo"}', 0, 0.5, 0, 1, 0, 1, id="a field missing"),
        pytest.param('{"keyword": "áo", "is_in_scope": "true"}', 0, 0.5, 0, 1, 0, 1, id="a field of the wrong type"),
        pytest.param('{"keyword": "áo", "is_in_scope": true, "color": "red"}', 1, 1, 0, 1, 1, 0, id="a field too many"),
        pytest.param("áo", 0, 0, 0, 0, 0, 0, id="not JSON"),
        pytest.param("[]", 0, 0, 0, 0, 0, 0, id="not an object"),
    ],
)  # fmt: skip
def test_json_answers_are_scored_by_field(
    answer: str, validity: float, completeness: float, exact: float, keyword: float, scope: float, color: float
) -> None:
    assert score_output(JSON_TASK, EXPECTED, answer).scores == {
        "json_validity": validity,
        "field_completeness": completeness,
        "exact_match": exact,
        "keyword.accuracy": keyword,
        "is_in_scope.accuracy": scope,
        "color.accuracy": color,
    }


def test_expected_json_may_be_text() -> None:
    assert (
        score_output(JSON_TASK, '{"keyword": "áo", "is_in_scope": true}', '{"keyword":"áo","is_in_scope":true}').scores[
            "exact_match"
        ]
        == 1
    )


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [(1, 1.0, 1), (1, True, 0), ([1, [2]], [1, [2.0]], 1), ([1], [1, 2], 0), ({"a": None}, {}, 0)],
)
def test_json_values_compare_as_json(left: Json, right: Json, equal: float) -> None:
    import json

    task = TaskSpec(type=TaskType.TEXT_TO_JSON)
    assert score_output(task, {"v": left}, json.dumps({"v": right})).scores["exact_match"] == equal


def test_classes_are_the_closed_fields_and_strangers_are_invalid() -> None:
    score = score_output(
        JSON_TASK, {**EXPECTED, "color": 3}, '{"keyword": "áo", "is_in_scope": "true", "color": "green"}'
    )
    assert score.classes == {"is_in_scope": ("true", INVALID_CLASS), "color": ("3", INVALID_CLASS)}


def test_metrics_are_means_with_classes_of_their_own() -> None:
    answers = [(True, "true"), (True, "true"), (True, "false"), (False, "false"), (False, "nonsense")]
    records = [
        score_output(JSON_TASK, {"keyword": "k", "is_in_scope": expected}, f'{{"keyword": "k", "is_in_scope": {text}}}')
        for expected, text in answers
    ]
    metrics = aggregate(JSON_TASK, records)
    assert metrics.count == 5
    assert metrics.values["is_in_scope.accuracy"] == pytest.approx(3 / 5)
    assert metrics.values["json_validity"] == pytest.approx(4 / 5)
    assert metrics.per_class["is_in_scope.accuracy"] == {"false": pytest.approx(1 / 2), "true": pytest.approx(2 / 3)}
    assert metrics.confusion["is_in_scope"] == {
        "false": {"false": 1, INVALID_CLASS: 1},
        "true": {"false": 1, "true": 2},
    }
    assert metrics.support["is_in_scope"] == {"false": 2, "true": 3}
    assert set(metrics.values) <= metric_names(JSON_TASK)


def test_classification_agrees_with_figures_worked_by_hand() -> None:
    pairs = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "a"), ("c", "b")]
    metrics = aggregate(LABELS, [score_output(LABELS, e, a, confidence=0.9) for e, a in pairs])
    assert metrics.per_class["precision"] == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3), "c": 0}
    assert metrics.per_class["recall"] == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 2), "c": 0}
    assert metrics.per_class["f1"] == {"a": pytest.approx(2 / 3), "b": pytest.approx(2 / 5), "c": 0}
    assert metrics.per_class["accuracy"] == metrics.per_class["recall"]
    assert metrics.values["accuracy"] == pytest.approx(0.5)
    assert metrics.values["macro_f1"] == pytest.approx((2 / 3 + 2 / 5) / 3)
    assert metrics.values["calibration_error"] == pytest.approx(0.4)
    assert set(metrics.values) == metric_names(LABELS)
    assert set(metrics.per_class) == per_class_metric_names(LABELS)


def test_calibration_needs_every_confidence() -> None:
    records = [score_output(LABELS, "a", "a", confidence=1.0), score_output(LABELS, "a", "a")]
    assert "calibration_error" not in aggregate(LABELS, records).values
    assert aggregate(LABELS, records[:1]).values["calibration_error"] == 0


def test_an_expected_label_outside_the_set_is_the_callers_fault() -> None:
    with pytest.raises(InvalidInput, match="the expected label is not one of the task's"):
        score_output(LABELS, "z", "a")
    with pytest.raises(InvalidInput, match="expected a JSON object"):
        score_output(JSON_TASK, [1], "{}")


def test_no_records_no_metrics() -> None:
    with pytest.raises(InvalidInput, match="no records"):
        aggregate(LABELS, [])


@pytest.mark.parametrize(("expected", "actual", "exact", "one", "two", "longest"), [
    ("con mèo ngồi trên thảm", "con mèo ngồi trên thảm", 1, 1, 1, 1),
    ("the cat sat", "The cat ran.", 0, 2 / 3, 1 / 2, 2 / 3),
    ("a b c d", "d c b a", 0, 1, 0, 1 / 4),
    ("x", "", 0, 0, 1 - 1, 0),
])  # fmt: skip
def test_texts_are_scored_by_overlap(
    expected: str, actual: str, exact: float, one: float, two: float, longest: float
) -> None:
    task = TaskSpec(type=TaskType.CHAT)
    scores = score_output(task, expected, actual).scores
    assert scores["exact_match"] == exact
    assert scores["rouge_1"] == pytest.approx(one)
    assert scores["rouge_l"] == pytest.approx(longest)
    if len(words_of(expected)) > 1:
        assert scores["rouge_2"] == pytest.approx(two)
    assert set(scores) | {"perplexity"} == metric_names(task)


def test_statements_match_after_normalisation() -> None:
    task = TaskSpec(type=TaskType.TEXT_TO_SQL)
    assert score_output(task, "SELECT 1;", "select  1").scores == {"exact_match": 1}
    assert metric_names(task) == {"exact_match", "perplexity"}
    assert per_class_metric_names(task) == frozenset()


def test_two_empty_texts_overlap_wholly() -> None:
    assert rouge_l([], []) == 1
    assert rouge_n([], ["x"], 1) == 0


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_bit_parallel_lcs_equals_the_table(left: list[str], right: list[str]) -> None:
    row = [0] * (len(right) + 1)
    for word in left:
        new = [0]
        for j, other in enumerate(right):
            new.append(row[j] + 1 if word == other else max(row[j + 1], new[j]))
        row = new
    assert lcs_length(left, right) == row[-1]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_metrics_stay_between_0_and_1_and_the_table_holds_every_record(pairs: list[tuple[str, str]]) -> None:
    metrics = aggregate(LABELS, [score_output(LABELS, e, a, confidence=0.5) for e, a in pairs])
    assert all(0 <= value <= 1 for value in metrics.values.values())
    assert sum(sum(row.values()) for row in metrics.confusion["label"].values()) == len(pairs)
    assert metrics.values["accuracy"] == pytest.approx(sum(e == a for e, a in pairs) / len(pairs))


def test_closed_fields_are_booleans_and_enums() -> None:
    assert class_fields(JSON_TASK) == ("is_in_scope", "color")
    assert "keyword.accuracy" in metric_names(JSON_TASK)
    assert per_class_metric_names(JSON_TASK) == {"is_in_scope.accuracy", "color.accuracy"}
    assert class_fields(TaskSpec(type=TaskType.TEXT_TO_JSON, output_schema={"properties": []})) == ()


def test_ten_thousand_records_aggregate_quickly() -> None:
    records = [RecordScore({"accuracy": 1.0}, {"label": pair}, 0.7) for pair in pairwise("abc" * 3334)]
    start = time.perf_counter()
    assert aggregate(LABELS, records).count > 10_000
    assert time.perf_counter() - start < 1
