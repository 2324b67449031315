"""`KubeModel.replaced` against pydantic's own `model_copy`."""

from typing import Any

import pytest
from pydantic import ValidationError

from graft_core.api.conditions import Condition

OLD = Condition(type="Ready", status="True", reason="Ready", last_transition_time="2026-01-01T00:00:00Z")


def test_it_is_what_model_copy_makes() -> None:
    new, expected = (
        OLD.replaced(status="False", message="m"),
        OLD.model_copy(update={"status": "False", "message": "m"}),
    )
    assert new == expected
    assert hash(new) == hash(expected)
    assert repr(new) == repr(expected)
    assert new.model_fields_set == expected.model_fields_set
    assert new.model_dump_json(by_alias=True) == expected.model_dump_json(by_alias=True)
    assert new.model_dump_json(exclude_unset=True) == expected.model_dump_json(exclude_unset=True)
    assert new.model_copy(update={"message": ""}) == expected.model_copy(update={"message": ""})


def test_the_old_one_stays_and_the_new_one_is_frozen_too() -> None:
    new: Any = OLD.replaced(message="m")
    assert (OLD.message, OLD.model_fields_set) == ("", {"type", "status", "reason", "last_transition_time"})
    with pytest.raises(ValidationError, match="frozen"):
        new.message = "other"
