"""API objects as the JSON they are, read with types: what is missing or of another shape reads as empty.

The command line shows objects of any age and of a newer server too, so it reads fields one by one and never parses a whole object.
"""

from typing import cast

__all__ = [
    "Json",
    "as_list",
    "as_object",
    "as_objects",
    "child",
    "children",
    "name_of",
    "namespace_of",
    "number",
    "text",
]

Json = dict[str, object]
"""A JSON object."""


def as_object(value: object) -> Json:
    """Return the value where it is a JSON object, else an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Return the value where it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list | tuple) else []


def as_objects(value: object) -> list[Json]:
    """Return the objects of a JSON array; anything else is left out."""
    return [cast("Json", item) for item in as_list(value) if isinstance(item, dict)]


def child(obj: Json, *keys: str) -> Json:
    """Follow keys to an object, which is the one held, not a copy."""
    for key in keys:
        obj = as_object(obj.get(key))
    return obj


def children(obj: Json, *keys: str) -> list[Json]:
    """Follow keys to an array of objects."""
    return as_objects(child(obj, *keys[:-1]).get(keys[-1]))


def text(obj: Json, *keys: str, default: str = "") -> str:
    """Follow keys to a value and write it; the default stands for null and for what is not there."""
    value = child(obj, *keys[:-1]).get(keys[-1])
    return default if value is None else str(value)


def number(obj: Json, *keys: str) -> int:
    """Follow keys to a whole number, or 0."""
    value = child(obj, *keys[:-1]).get(keys[-1])
    return value if isinstance(value, int) else 0


def name_of(obj: Json) -> str:
    """Return metadata.name."""
    return text(obj, "metadata", "name")


def namespace_of(obj: Json) -> str:
    """Return metadata.namespace."""
    return text(obj, "metadata", "namespace", default="default")
