"""Objects as users write them, checked as the API server would with our CRDs, every fault at once. Needs the extra `cel`.

    document ─► plain JSON? size? ─► metadata ─► schema (strict: "16" is no number) ─► defaults ─► CEL rules (with oldSelf on a change)

`status` is not looked at: like the API server, the main resource neither takes nor refuses it.
"""

import copy
import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from graft_core.api.crd import KINDS, object_schema
from graft_core.api.fault import Fault, show_value
from graft_core.api.rules import find_rule_faults
from graft_core.api.schema import Schema
from graft_core.api.shapes import is_object, is_sequence
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import API_VERSION, GROUP
from graft_core.api.wording import WORDING
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
    kind = str(doc["kind"])
    found = [*_find_metadata_faults(doc, old), *_find_schema_faults(doc)]
    schema = object_schema(kind)
    broken = [fault.path for fault in found]
    value = _with_defaults(schema, {name: part for name, part in doc.items() if name != "status"})
    before = _with_defaults(schema, old) if old is not None else None
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
    return cast("FineTuneJob | ModelRelease", model.model_validate_json(json.dumps(doc)))


def apply_defaults(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with the defaults of its spec filled in, as the API server stores it."""
    return cast("dict[str, Any]", _with_defaults(object_schema(str(doc["kind"])), doc))


def _find_foreign_values(value: object, path: str, depth: int) -> Iterator[Fault]:
    """Find what YAML can hold and JSON can't."""
    if depth > MAX_DEPTH:
        yield Fault(path, f"is nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                yield Fault(path, f"has the key {key!r}; write keys as text, in quotes: {str(key)!r}")
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


def _find_schema_faults(doc: Mapping[str, Any]) -> list[Fault]:
    kind = str(doc["kind"])
    checked = {name: part for name, part in doc.items() if name != "status"}
    try:
        # Strict, and from JSON: texts become enums and lists become tuples, but "16" does not become 16.
        KINDS[kind].model.model_validate_json(json.dumps(checked), strict=True)
    except ValidationError as err:
        errors = cast("list[dict[str, Any]]", err.errors(include_url=False, include_context=False))
        found = [(str(error["type"]), _translate(object_schema(kind), checked, error)) for error in errors]
        paths = [fault.path for _, fault in found]
        # A list whose items are all bad is also told to be too short; the items are what there is to mend.
        return [f for kind, f in found if kind != "too_short" or not any(p.startswith(f"{f.path}[") for p in paths)]
    return []


def _translate(schema: Schema, doc: Mapping[str, Any], error: Mapping[str, Any]) -> Fault:
    loc = cast("tuple[str | int, ...]", error["loc"])
    path = _to_path(loc)
    node, parent = _schema_at(schema, loc), _schema_at(schema, loc[:-1])
    match str(error["type"]):
        case "missing":
            return Fault(path, f"is required{_purpose(node)}")
        case "extra_forbidden":
            return Fault(path, f"unknown field{_suggestion(str(loc[-1]), parent)}")
        case _:
            value = _value_at(doc, loc)
            if path.startswith("metadata"):
                return Fault(path, f"{show_value(path, value)} is not valid: {_expect_name(loc) or error['msg']}")
            expected = _expectation(node, value) or str(error["msg"])
            purpose = _purpose(node) or _purpose(parent)
            return Fault(path, f"{show_value(path, value)} is not valid; expected {expected}{purpose}")


def _to_path(loc: Sequence[str | int]) -> str:
    text = ""
    for part in loc:
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _schema_at(schema: Schema, loc: Sequence[str | int]) -> Schema:
    node = schema
    for part in loc:
        if isinstance(part, int):
            node = cast("Schema", node.get("items", {}))
        elif part != "[key]":
            node = cast("Schema", node.get("properties", {}).get(part) or node.get("additionalProperties") or {})
    return node


def _value_at(doc: object, loc: Sequence[str | int]) -> object:
    value = doc
    for part in loc:
        if part == "[key]":
            continue
        if isinstance(part, int):
            value = value[part] if is_sequence(value) else None
        else:
            value = value.get(part) if is_object(value) else None
    return value


def _expect_name(loc: Sequence[str | int]) -> str | None:
    if loc[-1] == "name":
        return "expected at most 50 of a-z, 0-9 and '-', beginning with a letter; names of child objects add to it, so it has no dots"
    if loc[-1] == "namespace":
        return "expected at most 63 of a-z, 0-9 and '-'"
    return None


def _expectation(node: Schema, value: object) -> str | None:
    """Say what the schema asks for, the part that the value misses first."""
    kind = str(node.get("type", ""))
    if not _has_type(kind, value):
        return {"integer": "a whole number, without quotes", "string": "a text (numbers with a fraction are written in quotes)", "array": "a list", "object": "an object", "boolean": "true or false"}.get(kind)  # fmt: skip
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    if kind == "integer":
        return f"{node.get('minimum', '…')} to {node.get('maximum', '…')}"
    if kind == "string" and isinstance(value, str):
        return _expect_text(node, value)
    size, low, high = ("Items", "items", "items") if kind == "array" else ("Properties", "keys", "keys")
    return f"{node.get(f'min{size}', 0)} to {node.get(f'max{size}', '…')} {low if low == high else high}"


def _has_type(kind: str, value: object) -> bool:
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return is_sequence(value)
        case _:
            return is_object(value)


def _expect_text(node: Schema, value: str) -> str:
    low, high = int(node.get("minLength", 0)), int(node.get("maxLength", len(value)))
    if not low <= len(value) <= high:
        return f"{low} to {high} characters, it has {len(value)}"
    return WORDING.get(str(node.get("pattern")), f"a text that matches {node.get('pattern')}")


def _purpose(node: Schema) -> str:
    text = str(node.get("description", "")).partition(". ")[0].rstrip(".")
    return f" ({text})" if text else ""


def _suggestion(name: str, parent: Schema) -> str:
    known = list(cast("Schema", parent.get("properties", {})))
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; expected one of {', '.join(known)}" if known else "; remove it"


def _with_defaults(schema: Schema, value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Fill in defaults as the API server does: outer first, an absent field only."""
    if is_object(value):
        result: dict[str, Any] = dict(value)
        for name, field in cast("dict[str, Schema]", schema.get("properties", {})).items():
            if name not in result and "default" in field:
                result[name] = copy.deepcopy(field["default"])
            if name in result:
                result[name] = _with_defaults(field, result[name])
        below = cast("Schema | None", schema.get("additionalProperties"))
        return result if below is None else {name: _with_defaults(below, item) for name, item in result.items()}
    if is_sequence(value) and "items" in schema:
        return [_with_defaults(schema["items"], item) for item in value]
    return value
