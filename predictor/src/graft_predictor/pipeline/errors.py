"""What can go wrong with one request beside its input."""

from graft_core.errors import GraftError, NotReady

__all__ = ["DeadlineExceeded", "Overloaded"]


class Overloaded(NotReady):
    """As many requests as allowed are being answered."""

    reason = "Overloaded"


class DeadlineExceeded(GraftError):
    """The answer took longer than spec.predictor.timeoutSeconds."""

    reason = "DeadlineExceeded"
