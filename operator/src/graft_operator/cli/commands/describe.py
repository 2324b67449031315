"""`graft describe`: one object for a person, with what it waits for and what happened to it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from graft_core.clock import SystemClock, from_rfc3339
from graft_operator.cli.durations import to_age
from graft_operator.cli.output import to_text
from graft_operator.cli.resources import parse_targets
from graft_operator.cli.session import Session, connected

__all__ = ["describe"]


@click.command(
    epilog="""\b
Examples:
  graft describe ftj/my-job
  graft describe mr my-release"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME")
@connected
def describe(session: Session, *, what: tuple[str, ...]) -> None:
    """Show one object with its conditions and events."""
    for index, target in enumerate(parse_targets(what)):
        if index:
            click.echo()
        click.echo("\n".join(_lines(session.get(target), session.events(target))))


def _lines(obj: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    now = SystemClock().now()
    meta, status = obj["metadata"], dict(obj.get("status", {}))
    conditions = status.pop("conditions", [])
    lines = [
        f"Name:       {meta['name']}",
        f"Namespace:  {meta['namespace']}",
        f"Kind:       {obj['kind']}",
        f"Generation: {meta['generation']} (status is about {status.pop('observedGeneration', 0)})",
        f"Age:        {to_age((now - from_rfc3339(meta['creationTimestamp'])).total_seconds())}",
        f"Phase:      {status.pop('phase', '-')}",
        "",
        *_table(
            "Conditions:", [_condition(c, now) for c in conditions], ("TYPE", "STATUS", "REASON", "AGE", "MESSAGE")
        ),
    ]
    for title, body in (("Status:", status), ("Spec:", obj["spec"])):
        lines += ["", title, *("  " + line for line in to_text("yaml", [body], single=True).splitlines())]
    rows = [
        (
            e["type"],
            e["reason"],
            to_age((now - from_rfc3339(e["lastTimestamp"])).total_seconds()),
            str(e.get("count", 1)),
            e["message"],
        )
        for e in events
    ]
    return [*lines, "", *_table("Events:", rows, ("TYPE", "REASON", "AGE", "COUNT", "MESSAGE"))]


def _condition(condition: dict[str, Any], now: datetime) -> tuple[str, ...]:
    age = to_age((now - from_rfc3339(condition["lastTransitionTime"])).total_seconds())
    return condition["type"], condition["status"], condition["reason"], age, condition.get("message", "")


def _table(title: str, rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> list[str]:
    if not rows:
        return [f"{title} <none>"]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        title,
        *("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]),
    ]
