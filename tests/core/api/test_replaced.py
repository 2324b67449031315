"""Models that are made without validation, against pydantic's own."""

from typing import Any

import pytest
from pydantic import ValidationError

from graft_core.api.base import unchecked
from graft_core.api.conditions import Condition, make_condition
from graft_core.api.v1alpha1.modelrelease import ArmStatus, DrainingStatus

OLD = Condition(type="Ready", status="True", reason="Ready", last_transition_time="2026-01-01T00:00:00Z")


def test_a_copy_is_what_model_copy_makes() -> None:
    new, expected = (
        OLD.replaced(status="False", message="m"),
        OLD.model_copy(update={"status": "False", "message": "m"}),
    )
    assert new == expected
    assert hash(new) == hash(expected)
    assert repr(new) == repr(expected)
    assert new.model_dump_json(by_alias=True) == expected.model_dump_json(by_alias=True)
    assert new.model_copy(update={"message": ""}) == expected.model_copy(update={"message": ""})
    assert new.model_fields_set == set(Condition.model_fields)


def test_the_old_one_stays_and_the_new_one_is_frozen_too() -> None:
    new: Any = OLD.replaced(message="m")
    assert (OLD.message, OLD.model_fields_set) == ("", {"type", "status", "reason", "last_transition_time"})
    with pytest.raises(ValidationError, match="frozen"):
        new.message = "other"


def test_what_is_made_unchecked_is_what_a_call_makes() -> None:
    made, called = (make(revision="b" * 10, weight=7) for make in (unchecked(ArmStatus), ArmStatus))
    assert made == called
    assert hash(made) == hash(called)
    assert repr(made) == repr(called)
    assert made.model_dump_json(by_alias=True) == called.model_dump_json(by_alias=True)
    made.model_copy(update={"weight": 8})
    assert made == called


def test_a_condition_that_is_made_is_what_a_call_makes() -> None:
    made = make_condition("Ready", "True", "Ready", "m", 3, "2026-01-01T00:00:00Z")
    called = OLD.model_copy(update={"message": "m", "observed_generation": 3})
    assert made == called
    assert repr(made) == repr(called)
    assert Condition.model_validate_json(made.model_dump_json(by_alias=True)) == made


def test_models_are_equal_by_kind_and_fields() -> None:
    arm = ArmStatus(revision="b" * 10)
    assert arm == ArmStatus(revision="b" * 10, weight=0)
    assert arm != ArmStatus(revision="b" * 10, weight=1)
    assert arm != DrainingStatus(revision="b" * 10)
    assert arm != "b" * 10
    assert hash(arm) == hash(ArmStatus(revision="b" * 10, weight=0))
