"""`graft delete`."""

import click

from graft_core.errors import InvalidInput
from graft_operator.cli.commands.wait import wait_for
from graft_operator.cli.durations import parse_duration_s
from graft_operator.cli.manifests import read_documents
from graft_operator.cli.resources import Target, find_kind, parse_targets
from graft_operator.cli.session import Session, connected

__all__ = ["delete"]


@click.command(
    epilog="""\b
Examples:
  graft delete ftj/my-job
  graft delete mr my-release --wait=false
  graft delete -f examples/01-classify-messages"""
)
@click.argument("what", nargs=-1, metavar="KIND/NAME | KIND NAME")
@click.option("-f", "--filename", "paths", multiple=True, metavar="PATH", help="Delete the objects these files name.")
@click.option("--wait/--no-wait", "do_wait", default=True, show_default=True, help="Wait until they are gone.")
@click.option("--timeout", default="60s", show_default=True, metavar="DURATION", help="How long to wait for each.")
@click.option("--ignore-not-found", is_flag=True, help="No error for objects that are not there.")
@connected
def delete(
    session: Session,
    *,
    what: tuple[str, ...],
    paths: tuple[str, ...],
    do_wait: bool,
    timeout: str,
    ignore_not_found: bool,
) -> None:
    """Delete objects. A release's traffic ends first; a job's children are stopped; published adapters stay in the store."""
    if bool(what) == bool(paths):
        raise InvalidInput("nothing to delete was named, or both names and -f; expected KIND/NAME or -f PATH")
    timeout_s = parse_duration_s(timeout)
    targets = parse_targets(what) if what else _targets_of(paths)
    for target in targets:
        there = any(o["metadata"]["name"] == target.name for o in session.list_objects(target.kind)["items"])
        if not there:
            if not ignore_not_found:
                raise InvalidInput(f"{target.label} not found")
            continue
        session.delete(target)
        if do_wait:
            wait_for(session, target, "delete", timeout_s)
        click.echo(f"{target.kind.singular}.graft.dev {target.name!r} deleted")


def _targets_of(paths: tuple[str, ...]) -> tuple[Target, ...]:
    return tuple(
        Target(find_kind(str(d.body.get("kind"))), str(d.body.get("metadata", {}).get("name")))
        for d in read_documents(paths)
    )
