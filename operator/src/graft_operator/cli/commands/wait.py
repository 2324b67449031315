"""`graft wait`: block until a condition, a field's value, or the end of an object."""

import click

from graft_core.api.v1alpha1.names import GROUP
from graft_core.clock import SystemClock
from graft_core.errors import GraftError
from graft_operator.cli.completing import complete_goals, complete_objects
from graft_operator.cli.connection import connected
from graft_operator.cli.durations import parse_duration_s
from graft_operator.cli.goals import Goal, parse_goal
from graft_operator.cli.session import Session
from graft_operator.cli.watching import TimedOut, follow
from graft_operator.local.faults import NotFound
from graft_operator.local.fields import name_of
from graft_operator.local.resources import Target, parse_targets

__all__ = ["wait", "wait_for"]


@click.command(
    epilog="""\b
Examples:
  graft wait ftj/my-job --for=condition=Complete --timeout=10m
  graft wait mr/my-release --for=jsonpath={.status.phase}=Released
  graft wait ftj/my-job --for=delete"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME", shell_complete=complete_objects)
@click.option(
    "--for",
    "words",
    required=True,
    metavar="GOAL",
    shell_complete=complete_goals,
    help="condition=TYPE[=STATUS], jsonpath={.path}[=VALUE], or delete.",
)
@click.option("--timeout", default="30s", show_default=True, metavar="DURATION", help="How long in all; 0 looks once.")
@connected
def wait(session: Session, *, what: tuple[str, ...], words: str, timeout: str) -> None:
    """Wait for objects. Exit code 1 when the time is over first, or when a job failed that was waited for to complete."""
    deadline = SystemClock().monotonic() + parse_duration_s(timeout)
    goal = parse_goal(words)
    for target in parse_targets(what):
        wait_for(session, target, goal, deadline - SystemClock().monotonic())
        click.echo(f"{target.resource} {'deleted' if goal.kind == 'delete' else 'condition met'}")


def wait_for(session: Session, target: Target, goal: Goal, timeout_s: float) -> None:
    """Block until the goal is met.

    Args:
        session: Where the object is.
        target: Its name.
        goal: What to wait for.
        timeout_s: Seconds; none left: look once.

    Raises:
        NotFound: The object is not there, and its end is not what is waited for.
        TimedOut: The time is over.
        GraftError: It can't be met any more, or the server is lost.
    """
    listing = session.list_objects(target.kind, name=target.name)
    obj = next((one for one in listing.items if name_of(one) == target.name), None)
    if obj is None:
        if goal.kind == "delete":
            return
        raise NotFound(f'{target.kind.plural}.{GROUP} "{target.name}" not found')
    try:
        changes = follow(session, {target.kind: listing}, names={target.kind: target.name}, timeout_s=timeout_s)
        while not goal.is_met(obj):
            if never := goal.why_never(obj):
                raise GraftError(f"{target.label} will not meet {_told(goal)} any more: {never}")
            change = next(one for _, one in changes if name_of(one.object) == target.name)
            if change.type == "DELETED":
                if goal.kind == "delete":
                    return
                raise GraftError(f"{target.label} was deleted while waiting for {_told(goal)}")
            obj = change.object
    except TimedOut as error:
        raise TimedOut(f"timed out waiting for {_told(goal)} on {target.label}") from error


def _told(goal: Goal) -> str:
    value = "" if goal.wanted is None else f"={goal.wanted}"
    return "its end" if goal.kind == "delete" else f"{goal.kind} {goal.subject}{value}"
