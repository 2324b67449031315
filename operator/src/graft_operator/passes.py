"""What a pass leaves behind, on a cluster and on one machine alike: a span and a line of the log, where it did something."""

import contextlib
from collections.abc import Sequence

from graft_core.telemetry.logs import get_log
from graft_core.telemetry.tracing import TRACEPARENT, extract_context, get_tracer
from graft_operator.reconcile.decision import FineTuneJobDecision, ModelReleaseDecision

__all__ = ["log_pass", "pass_span"]

_LOG = get_log(__name__)
_TRACER = get_tracer(__name__)


def pass_span(name: str, actions: Sequence[object], traceparent: str = "") -> contextlib.AbstractContextManager[object]:
    """Return a span over the actions of a pass; a pass without any, which is nearly all of them, leaves no trace.

    Args:
        name: The object's.
        actions: What is about to be carried out.
        traceparent: W3C trace context that the pass belongs to; empty: a trace of its own.

    Returns:
        A context manager.
    """
    if not actions:
        return contextlib.nullcontext()
    return _TRACER.start_as_current_span(
        "graft.pass",
        context=extract_context({TRACEPARENT: traceparent}) if traceparent else None,
        attributes={"graft.object": name, "graft.actions": _names(actions)},
    )


def log_pass(name: str, generation: int, decision: FineTuneJobDecision | ModelReleaseDecision) -> None:
    """Log what a pass did; nothing where it did nothing.

    Args:
        name: The object's.
        generation: Of the spec that was decided on.
        decision: What was carried out.
    """
    if decision.actions:
        _LOG.info(
            "pass_applied",
            object=name,
            generation=generation,
            actions=_names(decision.actions),
            phase=str(decision.status.phase),
        )


def _names(actions: Sequence[object]) -> list[str]:
    return [type(action).__name__ for action in actions]
