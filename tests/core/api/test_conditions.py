"""Conditions: the transition time moves only where the status does."""

from datetime import UTC, datetime

from graft_core.api.conditions import find_condition, is_condition, set_condition

T0 = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
T1 = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)


def test_conditions_keep_their_order_and_time() -> None:
    first = set_condition((), "Accepted", "True", "Valid", "ok", generation=1, now=T0)
    second = set_condition(first, "Trained", "Unknown", "Running", "", generation=1, now=T0)
    same = set_condition(second, "Accepted", "True", "Valid", "still", generation=2, now=T1)
    assert [c.type for c in same] == ["Accepted", "Trained"]
    assert same[0].last_transition_time == "2026-01-31T09:00:00.000000Z"
    assert (same[0].message, same[0].observed_generation) == ("still", 2)
    assert same[1] is second[1]


def test_a_change_of_status_moves_the_time() -> None:
    first = set_condition((), "Accepted", "True", "Valid", "ok", generation=1, now=T0)
    changed = set_condition(first, "Accepted", "False", "NotSupported", "x" * 2000, generation=2, now=T1)
    assert changed[0].last_transition_time == "2026-01-31T10:00:00.000000Z"
    assert len(changed[0].message) == 1024


def test_conditions_are_found_by_type() -> None:
    found = set_condition((), "Accepted", "True", "Valid", "ok", generation=1, now=T0)
    assert is_condition(found, "Accepted")
    assert not is_condition(found, "Accepted", "False")
    assert not is_condition(found, "Ready")
    assert find_condition(found, "Ready") is None
