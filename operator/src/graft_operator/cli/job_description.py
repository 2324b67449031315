"""A FineTuneJob for a person: what it trains, how far it is, what it has proven."""

from datetime import datetime

from graft_operator.cli.blocks import ago, in_bytes, table, values
from graft_operator.cli.durations import to_age
from graft_operator.local.fields import Json, as_list, child, children, number, text

__all__ = ["describe_job"]


def describe_job(obj: Json, now: datetime) -> list[str]:
    """Write the blocks between a job's head and its conditions."""
    spec, status = child(obj, "spec"), child(obj, "status")
    return [
        *values(_facts(spec, status)),
        *_gates(status),
        *_metrics(status),
        *_attempts(status, now),
    ]


def _facts(spec: Json, status: Json) -> list[tuple[str, str]]:
    artifact = child(status, "artifact")
    seconds = number(status, "usage", "trainSeconds")
    return [
        ("Task", text(spec, "task", "type")),
        ("Model", _with(text(spec, "model", "id"), text(spec, "model", "revision")[:12])),
        ("Method", f"{text(spec, 'method', 'objective')}, {text(spec, 'method', 'adapter', 'type', default='lora')}"),
        ("Data", _data(spec)),
        ("Records", _records(status)),
        ("Suspend", "true" if spec.get("suspend") is True else ""),
        ("Progress", _progress(child(status, "progress"))),
        ("Trained for", to_age(seconds) if seconds else ""),
        ("Adapter", text(artifact, "uri")),
        ("Digest", text(artifact, "digest")),
        ("Size", in_bytes(number(artifact, "sizeBytes")) if artifact else ""),
    ]


def _with(word: str, more: str) -> str:
    return f"{word} ({more})" if more else word


def _data(spec: Json) -> str:
    files = [str(one) for one in as_list(child(spec, "dataset").get("train"))]
    return _with(files[0], f"and {len(files) - 1} more" if len(files) > 1 else "") if files else ""


def _records(status: Json) -> str:
    found = child(status, "dataset", "records")
    if not found:
        return ""
    counts = ", ".join(f"{number(found, split)} {split}" for split in ("train", "validation", "test"))
    dropped = child(status, "dataset", "dropped")
    lost = ", ".join(f"{number(dropped, why)} {why}" for why in ("invalid", "duplicate") if number(dropped, why))
    return f"{counts}; left out: {lost}" if lost else counts


def _progress(found: Json) -> str:
    total = number(found, "totalSteps")
    if not total:
        return ""
    step = number(found, "step")
    told = [f"step {step} of {total} ({100 * step // total} %)", f"epoch {text(found, 'epoch', default='0')}"]
    if loss := text(found, "loss"):
        told.append(f"loss {loss}")
    if speed := number(found, "tokensPerSecond"):
        told.append(f"{speed} tokens/s")
    if left := number(found, "etaSeconds"):
        told.append(f"{to_age(left)} left")
    return ", ".join(told)


def _gates(status: Json) -> list[str]:
    rows = [
        (text(one, "result"), text(one, "metric"), text(one, "value", default="-"), text(one, "detail"))
        for one in children(status, "gates")
    ]
    return table("Gates", ("RESULT", "METRIC", "VALUE", "DETAIL"), rows)


def _metrics(status: Json) -> list[str]:
    """Write each metric beside that of every baseline."""
    metrics, baselines = child(status, "metrics"), child(status, "baselines")
    rows = [
        (name, text(metrics, name), *(text(baselines, base, name, default="-") for base in baselines))
        for name in metrics
    ]
    return table("Metrics on the test split", ("METRIC", "ADAPTER", *(base.upper() for base in baselines)), rows)


def _attempts(status: Json, now: datetime) -> list[str]:
    """Write the attempts where there was more than the one that everybody expects."""
    listed = children(status, "attempts")
    rows = [
        (
            str(index),
            ago(text(one, "startedAt"), now),
            str(number(one, "resumedFromStep")),
            text(one, "reason", default="-") or "-",
        )
        for index, one in enumerate(listed, start=1)
    ]
    return table("Attempts", ("NUMBER", "AGE", "FROM STEP", "AFTER"), rows if len(rows) > 1 else [])
