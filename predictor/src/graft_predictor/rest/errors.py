"""Errors as OpenAI's clients expect them: `{"error": {message, type, code, param}}`. The only place that knows status codes."""

from dataclasses import dataclass

import orjson
from starlette.responses import Response

from graft_core.errors import Corrupt, GraftError, InvalidInput, NotReady, NotSupported, Unavailable
from graft_core.telemetry.logs import get_log
from graft_predictor.engines.base import ContextLengthExceeded
from graft_predictor.guards.base import GuardrailBlocked
from graft_predictor.pipeline.errors import DeadlineExceeded, Overloaded
from graft_predictor.pipeline.metrics import RequestOutcome

__all__ = ["BodyTooLarge", "ClientGone", "ErrorReply", "ModelNotFound", "UnknownRoute", "describe"]

_log = get_log(__name__)


class BodyTooLarge(InvalidInput):
    """The body has more bytes than allowed."""

    reason = "BodyTooLarge"


class ModelNotFound(InvalidInput):
    """The request names another model than the one that is served."""

    reason = "ModelNotFound"


class UnknownRoute(InvalidInput):
    """There is nothing at this address, or not for this method."""

    reason = "UnknownRoute"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(GraftError):
    """The client closed the connection before its answer was there."""

    reason = "ClientGone"


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """One error on its way to the client."""

    status: int
    message: str
    type: str
    code: str
    param: str | None = None
    retry_after_s: float | None = None

    @property
    def outcome(self) -> RequestOutcome:
        """How the request is counted. 429 is this arm's fault: a slower candidate must not hide behind it."""
        if self.status == 422:
            return "blocked"
        return "client_error" if self.status < 500 and self.status != 429 else "error"

    def to_bytes(self) -> bytes:
        """Serialize."""
        return orjson.dumps(
            {"error": {"message": self.message, "type": self.type, "code": self.code, "param": self.param}}
        )

    def to_response(self, headers: dict[str, str] | None = None) -> Response:
        """Make the response."""
        extra = dict(headers or {})
        if self.retry_after_s is not None:
            extra["retry-after"] = str(max(1, round(self.retry_after_s)))
        if self.status == 413:
            extra["connection"] = "close"  # the rest of the body is not read
        return Response(self.to_bytes(), self.status, extra, "application/json")


def describe(err: Exception) -> ErrorReply:
    """Translate an error; what is not Graft's own is logged, and told to the client as nothing but internal."""
    match err:
        case BodyTooLarge():
            reply = ErrorReply(413, str(err), "invalid_request_error", "request_too_large", err.path or None)
        case ModelNotFound():
            reply = ErrorReply(404, str(err), "invalid_request_error", "model_not_found", "model")
        case UnknownRoute():
            reply = ErrorReply(err.status, str(err), "invalid_request_error", "unknown_url")
        case ContextLengthExceeded():
            reply = ErrorReply(400, str(err), "invalid_request_error", "context_length_exceeded", err.path or None)
        case NotSupported():
            reply = ErrorReply(400, str(err), "invalid_request_error", "unsupported_parameter", err.path or None)
        case InvalidInput():
            reply = ErrorReply(400, str(err), "invalid_request_error", "invalid_value", err.path or None)
        case GuardrailBlocked():
            reply = ErrorReply(422, str(err), "guardrail", err.verdict.rule)
        case Overloaded():
            reply = ErrorReply(429, str(err), "overloaded_error", "too_many_requests", retry_after_s=err.retry_after_s)
        case NotReady():
            reply = ErrorReply(503, str(err), "not_ready", "model_not_ready", retry_after_s=err.retry_after_s)
        case DeadlineExceeded():
            reply = ErrorReply(504, str(err), "timeout_error", "deadline_exceeded")
        case Unavailable():
            _log.failure("engine_failed", err)
            reply = ErrorReply(502, str(err), "engine_error", "engine_failed")
        case ClientGone():
            reply = ErrorReply(499, "the client closed the connection", "client_error", "client_closed_request")
        case Corrupt():
            reply = ErrorReply(503, str(err), "not_ready", "model_not_ready")
        case _:
            _log.failure("request_failed", err)
            reply = ErrorReply(500, "the server failed on this request; its log has the cause", "server_error", "internal")
    return reply
