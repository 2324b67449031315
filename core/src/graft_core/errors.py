"""The error tree of Graft: one class per *reaction*, not per place.

    GraftError
    ├── InvalidInput      the caller must change something; never retried
    │   └── NotSupported  a field or value this version does not build yet
    ├── NotReady          try again after `retry_after_s`
    ├── Conflict          somebody else owns or changed the thing; read again
    ├── Corrupt           stored data contradicts itself; a person must look
    └── Unavailable       a dependency is out of reach; retried with back-off
        └── Forbidden     we lack a right or our credentials are refused; a person must grant it, so the back-off is long

Messages name what failed, the value, what was expected and what to do. They never hold secrets, prompts or personal data.
Translation to HTTP, exit codes and conditions happens once, at each edge.
"""

__all__ = ["Conflict", "Corrupt", "Forbidden", "GraftError", "InvalidInput", "NotReady", "NotSupported", "Unavailable"]


class GraftError(Exception):
    """Base of all errors that Graft raises on purpose."""

    reason: str = "Error"
    """CamelCase reason, as conditions and reports show it."""


class InvalidInput(GraftError):
    """The caller must change the input; `path` names the field or line."""

    reason = "InvalidInput"

    def __init__(self, message: str, *, path: str = "", reason: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        if reason is not None:
            self.reason = reason


class NotSupported(InvalidInput):
    """A field or value that this version does not build yet."""

    reason = "NotSupported"


class NotReady(GraftError):
    """The thing will be there later."""

    reason = "NotReady"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Conflict(GraftError):
    """The stored version is not the one the decision was made on, or the name is taken."""

    reason = "Conflict"


class Corrupt(GraftError):
    """Stored data contradicts itself or its digest."""

    reason = "Corrupt"


class Unavailable(GraftError):
    """A dependency did not answer or answered with a transient failure."""

    reason = "Unavailable"


class Forbidden(Unavailable):
    """A dependency refuses us: a right or valid credentials are missing."""

    reason = "Forbidden"
