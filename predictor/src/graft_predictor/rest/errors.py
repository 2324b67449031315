"""Errors as OpenAI's clients expect them: `{"error": {message, type, code, param}}`. The only place that knows status codes."""

from dataclasses import dataclass
from typing import Final

import orjson
from starlette.responses import Response

from graft_core.errors import Corrupt, GraftError, InvalidInput, NotReady, NotSupported, Unavailable
from graft_core.telemetry.logs import get_log
from graft_predictor.engines.base import AnswerTruncated, ContextLengthExceeded, EngineBusy, EngineTimeout
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


@dataclass(frozen=True, slots=True)
class _Row:
    """How one class of errors is told."""

    status: int
    type: str
    code: str


# The first class that fits counts, so a class stands before those it inherits from.
_TABLE: Final[tuple[tuple[type[GraftError], _Row], ...]] = (
    (BodyTooLarge, _Row(413, "invalid_request_error", "request_too_large")),
    (ModelNotFound, _Row(404, "invalid_request_error", "model_not_found")),
    (ContextLengthExceeded, _Row(400, "invalid_request_error", "context_length_exceeded")),
    (NotSupported, _Row(400, "invalid_request_error", "unsupported_parameter")),
    (InvalidInput, _Row(400, "invalid_request_error", "invalid_value")),
    (GuardrailBlocked, _Row(422, "guardrail", "blocked")),
    (Overloaded, _Row(429, "overloaded_error", "too_many_requests")),
    (EngineBusy, _Row(503, "overloaded_error", "engine_overloaded")),
    (NotReady, _Row(503, "not_ready", "model_not_ready")),
    (Corrupt, _Row(503, "not_ready", "model_not_ready")),
    (DeadlineExceeded, _Row(504, "timeout_error", "deadline_exceeded")),
    (ClientGone, _Row(499, "client_error", "client_closed_request")),
    (EngineTimeout, _Row(504, "timeout_error", "engine_timeout")),
    (AnswerTruncated, _Row(502, "engine_error", "answer_truncated")),
    (Unavailable, _Row(502, "engine_error", "engine_failed")),
)


def describe(err: Exception) -> ErrorReply:
    """Translate an error; what is not Graft's own is logged, and told to the client as nothing but internal."""
    if isinstance(err, UnknownRoute):
        return ErrorReply(err.status, str(err), "invalid_request_error", "unknown_url")
    row = next((row for kind, row in _TABLE if isinstance(err, kind)), None)
    if row is None:
        _log.failure("request_failed", err)
        message = "the server failed on this request; its log has the cause"
        return ErrorReply(500, message, "server_error", "internal")
    if isinstance(err, Unavailable):
        _log.failure("engine_failed", err)
    return ErrorReply(
        row.status,
        str(err),
        row.type,
        err.verdict.rule if isinstance(err, GuardrailBlocked) else row.code,
        (err.path or None) if isinstance(err, InvalidInput) else None,
        err.retry_after_s if isinstance(err, NotReady) else None,
    )
