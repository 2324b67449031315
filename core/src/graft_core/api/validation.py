"""Objects as users write them, checked as the API server would with our CRDs, every fault at once. Needs the extra `cel`.

    document ─► plain JSON? size? ─► metadata ─► schema (strict: "16" is no number) ─► defaults ─► CEL rules (with oldSelf on a change)

`status` is not looked at: like the API server, the main resource neither takes nor refuses it.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from graft_core.api.crd import KINDS, object_schema
from graft_core.api.defaults import apply_defaults, fill_defaults, prune_nulls
from graft_core.api.fault import Fault, show_value
from graft_core.api.rules import find_rule_faults
from graft_core.api.shapes import is_object, is_sequence
from graft_core.api.structure import find_schema_faults
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import API_VERSION, GROUP
from graft_core.errors import InvalidInput

__all__ = ["apply_defaults", "parse_object", "validate_object"]

MAX_OBJECT_BYTES: Final = 1_572_864
"""etcd's limit for a request (1.5 MiB)."""
MAX_ANNOTATIONS_BYTES: Final = 262_144
"""Kubernetes' limit for all annotations of an object (256 KiB)."""
MAX_DEPTH: Final = 64
"""Deeper nesting than any object has; what is deeper is a bomb."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def validate_object(doc: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> list[Fault]:
    """Find everything that is wrong with an object.

    Args:
        doc: The object, as read from YAML or JSON; not changed.
        old: The object it replaces, for rules about changes; None on creation.

    Returns:
        Faults in the order of the document's parts; empty for an object that may be stored.
    """
    blocking = list(_find_foreign_values(doc, "", 0)) or _find_kind_faults(doc) or _find_size_faults(doc)
    if blocking:
        return blocking
    pruned = prune_nulls(doc)
    found = [*_find_metadata_faults(doc, old), *find_schema_faults(pruned)]
    schema = object_schema(str(doc["kind"]))
    broken = [fault.path for fault in found]
    value = fill_defaults(schema, pruned)
    before = fill_defaults(schema, prune_nulls(old)) if old is not None else None
    spec, old_spec = value.get("spec"), before.get("spec") if before else None
    return [*found, *find_rule_faults(schema["properties"]["spec"], spec, old_spec, "spec", broken)]


def parse_object(doc: Mapping[str, Any]) -> FineTuneJob | ModelRelease:
    """Return the typed object.

    Args:
        doc: The object, as read from YAML or JSON.

    Returns:
        The model of its kind; `status` is kept where the document has one.

    Raises:
        InvalidInput: The object has faults; the message has them all, `path` the first one's.
    """
    faults = validate_object(doc)
    if faults:
        raise InvalidInput("; ".join(map(str, faults)), path=faults[0].path, reason="InvalidSpec")
    model = KINDS[str(doc["kind"])].model
    status = {"status": doc["status"]} if "status" in doc else {}
    return cast("FineTuneJob | ModelRelease", model.model_validate_json(json.dumps({**prune_nulls(doc), **status})))


def _find_foreign_values(value: object, path: str, depth: int) -> Iterator[Fault]:
    """Find what YAML can hold and JSON can't."""
    if depth > MAX_DEPTH:
        yield Fault(path, f"is nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                hint = "YAML reads on, off, yes and no as true and false" if isinstance(key, bool) else "keys are texts"
                yield Fault(path, f"has the key {key!r}; put it in quotes: {hint}")
            else:
                yield from _find_foreign_values(item, f"{path}.{key}" if path else key, depth + 1)
    elif is_sequence(value):
        for i, item in enumerate(value):
            yield from _find_foreign_values(item, f"{path}[{i}]", depth + 1)
    elif trouble := _foreign_scalar(value):
        yield Fault(path, trouble)


def _foreign_scalar(value: object) -> str | None:
    if isinstance(value, str):
        return "holds half of a surrogate pair; write valid Unicode" if _SURROGATE.search(value) else None
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a number; write a decimal number"
    if isinstance(value, int | float | None):
        return None
    return f"is a {type(value).__name__}; write it as text, in quotes"


def _find_kind_faults(doc: Mapping[str, Any]) -> list[Fault]:
    found: list[Fault] = []
    if doc.get("apiVersion") != API_VERSION:
        found.append(
            Fault("apiVersion", f"{show_value('apiVersion', doc.get('apiVersion'))}, expected {API_VERSION!r}")
        )
    if doc.get("kind") not in KINDS:
        found.append(Fault("kind", f"{show_value('kind', doc.get('kind'))}, expected one of {', '.join(KINDS)}"))
    if not is_object(doc.get("metadata")):
        found.append(Fault("metadata", "is missing; an object needs metadata.name"))
    return found


def _find_size_faults(doc: Mapping[str, Any]) -> list[Fault]:
    size = len(json.dumps(doc, ensure_ascii=False).encode(errors="surrogatepass"))
    if size > MAX_OBJECT_BYTES:
        return [
            Fault(
                "",
                f"the object has {size} bytes, at most {MAX_OBJECT_BYTES} fit; data belongs into a file that spec.dataset names",
            )
        ]
    return []


def _find_metadata_faults(doc: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[Fault]:
    metadata = cast("Mapping[str, Any]", doc["metadata"])
    before = cast("Mapping[str, Any]", (old or {}).get("metadata", {}))
    for part in ("labels", "annotations"):
        values, kept = metadata.get(part), before.get(part)
        if not is_object(values):
            continue
        for key, value in values.items():
            own = key.partition("/")[0]
            is_kept = is_object(kept) and kept.get(key) == value
            if (own == GROUP or own.endswith(f".{GROUP}")) and not is_kept:
                yield Fault(
                    f"metadata.{part}.{key}", f"keys with the prefix {GROUP}/ belong to the operator; remove it"
                )
    annotations = metadata.get("annotations")
    if is_object(annotations):
        size = sum(len(str(key).encode()) + len(str(value).encode()) for key, value in annotations.items())
        if size > MAX_ANNOTATIONS_BYTES:
            yield Fault("metadata.annotations", f"have {size} bytes together, at most {MAX_ANNOTATIONS_BYTES} fit")
    owners = metadata.get("ownerReferences")
    if is_sequence(owners) and owners != before.get("ownerReferences"):
        for i, owner in enumerate(owners):
            if is_object(owner) and str(owner.get("apiVersion", "")).partition("/")[0] == GROUP:
                yield Fault(
                    f"metadata.ownerReferences[{i}]", f"owners of the group {GROUP} are set by the operator; remove it"
                )
