"""`graft describe`: one object for a person, with what it waits for and what happened to it."""

from datetime import datetime

import click

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_core.clock import SystemClock
from graft_operator.cli.blocks import ago, table, values
from graft_operator.cli.completing import complete_objects
from graft_operator.cli.connection import connected
from graft_operator.cli.job_description import describe_job
from graft_operator.cli.release_description import describe_release
from graft_operator.cli.session import Session
from graft_operator.local.fields import Json, child, children, name_of, namespace_of, number, text
from graft_operator.local.resources import parse_targets

__all__ = ["describe"]


@click.command(
    epilog="""\b
Examples:
  graft describe ftj/my-job
  graft describe mr my-release"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME", shell_complete=complete_objects)
@connected
def describe(session: Session, *, what: tuple[str, ...]) -> None:
    """Show one object: what it does, how far it is, its conditions and events. `graft get -o yaml` shows it whole."""
    for index, target in enumerate(parse_targets(what)):
        if index:
            click.echo()
        obj = session.get(target)
        click.echo("\n".join(_lines(obj, session.events(target, obj), SystemClock().now())))


def _lines(obj: Json, events: list[Json], now: datetime) -> list[str]:
    body = describe_job if text(obj, "kind") == KIND_FINETUNEJOB else describe_release
    return [*values(_head(obj, now)), "", *body(obj, now), *_conditions(obj, now), *_events(events, now)]


def _head(obj: Json, now: datetime) -> list[tuple[str, str]]:
    generation, seen = number(obj, "metadata", "generation"), number(obj, "status", "observedGeneration")
    labels = child(obj, "metadata", "labels")
    deleted = text(obj, "metadata", "deletionTimestamp")
    return [
        ("Name", name_of(obj)),
        ("Namespace", namespace_of(obj)),
        ("Kind", text(obj, "kind")),
        ("Labels", ", ".join(f"{key}={value}" for key, value in labels.items())),
        ("Age", ago(text(obj, "metadata", "creationTimestamp"), now)),
        ("Deleting", f"since {ago(deleted, now)}" if deleted else ""),
        ("Phase", text(obj, "status", "phase", default="Pending")),
        ("Note", "" if seen == generation else "the last change of the spec has not been seen yet"),
    ]


def _conditions(obj: Json, now: datetime) -> list[str]:
    rows = [
        (
            text(one, "type"),
            text(one, "status"),
            text(one, "reason"),
            ago(text(one, "lastTransitionTime"), now),
            text(one, "message"),
        )
        for one in children(obj, "status", "conditions")
    ]
    return table("Conditions", ("TYPE", "STATUS", "REASON", "AGE", "MESSAGE"), rows, none="<none>")


def _events(events: list[Json], now: datetime) -> list[str]:
    rows = [
        (
            text(one, "type"),
            text(one, "reason"),
            ago(text(one, "lastTimestamp"), now) + _repeated(one, now),
            text(one, "message"),
        )
        for one in events
    ]
    return table("Events", ("TYPE", "REASON", "AGE", "MESSAGE"), rows, none="<none>")


def _repeated(event: Json, now: datetime) -> str:
    count = number(event, "count")
    return f" (x{count} over {ago(text(event, 'firstTimestamp'), now)})" if count > 1 else ""
