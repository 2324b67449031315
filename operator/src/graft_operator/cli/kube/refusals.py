"""An API server's refusals in the words of the command line: the same errors that a running `graft up` gives, and a few only clusters know."""

import json
import re
from collections.abc import Iterator
from typing import Final

from graft_core.api.v1alpha1.names import API_VERSION
from graft_core.errors import Forbidden, GraftError, Unavailable
from graft_operator.local.faults import Cause, Invalid, NotFound, from_status
from graft_operator.local.fields import Json, as_object, children, text

__all__ = ["Busy", "FieldConflict", "LoggedOut", "NotInstalled", "refusal_of"]

_MANAGER: Final = re.compile(r'conflict with "([^"]*)"')
_TYPED: Final = re.compile(r"(?:^|\s)\.([^\s:]+): ([^\n]+)")
"""What server-side apply says of a field that its schema has not, or that is of another type: `.spec.foo: field not declared in schema`."""
_UNSERVED: Final = "could not find the requested resource"
"""What a server says of a path that none of its definitions serves, where it says more than `404 page not found`."""
_STRICT: Final = re.compile(r'(unknown|duplicate) field "([^"]+)"')


class NotInstalled(GraftError):
    """The cluster does not know Graft's kinds."""

    reason = "NotInstalled"


class Busy(Unavailable):
    """The server is there and asks for patience: it has too much to do, or has just started."""


class LoggedOut(Forbidden):
    """The server does not accept the credentials."""


class FieldConflict(GraftError):
    """Somebody else manages fields that were to be applied with another value."""

    reason = "Conflict"

    def __init__(self, message: str, managers: frozenset[str]) -> None:
        super().__init__(message)
        self.managers = managers


def refusal_of(code: int, body: bytes, where: str) -> GraftError:
    """Translate an answer other than 2xx.

    Args:
        code: HTTP status.
        body: A metav1.Status, as a rule.
        where: The server, for messages.

    Returns:
        The error, to be raised.
    """
    status = _status_of(body)
    message = text(status, "message", default=f"it answered {code} without a word")
    if code == 401:
        return LoggedOut(f"{where} does not accept these credentials: {message}; log in again")
    if code == 403:
        return Forbidden(message)
    if code == 404:
        return _not_found(status, message, where)
    if code == 409 and (conflict := _conflict(status, message)):
        return conflict
    if code in {400, 422, 500} and (causes := list(_causes(status, message, code))):
        return Invalid(text(status, "details", "name", default="the object"), causes)
    if code == 429 or code >= 500:
        return (Busy if code == 429 else Unavailable)(f"{where} answered {code}: {message}; try again")
    return from_status({**status, "message": message})


def _status_of(body: bytes) -> Json:
    try:
        found = as_object(json.loads(body))
    except ValueError:
        return {}
    return found if found.get("kind") == "Status" else {}


def _not_found(status: Json, message: str, where: str) -> GraftError:
    if status and _UNSERVED not in message:
        return NotFound(message)
    return NotInstalled(
        f"{where} does not serve {API_VERSION}: Graft's definitions are not installed there;"
        " install them with the chart (`helm install graft charts/graft`) or `kubectl apply -f manifests/crds`"
    )


def _conflict(status: Json, message: str) -> FieldConflict | None:
    found = [one for one in children(status, "details", "causes") if text(one, "reason") == "FieldManagerConflict"]
    if not found:
        return None
    managers = frozenset(match[1] for one in found if (match := _MANAGER.search(text(one, "message"))))
    fields = "\n".join(f"  {text(one, 'field')}: {text(one, 'message')}" for one in found)
    return FieldConflict(
        f"{message.partition(':')[0]}; others manage these fields:\n{fields}\n"
        "Leave them out of the file, give them the value they have, or take them over with --force-conflicts.",
        managers,
    )


def _causes(status: Json, message: str, code: int) -> Iterator[Cause]:
    """Yield what is wrong, field by field; nothing where the server speaks of something else than the object."""
    listed = children(status, "details", "causes") if code == 422 else []
    if listed:
        told = (Cause(text(one, "field").removeprefix("<nil>"), text(one, "message")) for one in listed)
        yield from dict.fromkeys(told)
    elif code == 422:
        yield Cause("", message)
    elif code == 400:
        yield from (
            Cause(field, f"{kind} field; the cluster's definition has none") for kind, field in _STRICT.findall(message)
        )
    elif "failed to create typed patch object" in message:
        yield from (Cause(field, what.rstrip(",")) for field, what in _TYPED.findall(message.partition("): ")[2]))
