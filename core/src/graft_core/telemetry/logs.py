"""Logs: one JSON object a line, an event name and fields. No prompt, answer, secret or personal data ever.

    log = get_log(__name__)
    log.info("job_decided", object="ml/rephrase", generation=3, reason="GatesFailed")

The guard is here and not in each caller: fields whose name says that they hold text of users or secrets are redacted, long values are
replaced by their length, and of an exception from outside only its type and the places it passed are written, because its text may
quote what it was working on. Records of other libraries are kept from WARNING on, cut short.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Literal, TextIO, cast

from opentelemetry import trace

from graft_core.errors import GraftError

__all__ = ["JsonFormatter", "Log", "LogFormat", "PlainFormatter", "configure_logs", "get_log"]

LogFormat = Literal["json", "plain"]

MAX_VALUE_CHARS: Final = 256
"""Names, URIs, reasons and digests are shorter; prompts are not."""
MAX_MESSAGE_CHARS: Final = 1024
"""Graft's own messages hold no user text (graft_core.errors), so they may be longer."""
MAX_ITEMS: Final = 16
"""Items of a list that are written."""

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PRIVATE: Final = re.compile(
    r"(?:^|_)(?:prompts?|messages|contents?|completions?|answers?|inputs?|outputs?|texts?|query|question|documents?|records?|rows?"
    r"|secrets?|passwords?|credentials?|api_?key|authorization|cookie|access_token|token_value|email|phone)$",
    re.IGNORECASE,
)
_FIELDS: Final = "graft_fields"

Value = str | int | float | bool | None
Field = Value | list[str] | tuple[str, ...] | Mapping[str, Value]
"""What a field may hold."""


class Log:
    """Writes events under one name."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Field) -> None:
        """Write what only a developer wants."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Field) -> None:
        """Write what happened."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        """Write what somebody should look at some day."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Field) -> None:
        """Write what somebody should look at now."""
        self._write(logging.ERROR, event, fields)

    def failure(self, event: str, error: BaseException, **fields: Field) -> None:
        """Write a failure with the places it passed; the text of errors that are not Graft's own is left out."""
        self._write(logging.ERROR, event, {**fields, **_describe(error)})

    def _write(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        if not _EVENT.fullmatch(event):
            raise ValueError(f"event name {event!r} is not snake_case of at most 64 characters; figures go into fields")
        if self._logger.isEnabledFor(level):
            self._logger.log(
                level, event, extra={_FIELDS: {name: _guard(name, value) for name, value in fields.items()}}
            )


def get_log(name: str) -> Log:
    """Return the log of a module; call it with `__name__`."""
    return Log(name)


def configure_logs(stream: TextIO | None = None, *, level: str = "INFO", log_format: LogFormat = "json") -> None:
    """Set the process's logging up; called once, by an entry point.

    Args:
        stream: Where lines go; standard error by default, so that standard output stays the command's own.
        level: Lowest level of Graft's own events; other libraries start at WARNING.
        log_format: `json`, or `plain` for people at a terminal.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("graft_core", "graft_operator", "graft_predictor", "graft_trainer"):
        logging.getLogger(name).setLevel(level)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with the current trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        return json.dumps(_to_row(record), ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """A record as `time LEVEL event key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        row = _to_row(record)
        at, level, event = str(row.pop("at")), str(row.pop("level")), str(row.pop("event"))
        row.pop("logger")
        fields = " ".join(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in row.items())
        return f"{at[11:19]} {level.upper():7} {event} {fields}".rstrip()


def _to_row(record: logging.LogRecord) -> dict[str, object]:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    row: dict[str, object] = {"at": at, "level": record.levelname.lower(), "logger": record.name}
    fields: object = getattr(record, _FIELDS, None)
    if isinstance(fields, dict):
        row |= {"event": record.msg, **fields}
    else:
        row |= {"event": "library_message", "detail": record.getMessage()[:MAX_VALUE_CHARS]}
        if record.exc_info and record.exc_info[1] is not None:
            row |= _describe(record.exc_info[1])
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        row |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    return row


def _describe(error: BaseException) -> dict[str, object]:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_ITEMS:]
    # File and line without the source text; the folder tells of the machine, the module of the fault.
    places = [f"{'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno} {frame.name}" for frame in frames]
    described: dict[str, object] = {"error": type(error).__name__, "traceback": places}
    if isinstance(error, GraftError):
        described["message"] = str(error)[:MAX_MESSAGE_CHARS]
    elif isinstance(error, OSError) and error.strerror:
        described["message"] = error.strerror
    return described


def _guard(name: str, value: object) -> object:
    if _PRIVATE.search(name) and not isinstance(value, int | float | bool | None):
        return "[redacted]"
    if isinstance(value, str):
        limit = MAX_MESSAGE_CHARS if name == "message" else MAX_VALUE_CHARS
        return value if len(value) <= limit else f"[{len(value)} characters]"
    if isinstance(value, list | tuple):
        return [_guard(name, item) for item in cast("Sequence[object]", value)[:MAX_ITEMS]]
    if isinstance(value, Mapping):
        nested = cast("Mapping[str, object]", value)
        return {key: _guard(key, item) for key, item in islice(nested.items(), MAX_ITEMS)}
    return value
