"""`apply` on an API server: server-side apply as the field manager `graft-cli`, all documents checked before the first is written.

What the verbs (`suspend`, `promote`, `abort`, `rollback`) set is theirs only until the file is applied again: as with `graft up`, a document
that does not name the field sets it back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from graft_core.errors import Forbidden, GraftError
from graft_operator.cli.kube.client import KubeClient, Request
from graft_operator.cli.kube.paths import object_path, resource_of
from graft_operator.cli.kube.refusals import FieldConflict, LoggedOut
from graft_operator.local.faults import Cause, Invalid, NotFound
from graft_operator.local.fields import Json, child, children, name_of, namespace_of, text
from graft_operator.local.resources import KINDS, kind_named

__all__ = ["FIELD_MANAGER", "apply_all"]

FIELD_MANAGER: Final = "graft-cli"
"""Who owns the fields that commands write."""

VERB_FIELDS: Final[Json] = {"suspend": False, "paused": False, "abort": False, "rollbackTo": ""}
"""Fields of the specs that verbs set, with their defaults."""

_SERVER_OWNED: Final = frozenset(
    {"managedFields", "creationTimestamp", "deletionTimestamp", "generation", "selfLink", "uid"}
)
"""Metadata of a file that was read from a server."""


@dataclass(frozen=True)
class _Step:
    """One document on its way."""

    path: str
    body: Json
    old: Json | None
    force: bool

    def told(self, new: Json) -> Json:
        """Say what became of it."""
        is_same = self.old is not None and _own(self.old) == _own(new)
        result = "created" if self.old is None else "unchanged" if is_same else "configured"
        return {"kind": text(new, "kind"), "namespace": namespace_of(new), "name": name_of(new), "result": result}


def apply_all(
    client: KubeClient, namespace: str, documents: Sequence[Json], *, dry_run: bool, force: bool
) -> list[Json]:
    """Apply documents.

    Args:
        client: Where to.
        namespace: Of documents that name none.
        documents: As written.
        dry_run: Have the server check only.
        force: Take over fields that others manage.

    Returns:
        Kind, namespace, name and result of each.

    Raises:
        Invalid: With the faults of all documents; nothing was changed.
        LoggedOut: The server does not accept the credentials.
    """
    causes: list[Cause] = []
    steps: list[_Step] = []
    results: list[Json] = []
    for document in documents:
        placed = {**document, "metadata": {"namespace": namespace, **child(document, "metadata")}}
        try:
            step, would_be = _check(client, placed, force=force)
        except LoggedOut:
            raise
        except (Invalid, NotFound, Forbidden) as error:
            label = f"{text(placed, 'kind')}/{name_of(placed)}"
            causes += _labelled(error, label if len(documents) > 1 else "")
        else:
            steps.append(step)
            results.append(step.told(would_be))
    if causes:
        raise Invalid("the request" if len(documents) > 1 else name_of(documents[0]), causes)
    return results if dry_run else [step.told(_send(client, step, dry_run=False)) for step in steps]


def _check(client: KubeClient, document: Json, *, force: bool) -> tuple[_Step, Json]:
    """Have the server check one document; returns how to apply it, and what it would become."""
    kind = kind_named(text(document, "kind")) or KINDS[0]
    path = object_path(resource_of(kind), namespace_of(document), name_of(document))
    try:
        old = client.call(Request("GET", path))
    except NotFound:
        old = None
    meta = {key: value for key, value in child(document, "metadata").items() if key not in _SERVER_OWNED}
    body = {**document, "metadata": meta}
    if isinstance(body.get("spec"), dict):
        body["spec"] = {**_set_back(old), **child(document, "spec")}
    step = _Step(path, body, old, force)
    try:
        return step, _send(client, step, dry_run=True)
    except FieldConflict as conflict:
        if conflict.managers - {FIELD_MANAGER}:
            raise FieldConflict(f"{kind.kind}/{name_of(document)}: {conflict}", conflict.managers) from conflict
        mine = _Step(path, body, old, force=True)  # only a verb of ours has set them since the file was last applied
        return mine, _send(client, mine, dry_run=True)


def _send(client: KubeClient, step: _Step, *, dry_run: bool) -> Json:
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true" if step.force else "false"}
    if dry_run:
        query["dryRun"] = "All"
    return client.call(Request("PATCH", step.path, query, step.body, "application/apply-patch+yaml"))


def _set_back(old: Json | None) -> Json:
    """Return the defaults of the fields that a verb of ours has set."""
    return {field: VERB_FIELDS[field] for field in _set_by_verbs(old or {})}


def _set_by_verbs(old: Json) -> Iterator[str]:
    for entry in children(old, "metadata", "managedFields"):
        is_ours = text(entry, "manager") == FIELD_MANAGER and text(entry, "operation") == "Update"
        if is_ours and not text(entry, "subresource"):
            held = child(entry, "fieldsV1", "f:spec")
            yield from (field for field in VERB_FIELDS if f"f:{field}" in held)


def _own(obj: Json) -> tuple[object, ...]:
    """Return what a user writes of an object."""
    meta = child(obj, "metadata")
    return obj.get("spec"), child(meta, "labels"), child(meta, "annotations")


def _labelled(error: GraftError, label: str) -> list[Cause]:
    causes = error.causes if isinstance(error, Invalid) else (Cause("", str(error)),)
    return [Cause(f"{label}: {one.field}" if label else one.field, one.message) for one in causes]
