"""`graft wait`: block until a condition, a field's value, or the end of an object."""

import threading
from typing import Any

import click

from graft_core.errors import GraftError, InvalidInput
from graft_operator.cli.durations import parse_duration_s
from graft_operator.cli.resources import Target, parse_targets
from graft_operator.cli.session import Session, connected
from graft_operator.cli.tables import look_up

__all__ = ["check_goal", "is_met", "wait", "wait_for"]


@click.command(
    epilog="""\b
Examples:
  graft wait ftj/my-job --for=condition=Complete --timeout=10m
  graft wait mr/my-release --for=jsonpath={.status.phase}=Released
  graft wait ftj/my-job --for=delete"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME")
@click.option(
    "--for", "goal", required=True, metavar="GOAL", help="condition=TYPE[=STATUS], jsonpath={.path}=VALUE, or delete."
)
@click.option(
    "--timeout", default="30s", show_default=True, metavar="DURATION", help="How long for each object; 0 looks once."
)
@connected
def wait(session: Session, *, what: tuple[str, ...], goal: str, timeout: str) -> None:
    """Wait for objects. Exit code 1 when the time is over first, or when a job failed that was waited for to complete."""
    timeout_s = parse_duration_s(timeout)
    check_goal(goal)
    for target in parse_targets(what):
        wait_for(session, target, goal, timeout_s)
        click.echo(f"{target.label} {'deleted' if goal == 'delete' else 'condition met'}")


def check_goal(goal: str) -> None:
    """Refuse a goal that can never be met because it is not one."""
    kind, _, rest = goal.partition("=")
    good = (
        (goal == "delete") or (kind == "condition" and rest) or (kind == "jsonpath" and "=" in rest.partition("}")[2])
    )
    if not good:
        raise InvalidInput(
            f"--for={goal!r} is not understood; expected condition=TYPE[=STATUS], jsonpath={{.path}}=VALUE or delete"
        )


def is_met(goal: str, obj: dict[str, Any]) -> bool:
    """Say whether an object that is there meets the goal."""
    kind, _, rest = goal.partition("=")
    if kind == "condition":
        name, _, status = rest.partition("=")
        conditions = obj.get("status", {}).get("conditions", [])
        return any(
            c["type"].lower() == name.lower() and c["status"].lower() == (status or "true").lower() for c in conditions
        )
    if kind == "jsonpath":
        path, _, wanted = rest.partition("}")
        found = look_up(obj, path)
        return found is not None and str(found) == wanted.removeprefix("=").strip("'\"")
    return False


def wait_for(session: Session, target: Target, goal: str, timeout_s: float) -> None:
    """Block until the goal is met; a GraftError says that the time is over, that it can't be met any more, or that `graft up` went away."""
    listed = session.list_objects(target.kind)
    obj = next((o for o in listed["items"] if o["metadata"]["name"] == target.name), None)
    if obj is None and goal == "delete":
        return
    if obj is None:
        raise InvalidInput(f"{target.label} not found")
    if _is_settled(goal, obj, target):
        return
    outcome: list[GraftError | None] = []
    done = threading.Event()

    def pump() -> None:
        try:
            for change in session.watch(target.kind, str(listed["metadata"]["resourceVersion"])):
                mine = change["object"]["metadata"]["name"] == target.name
                if mine and (_deleted(goal, change, target) or _is_settled(goal, change["object"], target)):
                    outcome.append(None)
                    break
            else:
                outcome.append(GraftError("graft up went away while waiting"))
        except GraftError as error:
            outcome.append(error)
        done.set()

    threading.Thread(target=pump, daemon=True).start()
    if not done.wait(timeout_s):
        raise GraftError(f"timed out waiting for {goal} on {target.label}")
    if outcome[0] is not None:
        raise outcome[0]


def _deleted(goal: str, change: dict[str, Any], target: Target) -> bool:
    if change["type"] != "DELETED":
        return False
    if goal != "delete":
        raise GraftError(f"{target.label} was deleted while waiting for {goal}")
    return True


def _is_settled(goal: str, obj: dict[str, Any], target: Target) -> bool:
    if is_met(goal, obj):
        return True
    # Waiting on for something that can't come any more helps nobody: kubectl would sit there until the time-out.
    if goal.lower() == "condition=complete":
        failed = next(
            (c for c in obj.get("status", {}).get("conditions", []) if c["type"] == "Failed" and c["status"] == "True"),
            None,
        )
        if failed is not None:
            raise GraftError(f"{target.label} failed: {failed['reason']}: {failed.get('message', '')}")
    return False
