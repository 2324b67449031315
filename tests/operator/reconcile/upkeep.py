"""What every status must keep, whatever happened."""

from typing import Any

__all__ = ["check_status", "difference"]

MAX_STATUS_BYTES = 32 * 1024


def check_status(status: Any, phase: str) -> None:
    """Invariants 9 and 10."""
    assert len(status.model_dump_json(by_alias=True).encode()) <= MAX_STATUS_BYTES
    assert status.phase == phase
    for condition in status.conditions:
        assert condition.reason
        assert condition.message
        assert condition.observed_generation <= max(1, status.observed_generation)


def difference(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    """Say in which fields two statuses differ."""
    a, b = (model.model_dump(exclude={"conditions"}) for model in (before, after))
    a |= {c.type: (c.status, c.reason, c.message) for c in before.conditions}
    b |= {c.type: (c.status, c.reason, c.message) for c in after.conditions}
    return {name: (a.get(name), b.get(name)) for name in a | b if a.get(name) != b.get(name)}
