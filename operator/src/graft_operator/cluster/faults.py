"""An API server's refusals as Graft's errors: one class a reaction, the server's own words cut short, nothing of what was sent.

409              Conflict       read again
401, 403         Forbidden      a person must grant it; but an admission webhook's 403 is a refusal, as below: no right would help
429, 5xx, 408    NotReady       after what Retry-After says
410              Expired        a list's continue token, or a watch's version, is too old; a NotReady: begin anew
other 4xx        InvalidInput   with the field the server names; 404 with reason NotFound
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from graft_core.errors import Conflict, Forbidden, GraftError, InvalidInput, NotReady
from graft_operator.ports import Json, Resource
from graft_operator.reconcile.kube.parts import part, parts, text

__all__ = ["Call", "Expired", "to_error", "unreachable"]

MAX_MESSAGE_CHARS: Final = 512
UNKNOWN_FIELD: Final = "field not declared in schema"
"""What a server-side apply with a field that the server does not know is told, under status 500."""
DENIED: Final = re.compile(r"admission webhook .* denied the request")
"""The API server's words around what a webhook says, KServe's among them, which answers 403 to a spec that it does not like."""
DEFAULT_RETRY_S: Final = 0.1
"""Where the server does not say; whoever asks again has a back-off that grows."""
LONGEST_RETRY_S: Final = 300.0
"""A server that asks for more patience is asked again all the same."""


class Expired(NotReady):
    """The server has forgotten the version that was asked for."""

    reason = "Expired"


@dataclass(frozen=True, slots=True)
class Call:
    """Which call it was."""

    verb: str
    """get, list, watch, create, apply, patch or delete."""
    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        what = f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural
        return f"{self.verb} {what} {self.namespace or '*'}/{self.name or '*'}"


def to_error(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> GraftError:
    """Return the error that an answer other than 2xx means.

    Args:
        call: What was asked.
        status: HTTP status.
        headers: Of the answer.
        body: A `Status` object as a rule.

    Returns:
        The error, to be raised.
    """
    told = _parse(body)
    message = f"{call}: {status} {str(told.get('message') or 'no message')[:MAX_MESSAGE_CHARS]}"
    if status == 409:
        return Conflict(message)
    if (status == 403 and DENIED.search(message)) or (status == 500 and UNKNOWN_FIELD in message):
        return InvalidInput(message, reason="Invalid")
    if status in {401, 403}:
        return Forbidden(f"{message}; grant it, or renew the credentials")
    if status == 410:
        return Expired(message, retry_after_s=_retry_after_s(headers, told))
    if status in {408, 429} or status >= 500:
        return NotReady(message, retry_after_s=_retry_after_s(headers, told))
    if status == 404:
        return InvalidInput(message, reason="NotFound")
    causes = parts(told, "details", "causes")
    return InvalidInput(message, path=text(causes[0], "field") if causes else "", reason=_reason(told))


def unreachable(call: Call, error: BaseException) -> NotReady:
    """Return the error for no answer at all; of the cause only its type is told, for its text may quote what was sent."""
    return NotReady(f"{call}: no answer ({type(error).__name__})", retry_after_s=DEFAULT_RETRY_S)


def _parse(body: bytes) -> Json:
    try:
        found: object = json.loads(body)
    except ValueError:
        return {}
    told = cast("Json", found) if isinstance(found, dict) else {}
    return told if told.get("kind") == "Status" else {}


def _reason(told: Json) -> str:
    reason = str(told.get("reason") or "")
    return reason if reason.isalpha() else "InvalidInput"


def _retry_after_s(headers: Mapping[str, str], told: Json) -> float:
    asked = headers.get("Retry-After") or part(told, "details").get("retryAfterSeconds")
    try:
        seconds = float(asked) if asked is not None else DEFAULT_RETRY_S
    except (TypeError, ValueError):
        return DEFAULT_RETRY_S  # a date: servers of Kubernetes send seconds
    return DEFAULT_RETRY_S if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_S)
