"""Stored objects as models, also such as another version of Graft has stored."""

import copy
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from graft_core.api.crd import KINDS
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.errors import InvalidInput
from graft_operator.ports import Json

__all__ = ["diff_merge", "read_object"]


def read_object(body: Json) -> tuple[FineTuneJob | ModelRelease, Json]:
    """Read a stored object.

    A newer version may have written status fields that this one does not know (an upgrade that was taken back): they are left out here,
    and stay as they are in the store.

    Args:
        body: As the API server sent it.

    Returns:
        The object, and its status as JSON without what this version does not know.

    Raises:
        InvalidInput: Spec or status make no sense to this version; reason InvalidSpec, with the paths.
    """
    doc = {name: body[name] for name in ("apiVersion", "kind", "metadata", "spec") if name in body}
    status: Json = copy.deepcopy(body.get("status") or {})
    model = KINDS[str(body["kind"])].model
    try:
        return cast("FineTuneJob | ModelRelease", model.model_validate({**doc, "status": status})), status
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
    for fault in faults:
        if fault["type"] == "extra_forbidden" and fault["loc"][0] == "status":
            _leave_out(status, fault["loc"][1:])
    try:
        return cast("FineTuneJob | ModelRelease", model.model_validate({**doc, "status": status})), status
    except ValidationError as error:
        left = error.errors(include_url=False, include_input=False)
        raise InvalidInput("; ".join(map(_told, left[:8])), path=_path(left[0]), reason="InvalidSpec") from error


def diff_merge(old: Json, new: Json) -> Json:
    """Return the JSON merge patch (RFC 7396) that makes the new object of the old one; empty where they are the same."""
    patch: Json = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if name in old and before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            patch[name] = diff_merge(cast("Json", before), cast("Json", value))
        else:
            patch[name] = value
    return patch


def _leave_out(status: Json, loc: tuple[int | str, ...]) -> None:
    place: Any = status
    for part in loc[:-1]:
        place = place[part]
    del place[loc[-1]]


def _told(fault: ErrorDetails) -> str:
    return f"{_path(fault)}: {fault['msg']}"


def _path(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"])
