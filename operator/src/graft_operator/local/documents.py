"""Objects as JSON documents: what they are named by, and what of their metadata is the user's to write."""

from dataclasses import dataclass
from typing import Any, cast

from graft_core.api.v1alpha1.names import PLURALS
from graft_operator.local.faults import Cause, Invalid

__all__ = ["Body", "ObjectKey", "label_of", "meta_of", "strings_of", "to_key", "user_meta"]

Body = dict[str, Any]
"""An object as JSON."""


@dataclass(frozen=True, order=True)
class ObjectKey:
    """Kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{PLURALS[self.kind]}/{self.name}"


def to_key(body: Body) -> ObjectKey:
    """Name the object that a document is about.

    Raises:
        Invalid: The kind is not one of ours, or there is no usable name.
    """
    kind, meta = body.get("kind"), meta_of(body)
    if kind not in PLURALS:
        raise Invalid("the document", [Cause("kind", f"{kind!r} is not known; expected {' or '.join(PLURALS)}")])
    name, namespace = meta.get("name"), meta.get("namespace", "default")
    if not isinstance(name, str) or not isinstance(namespace, str):
        raise Invalid(f"{kind}", [Cause("metadata.name", f"{name!r} is not a name; expected a DNS label")])
    return ObjectKey(str(kind), namespace, name)


def meta_of(body: Body) -> Body:
    """Return the metadata, or an empty map where it is missing or something else."""
    meta = body.get("metadata")
    return cast("Body", meta) if isinstance(meta, dict) else {}


def user_meta(body: Body) -> Body:
    """Keep what is the user's own to write."""
    meta = body["metadata"]
    kept = {"name": meta["name"], "namespace": meta.get("namespace", "default")}
    return kept | {field: meta[field] for field in ("labels", "annotations") if meta.get(field)}


def label_of(body: Body) -> str:
    """Write kind and name, as far as they are there."""
    return f"{body.get('kind', 'object')}/{meta_of(body).get('name', '?')}"


def strings_of(value: object, path: str, key: ObjectKey) -> dict[str, str]:
    """Return labels or annotations; Invalid where they are anything else than a map of strings."""
    if value is None:
        return {}
    held = cast("dict[object, object]", value) if isinstance(value, dict) else None
    if held is None or not all(isinstance(k, str) and isinstance(v, str) for k, v in held.items()):
        raise Invalid(str(key), [Cause(path, "expected a map of strings to strings; quote numbers and true/false")])
    return cast("dict[str, str]", held)
