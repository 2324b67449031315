"""Traces: OpenTelemetry's API everywhere, its SDK only where an entry point turned it on.

Without the extra `otlp` or without an OTLP endpoint, spans are no-ops. Context travels as W3C `traceparent`: in HTTP headers, in
messages between the parts, and as TRACEPARENT into child processes. Baggage is neither read nor sent: it would carry strangers' words
into our logs.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = [
    "TRACEPARENT",
    "child_env",
    "current_traceparent",
    "extract_context",
    "get_tracer",
    "inject_context",
    "setup_tracing",
]

TRACEPARENT: Final = "traceparent"
"""Header name, lower case; the environment variable is its upper case."""
MAX_TRACESTATE_CHARS: Final = 512
"""Longest tracestate that is passed on (W3C Trace Context 3.3.1.5)."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()


def get_tracer(name: str) -> Tracer:
    """Return the tracer of a module; call it with `__name__`."""
    return trace.get_tracer(name)


def extract_context(headers: Mapping[str, str]) -> Context:
    """Read the caller's context from lower-case headers (or a message's fields); a forged or malformed one is dropped."""
    carrier = {TRACEPARENT: headers.get(TRACEPARENT, "")}
    state = headers.get("tracestate", "")
    if state and len(state) <= MAX_TRACESTATE_CHARS:
        carrier["tracestate"] = state
    # A context of its own: what the caller did not send must not come from the task that happens to run.
    return _PROPAGATOR.extract(carrier, context=Context())


def inject_context(headers: Mapping[str, str], context: Context | None = None) -> dict[str, str]:
    """Return the headers with the current (or given) context; unchanged where there is none."""
    carrier = dict(headers)
    _PROPAGATOR.inject(carrier, context=context)
    return carrier


def current_traceparent(context: Context | None = None) -> str | None:
    """Return `traceparent` of the current (or given) context, or None outside of a span."""
    return inject_context({}, context).get(TRACEPARENT)


def child_env(env: Mapping[str, str], traceparent: str | None = None) -> dict[str, str]:
    """Return the environment of a child process: TRACEPARENT is set from the argument or the current span, or removed."""
    name = TRACEPARENT.upper()
    rest = {key: value for key, value in env.items() if key not in {name, "TRACESTATE"}}
    parent = traceparent or current_traceparent()
    return {**rest, name: parent} if parent else rest


def setup_tracing(service: str, env: Mapping[str, str]) -> Callable[[], None]:
    """Send spans to an OTLP endpoint, where one is set and the extra `otlp` is installed; called once, by an entry point.

    Args:
        service: Name of the service in traces, e.g. `graft-predictor`.
        env: OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT turn it on; OTEL_TRACES_SAMPLER_ARG is the share of new
            traces that are kept (default 1; a caller's decision is followed); OTEL_SDK_DISABLED=true turns it off.

    Returns:
        What to call before the process ends: sends what is left, waits at most five seconds. Does nothing where tracing is off.

    Raises:
        ValueError: OTEL_TRACES_SAMPLER_ARG is not a number between 0 and 1.
    """
    endpoint = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if (
        not endpoint
        or env.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or find_spec("opentelemetry.exporter") is None
    ):
        return _do_nothing
    share = float(env.get("OTEL_TRACES_SAMPLER_ARG", "1"))
    if not 0 <= share <= 1:
        raise ValueError(f"OTEL_TRACES_SAMPLER_ARG is {share!r}, expected a share between 0 and 1")
    is_whole_url = bool(env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    return _start_sdk(service, endpoint if is_whole_url else f"{endpoint.rstrip('/')}/v1/traces", share)


def _do_nothing() -> None:
    """Stand in for the shutdown of a tracing that is off."""


def _start_sdk(service: str, url: str, share: float) -> Callable[[], None]:
    # The SDK is an extra, and heavy; a process that does not trace does not pay for it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415

    provider = TracerProvider(
        resource=Resource.create({"service.name": service}),
        sampler=ParentBasedTraceIdRatio(share),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=5)))
    trace.set_tracer_provider(provider)

    def stop() -> None:
        provider.force_flush(5000)
        provider.shutdown()

    return stop
