"""How a request to the object store can be refused, in the words of Kubernetes' metav1.Status."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graft_core.errors import Conflict, GraftError, InvalidInput, NotReady, NotSupported, Unavailable

__all__ = ["AlreadyExists", "Cause", "Expired", "Invalid", "NotFound", "TooLarge", "from_status", "to_status"]


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong with an object."""

    field: str
    """Path such as spec.method.adapter.r."""
    message: str
    """What was found and what was expected."""


class Invalid(InvalidInput):
    """The object breaks its schema or a rule; every fault at once."""

    reason = "Invalid"

    def __init__(self, what: str, causes: Sequence[Cause]) -> None:
        self.causes = tuple(causes)
        told = "; ".join(f"{c.field}: {c.message}" if c.field else c.message for c in self.causes)
        super().__init__(
            f"{what} is invalid: {told}", path=self.causes[0].field if self.causes else "", reason="Invalid"
        )


class TooLarge(InvalidInput):
    """The object is larger than the store takes."""

    reason = "RequestEntityTooLarge"


class NotFound(GraftError):
    """There is no object of that name."""

    reason = "NotFound"


class AlreadyExists(Conflict):
    """There is an object of that name."""

    reason = "AlreadyExists"


class Expired(GraftError):
    """The revision to watch from is too old; list again."""

    reason = "Expired"


_CODES: tuple[tuple[type[GraftError], int], ...] = (
    (Invalid, 422),
    (TooLarge, 413),
    (NotFound, 404),
    (AlreadyExists, 409),
    (Conflict, 409),
    (Expired, 410),
    (NotSupported, 422),
    (InvalidInput, 400),
    (NotReady, 503),
    (Unavailable, 503),
)


def to_status(error: GraftError) -> dict[str, Any]:
    """Translate an error into a metav1.Status with its HTTP code."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
    reason = error.reason
    if isinstance(error, InvalidInput) and not isinstance(error, Invalid | TooLarge):
        reason = "BadRequest" if code == 400 else "Invalid"  # HTTP's own numbers
    causes = error.causes if isinstance(error, Invalid) else ()
    if not causes and isinstance(error, InvalidInput) and error.path:
        causes = (Cause(error.path, str(error)),)
    details = {"causes": [{"reason": "FieldValueInvalid", "field": c.field, "message": c.message} for c in causes]}
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": str(error),
        "details": details if causes else {},
    }


def from_status(status: dict[str, Any]) -> GraftError:
    """Translate a metav1.Status back into the error it was made from."""
    message = str(status.get("message", "the request failed"))
    if status.get("reason") == "Invalid" and (causes := _causes_of(status)):
        return Invalid(message.partition(" is invalid: ")[0], causes)
    kinds: dict[str, type[GraftError]] = {
        "NotFound": NotFound,
        "AlreadyExists": AlreadyExists,
        "Conflict": Conflict,
        "Expired": Expired,
        "NotReady": NotReady,
        "Unavailable": Unavailable,
        "RequestEntityTooLarge": TooLarge,
        "Invalid": InvalidInput,
        "BadRequest": InvalidInput,
    }
    return kinds.get(str(status.get("reason")), GraftError)(message)


def _causes_of(status: dict[str, Any]) -> list[Cause]:
    details: dict[str, Any] = status.get("details") or {}
    causes: list[dict[str, Any]] = details.get("causes") or []
    return [Cause(str(one.get("field", "")), str(one.get("message", ""))) for one in causes]
