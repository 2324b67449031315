"""Type guards for values that come from JSON and YAML."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard

__all__ = ["is_object", "is_sequence"]


def is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    """Say whether it is a JSON object; JSON has no other keys than texts."""
    return isinstance(value, Mapping)


def is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    """Say whether it is a JSON array."""
    return isinstance(value, list | tuple)
