"""The table of the gates, row by row."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.api.v1alpha1.training import Gate
from graft_core.errors import InvalidInput
from graft_core.tasks.scores import RecordScore, aggregate, score_output
from graft_trainer.evaluate.bootstrap import lower_bound_of_lead
from graft_trainer.evaluate.gates import check_gates, judge_gates
from graft_trainer.evaluate.measure import Scored, measure
from tests.trainer.tiny import json_task

LABELS = TaskSpec.model_validate({"type": "classification", "labels": ["a", "b"]})


def labelled(right_a: int, wrong_a: int, right_b: int, wrong_b: int) -> Scored:
    pairs = [("a", "a")] * right_a + [("a", "b")] * wrong_a + [("b", "b")] * right_b + [("b", "a")] * wrong_b
    return Scored(tuple(score_output(LABELS, e, a, confidence=0.9) for e, a in pairs), tuple(a for _, a in pairs))


def exact(right: int, wrong: int, nll: float = 1.0) -> Scored:
    records = tuple(RecordScore({"exact_match": float(i < right)}) for i in range(right + wrong))
    return Scored(records, ("",) * len(records), tuple((nll, 1) for _ in records))


def judge(gate: dict[str, Any], tuned: Scored, base: Scored | None = None, task: TaskSpec = LABELS) -> tuple[str, str]:
    (status,) = judge_gates(task, [Gate.model_validate(gate)], tuned, {} if base is None else {"base": base})
    return status.result, status.detail


@pytest.mark.parametrize(
    ("gate", "result", "detail"),
    [
        ({"metric": "accuracy", "min": "0.9"}, "Pass", "held: min 0.9"),
        ({"metric": "accuracy", "min": "0.91"}, "Fail", "broken: min 0.91"),
        ({"metric": "calibration_error", "max": "0.05"}, "Pass", "held: max 0.05"),
        ({"metric": "accuracy", "max": "0.5"}, "Fail", "broken: max 0.5"),
        ({"metric": "accuracy", "min": "0.5", "max": "0.95"}, "Pass", "held: min 0.5; max 0.95"),
        ({"metric": "accuracy", "perClass": True, "min": "0.8"}, "Pass", "class 'b': held: min 0.8"),
        ({"metric": "accuracy", "perClass": True, "min": "0.9"}, "Fail", "class 'b': broken: min 0.9"),
        ({"metric": "rouge_1", "min": "0"}, "InsufficientEvidence", "the metric was not measured"),
    ],
)
def test_bounds_are_inclusive_and_the_worst_class_is_named(gate: dict[str, Any], result: str, detail: str) -> None:
    assert judge(gate, labelled(10, 0, 8, 2)) == (result, detail)


def test_a_share_on_its_bound_passes_though_it_has_no_exact_binary_form() -> None:
    assert judge({"metric": "accuracy", "min": "0.7"}, labelled(7, 3, 0, 0))[0] == "Pass"


@pytest.mark.parametrize(
    ("gate", "scored", "text"),
    [
        ({"metric": "accuracy", "min": "0"}, labelled(9, 0, 0, 0), "9 test records, at least 10 are needed"),
        ({"metric": "accuracy", "perClass": True, "min": "0"}, labelled(20, 0, 4, 0), "class 'b': 4 test records"),
        ({"metric": "accuracy", "perClass": True, "min": "0"}, labelled(20, 0, 0, 0), "class 'b': 0 test records"),
        (
            {"metric": "accuracy", "minDelta": "0", "versus": "base", "confidence": "0.9"},
            labelled(15, 0, 4, 0),
            "confidence needs 20",
        ),
        ({"metric": "accuracy", "minDelta": "0", "versus": "modelRelease"}, labelled(20, 0, 0, 0), "was not scored"),
        ({"metric": "perplexity", "max": "9"}, exact(20, 0, math.nan), "was not measured"),
    ],
)
def test_too_little_evidence_never_passes_and_says_what_is_missing(
    gate: dict[str, Any], scored: Scored, text: str
) -> None:
    result, detail = judge(gate, scored)
    assert (result, text in detail) == ("InsufficientEvidence", True), detail


@pytest.mark.parametrize(
    ("min_delta", "confidence", "result"),
    [("0.1", None, "Pass"), ("0.11", None, "Fail"), ("0.0", "0.95", "Pass"), ("0.09", "0.95", "Fail")],
)
def test_a_lead_must_hold_at_the_confidence_that_was_asked_for(
    min_delta: str, confidence: str | None, result: str
) -> None:
    gate = {"metric": "exact_match", "minDelta": min_delta, "versus": "base"} | (
        {"confidence": confidence} if confidence else {}
    )
    assert judge(gate, exact(90, 10), exact(80, 20), json_task())[0] == result


def test_lower_perplexity_is_a_lead() -> None:
    gate = {"metric": "perplexity", "minDelta": "1", "versus": "base"}
    assert judge(gate, exact(20, 0, 0.5), exact(20, 0, 2.0), json_task())[0] == "Pass"
    assert judge(gate, exact(20, 0, 2.0), exact(20, 0, 0.5), json_task())[0] == "Fail"


@pytest.mark.parametrize(("tuned", "result"), [((20, 0, 20, 0), "Pass"), ((20, 0, 11, 9), "Fail")])
def test_a_lead_can_be_asked_of_every_class_with_confidence(tuned: tuple[int, int, int, int], result: str) -> None:
    gate = {"metric": "f1", "perClass": True, "minDelta": "0.2", "versus": "base", "confidence": "0.9"}
    assert judge(gate, labelled(*tuned), labelled(10, 10, 10, 10))[0] == result


@settings(max_examples=15)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=20, max_size=30))
def test_the_lower_bound_repeats_and_is_not_above_the_measured_lead(leads: list[float]) -> None:
    values = np.array(leads)
    bound = lower_bound_of_lead(len(values), lambda at: float(values[at].mean()), 0.95, resamples=200)
    assert bound == lower_bound_of_lead(len(values), lambda at: float(values[at].mean()), 0.95, resamples=200)
    assert bound <= float(values.mean()) + 1e-9


def test_the_bound_is_near_the_normal_approximation() -> None:
    values = np.array([1.0] * 30 + [0.0] * 60 + [-1.0] * 10)
    bound = lower_bound_of_lead(100, lambda at: float(values[at].mean()), 0.95)
    assert bound == pytest.approx(values.mean() - 1.645 * values.std() / 10, abs=0.02)


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ({"metric": "bleurt", "min": "0"}, "'bleurt' is not a metric of task 'classification'; it has accuracy"),
        ({"metric": "macro_f1", "perClass": True, "min": "0"}, "'macro_f1' has no classes"),
        ({"metric": "f1", "minDelta": "0", "versus": "base"}, "'base' is not scored"),
    ],
)
def test_a_gate_that_could_never_be_judged_is_refused_by_name(gate: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput, match=text) as found:
        check_gates(LABELS, [Gate.model_validate(gate)], has_baseline=False)
    assert found.value.path.startswith("spec.evaluation.gates[0].")


@pytest.mark.parametrize("metric", ["precision", "recall", "f1", "macro_f1"])
def test_figures_from_counts_are_those_of_core(metric: str) -> None:
    scored = labelled(7, 3, 4, 2)
    every = np.arange(len(scored.records))
    whole = aggregate(LABELS, scored.records)
    assert measure(LABELS, scored, metric)(every) == pytest.approx(whole.values[metric])
    for cls, value in whole.per_class.get(metric, {}).items():
        assert measure(LABELS, scored, metric, cls)(every) == pytest.approx(value)
