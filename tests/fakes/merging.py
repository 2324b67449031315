"""How a server merges JSON: merge patches (RFC 7396), and fields applied by one manager."""

from collections.abc import Iterator
from typing import Any

from graft_core.errors import InvalidInput
from graft_operator.ports import Json

__all__ = ["Path", "apply_over", "copied", "find_leaves", "merge_patch", "remove_path"]

Path = tuple[str, ...]
"""Names from the top of an object down to a value."""


def copied(value: Any) -> Any:  # any JSON value, and it comes back as what it was
    """Return a JSON value with its own objects and lists; several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {name: copied(part) for name, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list | tuple) else value


def merge_patch(target: object, patch: object) -> Json:
    """Return the target with an RFC 7396 merge patch over it."""
    result: Json = dict(target) if isinstance(target, dict) else {}
    if not isinstance(patch, dict):
        raise InvalidInput(f"a merge patch is an object, got {type(patch).__name__}")
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merge_patch(result.get(name), value)
        else:
            result[name] = copied(value)
    return result


def find_leaves(body: Json, at: Path = ()) -> Iterator[Path]:
    """Yield the paths of all values that are not objects (lists count as one value), and of empty objects."""
    for name, value in body.items():
        if isinstance(value, dict) and value:
            yield from find_leaves(value, (*at, name))
        elif not (at == ("metadata",) and name in {"name", "namespace"}) and (at or name not in {"apiVersion", "kind"}):
            yield (*at, name)


def apply_over(base: Json, wanted: Json) -> Json:
    """Return the base with what is applied over it; lists are replaced whole, but finalizers are a set."""
    result = dict(base)
    for name, value in wanted.items():
        old = result.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            result[name] = apply_over(old, value)
        elif name == "finalizers" and isinstance(old, list):
            result[name] = [*old, *(item for item in value if item not in old)]
        else:
            result[name] = copied(value)
    return result


def remove_path(body: Json, path: Path) -> None:
    """Take the value at a path out, where it is there."""
    *parents, last = path
    place: object = body
    for name in parents:
        place = place.get(name) if isinstance(place, dict) else None
    if isinstance(place, dict):
        place.pop(last, None)
