"""Trace context: in, out, into children; and the SDK only where it was asked for."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace

from graft_core.telemetry.tracing import (
    child_env,
    current_traceparent,
    extract_context,
    get_tracer,
    inject_context,
    setup_tracing,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_callers_context_goes_through() -> None:
    context = extract_context({"traceparent": PARENT, "tracestate": "a=1", "baggage": "user=x"})
    assert inject_context({"x": "y"}, context) == {"x": "y", "traceparent": PARENT, "tracestate": "a=1"}


@pytest.mark.parametrize("parent", ["", "00-0-0-0", "ff" + PARENT[2:], PARENT + "\nx: y", "x" * 100_000])
def test_a_forged_context_is_dropped(parent: str) -> None:
    assert current_traceparent(extract_context({"traceparent": parent})) is None


def test_an_oversize_state_is_dropped_and_the_trace_kept() -> None:
    context = extract_context({"traceparent": PARENT, "tracestate": "a=" + "1" * 600})
    assert inject_context({}, context) == {"traceparent": PARENT}


def test_without_a_span_nothing_is_sent() -> None:
    assert current_traceparent() is None
    assert child_env({"A": "1", "TRACEPARENT": "old", "TRACESTATE": "old"}) == {"A": "1"}


def test_children_get_the_context_in_their_environment() -> None:
    assert child_env({"A": "1"}, PARENT) == {"A": "1", "TRACEPARENT": PARENT}
    span = trace.get_current_span(extract_context({"traceparent": PARENT}))
    with trace.use_span(span), get_tracer(__name__).start_as_current_span("x"):
        assert child_env({})["TRACEPARENT"].startswith(PARENT[:35])


@pytest.mark.parametrize(
    "env", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)
def test_tracing_is_off_unless_asked_for(env: dict[str, str]) -> None:
    before = trace.get_tracer_provider()
    setup_tracing("graft-test", env)()
    assert trace.get_tracer_provider() is before


def test_a_wrong_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"OTEL_TRACES_SAMPLER_ARG is 2\.0"):
        setup_tracing("t", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER_ARG": "2"})


SENDER = """
import sys
from graft_core.telemetry.tracing import get_tracer, setup_tracing
stop = setup_tracing("graft-test", {"OTEL_EXPORTER_OTLP_ENDPOINT": sys.argv[1]})
with get_tracer("t").start_as_current_span("work"):
    pass
stop()
"""


@pytest.mark.slow
def test_spans_reach_an_otlp_endpoint() -> None:
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        """A double of an OTLP/HTTP collector."""

        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    # A process of its own: the provider of a process can be set only once.
    subprocess.run([sys.executable, "-c", SENDER, f"http://127.0.0.1:{server.server_port}"], check=True, timeout=60)
    server.shutdown()
    server.server_close()
    thread.join()
    assert got[0][0] == "/v1/traces"
    assert b"work" in got[0][1]
    assert b"graft-test" in got[0][1]
