"""Reading parts of Kubernetes objects, where any of them may be missing or null."""

from typing import cast

from graft_operator.ports import Json

__all__ = ["find_condition", "number", "part", "parts", "text"]


def part(body: Json | None, *path: str) -> Json:
    """Return the object at a path; empty where there is none."""
    found = body or {}
    for name in path:
        inner: object = found.get(name)
        if not isinstance(inner, dict):
            return {}
        found = cast("Json", inner)
    return found


def parts(body: Json | None, *path: str) -> list[Json]:
    """Return the list of objects at a path; empty where there is none."""
    found: object = part(body, *path[:-1]).get(path[-1])
    items = cast("list[object]", found) if isinstance(found, list) else []
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def text(body: Json | None, *path: str) -> str:
    """Return the string at a path; empty where there is none."""
    found: object = part(body, *path[:-1]).get(path[-1])
    return found if isinstance(found, str) else ""


def number(body: Json | None, *path: str, unset: int = 0) -> int:
    """Return the number at a path."""
    found: object = part(body, *path[:-1]).get(path[-1])
    return found if isinstance(found, int) else unset


def find_condition(body: Json | None, kind: str) -> Json:
    """Return the condition of a type from an object's status; empty where there is none."""
    found = [one for one in parts(body, "status", "conditions") if one.get("type") == kind]
    return found[0] if found else {}
