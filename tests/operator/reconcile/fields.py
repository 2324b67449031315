"""Walking a spec's model: every leaf field by its path, as `graft_operator.reconcile.support` writes paths."""

import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from graft_operator.reconcile.support import KindSupport

__all__ = ["covering", "document", "leaves", "merged"]


def leaves(model: type[BaseModel], path: str = "spec") -> Iterator[str]:
    """Yield the path of every field that holds no further model; a list of models adds `[]`."""
    if not model.model_fields:
        yield path
    for field in model.model_fields.values():
        here = f"{path}.{field.alias}"
        inner, is_list = _model_in(field.annotation)
        if inner is None:
            yield here
        else:
            yield from leaves(inner, here + "[]" if is_list else here)


def covering(support: KindSupport, leaf: str) -> tuple[list[str], list[str]]:
    """List the used and the refused paths that cover a leaf."""
    return [p for p in support.used if _covers(p, leaf)], [p for p in support.refused if _covers(p, leaf)]


def document(path: str, value: Any) -> dict[str, Any]:
    """Build the part of a spec that sets one path; `[]` makes a list of one item."""
    nested = value
    for part in reversed(path.replace("?", "").split(".")[1:]):
        name = part.removesuffix("[]")
        nested = {name: [nested] if part.endswith("[]") else nested}
    assert isinstance(nested, dict)
    return nested


def merged(base: Any, change: Any) -> Any:
    """Merge documents: objects key by key, lists item by item."""
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in change.items()}}
    if isinstance(base, list) and isinstance(change, list) and change and isinstance(change[0], dict):
        return [merged(item, change[0]) for item in base] or change
    return change


def _covers(prefix: str, leaf: str) -> bool:
    plain = prefix.replace("?", "")
    return leaf == plain or leaf.startswith((plain + ".", plain + "[]."))


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Find the model inside `X | None`, `tuple[X, ...]` or an Annotated of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType}:
        return next((found for found in map(_model_in, args) if found[0] is not None), (None, False))
    if origin is tuple and args:
        return _model_in(args[0])[0], True
    if hasattr(annotation, "__metadata__"):
        return _model_in(args[0])
    return None, False
