"""The verbs that change one field of a running object: each is what `graft apply` of an edited file would do."""

from collections.abc import Callable
from typing import Any

import click

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, KIND_MODELRELEASE
from graft_core.errors import Conflict, InvalidInput
from graft_operator.cli.resources import Target, find_kind, parse_targets
from graft_operator.cli.session import Session, connected

__all__ = ["abort", "promote", "resume", "rollback", "suspend"]

MAX_TRIES = 5
"""Somebody else, most often the operator's status write, may change the object between read and write."""

Change = Callable[[dict[str, Any]], str]
"""Changes an object in place and returns what to tell."""


def change(session: Session, target: Target, edit: Change) -> None:
    """Read, edit and write one object, again where it changed in between; Conflict where it changed each time."""
    for _ in range(MAX_TRIES):
        obj = session.get(target)
        told = edit(obj)
        try:
            session.update(target, obj)
        except Conflict:
            continue
        click.echo(f"{target.label} {told}")
        return
    raise Conflict(f"{target.label} changed {MAX_TRIES} times while it was being written; try again")


@click.command(
    epilog="""\b
Examples:
  graft suspend ftj/my-job
  graft suspend mr/my-release"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME")
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
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME")
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
@click.argument("what", nargs=-1, required=True, metavar="[mr/]NAME")
@connected
def promote(session: Session, *, what: tuple[str, ...]) -> None:
    """Let a paused rollout go on to its next step. Steps are never skipped: the analysis still decides."""
    change(session, _release(what), _promote)


@click.command(
    epilog="""\b
Examples:
  graft abort mr/my-release"""
)
@click.argument("what", nargs=-1, required=True, metavar="[mr/]NAME")
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
@click.argument("what", nargs=-1, required=True, metavar="[mr/]NAME")
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
    targets = parse_targets(what) if "/" in what[0] or len(what) > 1 else (Target(find_kind("mr"), what[0]),)
    if len(targets) != 1 or targets[0].kind.kind != KIND_MODELRELEASE:
        raise InvalidInput(f"{' '.join(what)!r} is not one release; expected e.g. mr/my-release")
    return targets[0]


def _set_suspended(obj: dict[str, Any], *, suspended: bool) -> str:
    field = "suspend" if obj["kind"] == KIND_FINETUNEJOB else "paused"
    obj["spec"][field] = suspended
    return "suspended" if suspended else "resumed"


def _promote(obj: dict[str, Any]) -> str:
    candidate = obj.get("status", {}).get("candidate")
    if candidate is None:
        raise InvalidInput("there is no candidate to promote; `graft get mr` shows what runs")
    if not obj["spec"].get("paused"):
        raise InvalidInput(
            f"the rollout of {candidate['revision']} is not paused; it moves by itself when its analysis passes"
        )
    obj["spec"]["paused"] = False
    return f"resumed: {candidate['revision']} goes on from step {candidate.get('step', 0)}"


def _abort(obj: dict[str, Any]) -> str:
    candidate = obj.get("status", {}).get("candidate")
    if candidate is None:
        raise InvalidInput("there is no candidate to take back; `graft rollback` goes back to an earlier revision")
    obj["spec"]["abort"] = True
    return f"aborting {candidate['revision']}"


def _roll_back(obj: dict[str, Any], revision: str | None) -> str:
    status = obj.get("status", {})
    stable = (status.get("stable") or {}).get("revision")
    promoted = [h["revision"] for h in status.get("history", []) if h["outcome"] == "Promoted"]
    earlier = [r for r in promoted if r != stable]
    wanted = revision or (earlier[-1] if earlier else None)
    if wanted is None:
        raise InvalidInput("no earlier revision was promoted, so there is none to go back to")
    if wanted not in promoted:
        raise InvalidInput(
            f"revision {wanted!r} was never promoted; expected one of {', '.join(dict.fromkeys(promoted)) or 'none yet'}"
        )
    if wanted == stable:
        raise InvalidInput(f"revision {wanted!r} is the one that runs")
    obj["spec"]["rollbackTo"] = wanted
    return f"rolling back to {wanted}"
