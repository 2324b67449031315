"""A ModelRelease for a person: what answers now, what is being tried, what the analysis says, what came before."""

from datetime import datetime

from graft_operator.cli.blocks import ago, short_digest, table, values
from graft_operator.local.fields import Json, child, children, number, text

__all__ = ["describe_release"]

ARMS = (("stable", "promotedAt"), ("candidate", "since"), ("draining", "since"))
"""Parts of the status that are arms, and the field that dates each."""


def describe_release(obj: Json, now: datetime) -> list[str]:
    """Write the blocks between a release's head and its conditions."""
    spec, status = child(obj, "spec"), child(obj, "status")
    return [
        *values(_facts(spec, status)),
        *_arms(status, now),
        *_analysis(status),
        *_history(status, now),
    ]


def _facts(spec: Json, status: Json) -> list[tuple[str, str]]:
    return [
        ("URL", text(status, "url")),
        ("Model", _model(child(spec, "model"))),
        ("Engine", text(spec, "engine", "type")),
        ("Rollout", _rollout(spec, status)),
        ("Paused", "true" if spec.get("paused") is True else ""),
        ("Abort", "true" if spec.get("abort") is True else ""),
        ("Roll back to", text(spec, "rollbackTo")),
    ]


def _model(model: Json) -> str:
    if job := text(model, "fineTuneJobRef", "name"):
        return f"adapter of finetunejob {job}"
    if labels := child(model, "fineTuneJobSelector", "matchLabels"):
        told = ",".join(f"{key}={value}" for key, value in labels.items())
        return f"newest adapter of finetunejobs with {told}"
    if uri := text(model, "adapter", "uri"):
        return f"adapter {uri} ({short_digest(text(model, 'adapter', 'digest'))})"
    return text(model, "base", "id")


def _rollout(spec: Json, status: Json) -> str:
    steps = [f"{number(step, 'weight')} %" for step in children(spec, "rollout", "steps")]
    told = " → ".join([*steps, "100 %"])
    candidate = child(status, "candidate")
    return f"{told}; at step {number(candidate, 'step') + 1} of {len(steps) + 1}" if candidate else told


def _arms(status: Json, now: datetime) -> list[str]:
    rows = [
        (
            role,
            text(status, role, "revision"),
            f"{number(status, role, 'weight')} %",
            ago(text(status, role, dated), now),
            short_digest(text(status, role, "digest")) or "-",
        )
        for role, dated in ARMS
        if child(status, role)
    ]
    return table("Arms", ("ROLE", "REVISION", "TRAFFIC", "SINCE", "ADAPTER"), rows, none="<none>")


def _analysis(status: Json) -> list[str]:
    rows = [
        (
            "watch" if number(one, "step") < 0 else str(number(one, "step") + 1),
            text(one, "metric"),
            text(one, "stable", default="-") or "-",
            text(one, "candidate", default="-") or "-",
            str(number(one, "samples")),
            text(one, "verdict"),
            text(one, "detail"),
        )
        for one in children(status, "analysis")
    ]
    return table("Analysis", ("STEP", "METRIC", "STABLE", "CANDIDATE", "SAMPLES", "VERDICT", "DETAIL"), rows)


def _history(status: Json, now: datetime) -> list[str]:
    rows = [
        (
            text(one, "revision"),
            text(one, "outcome"),
            ago(text(one, "at"), now),
            text(one, "reason", default="-") or "-",
            text(one, "message"),
        )
        for one in children(status, "history")
    ]
    return table("History", ("REVISION", "OUTCOME", "AGE", "REASON", "MESSAGE"), rows)
