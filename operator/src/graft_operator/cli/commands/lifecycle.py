"""The verbs that change one field of a running object: each is what `graft apply` of an edited file would do."""

from collections.abc import Callable

import click

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, KIND_MODELRELEASE
from graft_core.errors import Conflict, InvalidInput
from graft_operator.cli.completing import complete_objects, complete_releases
from graft_operator.cli.connection import connected
from graft_operator.cli.session import Session
from graft_operator.local.fields import Json, child, children, name_of, number, text
from graft_operator.local.resources import Target, parse_one, parse_targets

__all__ = ["abort", "promote", "resume", "rollback", "suspend"]

MAX_TRIES = 5
"""Somebody else, most often the operator's status write, may change the object between read and write."""

Change = Callable[[Json], tuple[dict[str, object], str]]
"""Says which fields of an object's spec to set, maybe none, and what to tell."""


def change(session: Session, target: Target, edit: Change) -> None:
    """Read, edit and write one object, again where it changed in between; Conflict where it changed each time."""
    for _ in range(MAX_TRIES):
        obj = session.get(target)
        fields, told = edit(obj)
        try:
            if fields:
                session.change_spec(target, obj, fields)
        except Conflict:
            continue
        click.echo(f"{target.resource} {told}")
        return
    raise Conflict(f"{target.label} changed {MAX_TRIES} times while it was being written; try again")


@click.command(
    epilog="""\b
Examples:
  graft suspend ftj/my-job
  graft suspend mr/my-release"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME", shell_complete=complete_objects)
@connected
def suspend(session: Session, *, what: tuple[str, ...]) -> None:
    """Stop a job (its children save a checkpoint first) or hold the weights of a release."""
    for target in parse_targets(what):
        change(session, target, lambda obj: _set_suspended(obj, suspended=True))


@click.command(
    epilog="""\b
Examples:
  graft resume ftj/my-job"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME", shell_complete=complete_objects)
@connected
def resume(session: Session, *, what: tuple[str, ...]) -> None:
    """Go on with a job or release that was suspended."""
    for target in parse_targets(what):
        change(session, target, lambda obj: _set_suspended(obj, suspended=False))


@click.command(
    epilog="""\b
Examples:
  graft promote mr/my-release"""
)
@click.argument("what", nargs=-1, required=True, metavar="[mr/]NAME", shell_complete=complete_releases)
@connected
def promote(session: Session, *, what: tuple[str, ...]) -> None:
    """Let a paused rollout go on to its next step. Steps are never skipped: the analysis still decides."""
    change(session, _release(what), _promote)


@click.command(
    epilog="""\b
Examples:
  graft abort mr/my-release"""
)
@click.argument("what", nargs=-1, required=True, metavar="[mr/]NAME", shell_complete=complete_releases)
@connected
def abort(session: Session, *, what: tuple[str, ...]) -> None:
    """Take the candidate back now: its weight goes to 0 at once. Apply the release anew, or raise spec.attempt, to try again."""
    change(session, _release(what), _abort)


@click.command(
    epilog="""\b
Examples:
  graft rollback mr/my-release
  graft rollback mr/my-release --to 7c1d22e0aa"""
)
@click.argument("what", nargs=-1, required=True, metavar="[mr/]NAME", shell_complete=complete_releases)
@click.option(
    "--to",
    "revision",
    default=None,
    metavar="REVISION",
    help="Revision of status.history; default the one promoted before.",
)
@connected
def rollback(session: Session, *, what: tuple[str, ...], revision: str | None) -> None:
    """Go back to an earlier revision without steps; it only has to be ready. A release that is applied anew leaves it again."""
    change(session, _release(what), lambda obj: _roll_back(obj, revision))


def _release(what: tuple[str, ...]) -> Target:
    return parse_one(what, KIND_MODELRELEASE)


def _set_suspended(obj: Json, *, suspended: bool) -> tuple[dict[str, object], str]:
    field = "suspend" if text(obj, "kind") == KIND_FINETUNEJOB else "paused"
    if bool(child(obj, "spec").get(field)) == suspended:
        return {}, f"is {'already' if suspended else 'not'} suspended"
    return {field: suspended}, "suspended" if suspended else "resumed"


def _promote(obj: Json) -> tuple[dict[str, object], str]:
    candidate = child(obj, "status", "candidate")
    if not candidate:
        raise InvalidInput(f"{name_of(obj)!r} has no candidate to promote; `graft get mr` shows what runs")
    revision = text(candidate, "revision")
    if child(obj, "spec").get("paused") is not True:
        raise InvalidInput(f"the rollout of {revision} is not paused; it moves by itself when its analysis passes")
    return {"paused": False}, f"resumed: {revision} goes on from step {number(candidate, 'step') + 1}"


def _abort(obj: Json) -> tuple[dict[str, object], str]:
    revision = text(obj, "status", "candidate", "revision")
    if not revision:
        raise InvalidInput(
            f"{name_of(obj)!r} has no candidate to take back; `graft rollback` goes back to an earlier revision"
        )
    return {"abort": True}, f"aborting {revision}"


def _roll_back(obj: Json, revision: str | None) -> tuple[dict[str, object], str]:
    stable = text(obj, "status", "stable", "revision")
    history = children(obj, "status", "history")
    promoted = list(dict.fromkeys(text(h, "revision") for h in history if text(h, "outcome") == "Promoted"))
    earlier = [one for one in promoted if one != stable]
    wanted = revision or (earlier[-1] if earlier else None)
    if wanted is None:
        raise InvalidInput(f"no earlier revision of {name_of(obj)!r} was promoted, so there is none to go back to")
    if wanted not in promoted:
        raise InvalidInput(
            f"revision {wanted!r} was never promoted; expected one of {', '.join(promoted) or 'none yet'}"
        )
    if wanted == stable:
        raise InvalidInput(f"revision {wanted!r} is the one that runs")
    return {"rollbackTo": wanted}, f"rolling back to {wanted}"
