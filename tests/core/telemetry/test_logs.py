"""Logs: one line of JSON an event, and nothing in it that belongs to a user."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from graft_core.errors import InvalidInput
from graft_core.telemetry.logs import configure_logs, get_log

LOG = get_log("graft_core.test")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logs(stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def row(out: io.StringIO) -> dict[str, object]:
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_an_event_is_one_line_with_its_fields(out: io.StringIO) -> None:
    LOG.info("job_decided", object="ml/rephrase", generation=3, ok=True, reasons=["A", "B"])
    found = row(out)
    assert str(found.pop("at")).endswith("Z")
    assert found == {
        "level": "info",
        "logger": "graft_core.test",
        "event": "job_decided",
        "object": "ml/rephrase",
        "generation": 3,
        "ok": True,
        "reasons": ["A", "B"],
    }


@pytest.mark.parametrize(
    "name",
    ["prompt", "messages", "user_text", "answer", "api_key", "Authorization", "hub_secret", "model_output", "email"],
)
def test_private_fields_are_redacted(out: io.StringIO, name: str) -> None:
    LOG.warning("x", **{name: "chuyện riêng"}, nested={name: "chuyện riêng"}, kept=["kept"])
    assert "riêng" not in out.getvalue()
    assert row(out)[name] == "[redacted]"


def test_figures_about_private_things_are_kept(out: io.StringIO) -> None:
    LOG.info("x", output=3, prompt_tokens=12, context="ok")
    assert row(out)["prompt_tokens"] == 12
    assert row(out)["output"] == 3


def test_long_values_become_their_length(out: io.StringIO) -> None:
    LOG.error("x", detail="a" * 300, message="m" * 300, names=["n"] * 40)
    found = row(out)
    assert found["detail"] == "[300 characters]"
    assert found["message"] == "m" * 300
    assert len(str(found["names"]).split(",")) == 16


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidInput("rank 0 is not in 1..256"), "rank 0 is not in 1..256"),
        (ValueError("could not parse 'chuyện riêng'"), None),
        (OSError(28, "No space left on device", "/srv/somebody"), "No space left on device"),
    ],
)
def test_exceptions_tell_type_and_places_but_not_strangers_words(
    out: io.StringIO, error: Exception, message: str | None
) -> None:
    try:
        fail(error)
    except Exception as err:  # noqa: BLE001  # as a process edge does
        LOG.failure("pass_failed", err, object="ml/a")
    found = row(out)
    assert found["error"] == type(error).__name__
    assert found.get("message") == message
    assert "test_logs.py" in str(found["traceback"])
    assert "riêng" not in out.getvalue()
    assert "somebody" not in out.getvalue()


def test_other_libraries_are_kept_from_warning_on_and_cut(out: io.StringIO) -> None:
    logging.getLogger("httpx").info("hidden")
    try:
        fail(ValueError("riêng"))
    except ValueError:
        logging.getLogger("httpx").exception("y" * 900)
    found = row(out)
    assert found["event"] == "library_message"
    assert found["error"] == "ValueError"
    assert len(str(found["detail"])) == 256


def test_an_event_name_holds_no_figures(out: io.StringIO) -> None:
    with pytest.raises(ValueError, match="not snake_case"):
        LOG.info("Job 3 done")


def test_debug_is_off_by_default(out: io.StringIO) -> None:
    LOG.debug("x")
    assert out.getvalue() == ""


def test_plain_lines_are_for_people(out: io.StringIO) -> None:
    configure_logs(out, log_format="plain")
    LOG.info("step_done", step=3, name="a b")
    assert out.getvalue().split(" ", 1)[1] == 'INFO    step_done step=3 name="a b"\n'


def test_the_current_trace_is_written(out: io.StringIO) -> None:
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        LOG.info("x")
    assert row(out)["trace_id"] == f"{0xABC:032x}"
    assert row(out)["span_id"] == f"{0xDEF:016x}"
