"""`graft delete`."""

import click

from graft_core.clock import SystemClock
from graft_core.errors import InvalidInput
from graft_operator.cli.commands.apply import in_one_namespace
from graft_operator.cli.commands.wait import wait_for
from graft_operator.cli.completing import complete_objects
from graft_operator.cli.connection import connected
from graft_operator.cli.durations import parse_duration_s
from graft_operator.cli.goals import Goal
from graft_operator.cli.selectors import matches, parse_selector
from graft_operator.cli.session import Session
from graft_operator.local.faults import NotFound
from graft_operator.local.fields import name_of
from graft_operator.local.manifests import read_manifests, refuse
from graft_operator.local.resources import Target, parse_kinds, parse_targets

__all__ = ["delete"]


@click.command(
    epilog="""\b
Examples:
  graft delete ftj/my-job
  graft delete mr my-release --wait=false
  graft delete ftj -l team=search
  graft delete ftj,mr --all
  graft delete -f job.yaml"""
)
@click.argument("what", nargs=-1, metavar="KIND/NAME | KIND NAME", shell_complete=complete_objects)
@click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    metavar="PATH",
    type=click.Path(allow_dash=True),
    help="Delete the objects these files name.",
)
@click.option("-l", "--selector", default=None, metavar="LABELS", help="Delete those of a kind with these labels.")
@click.option("--all", "everything", is_flag=True, help="Delete all of a kind in the namespace.")
@click.option(
    "--wait", "do_wait", type=bool, default=True, metavar="BOOL", help="Wait until they are gone.  [default: true]"
)
@click.option("--timeout", default="60s", show_default=True, metavar="DURATION", help="How long to wait in all.")
@click.option("--ignore-not-found", is_flag=True, help="No error for objects that are not there.")
@connected
def delete(
    session: Session,
    *,
    what: tuple[str, ...],
    paths: tuple[str, ...],
    selector: str | None,
    everything: bool,
    do_wait: bool,
    timeout: str,
    ignore_not_found: bool,
) -> None:
    """Delete objects. A release's traffic ends first; a job's children are stopped; published adapters stay in the store."""
    if bool(what) == bool(paths):
        raise InvalidInput(
            "nothing to delete was named, or both names and -f; expected KIND/NAME, KIND --all or -f PATH"
        )
    deadline = SystemClock().monotonic() + parse_duration_s(timeout)
    if paths:
        targets = _in_files(session, paths)
    elif everything or selector is not None:
        targets = _selected(session, what, selector)
    else:
        targets = parse_targets(what)
    gone, missing = _request(session, targets)
    for target in gone:
        if do_wait:
            where = session.in_namespace(target.namespace)
            wait_for(where, target, Goal("delete"), deadline - SystemClock().monotonic())
        click.echo(f'{target.kind.singular}.graft.dev "{target.name}" deleted')
    if not targets:
        click.echo("No resources found.", err=True)
    if missing and not ignore_not_found:
        raise NotFound("\n".join(missing))


def _in_files(session: Session, paths: tuple[str, ...]) -> tuple[Target, ...]:
    found = read_manifests(paths)
    faults = [*found.faults, *in_one_namespace(session, found.documents)]
    if faults:
        raise refuse(faults)
    return tuple(document.target for document in found.documents)


def _selected(session: Session, what: tuple[str, ...], selector: str | None) -> tuple[Target, ...]:
    if len(what) != 1 or "/" in what[0]:
        raise InvalidInput(f"{' '.join(what)!r} goes with neither -l nor --all; expected kinds alone, e.g. ftj,mr")
    requirements = () if selector is None else parse_selector(selector)
    return tuple(
        Target(kind, name_of(one))
        for kind in parse_kinds(what[0])
        for one in session.list_objects(kind).items
        if matches(requirements, one)
    )


def _request(session: Session, targets: tuple[Target, ...]) -> tuple[list[Target], list[str]]:
    """Ask for the end of all of them first: they end side by side."""
    gone: list[Target] = []
    missing: list[str] = []
    for target in targets:
        try:
            session.delete(target)
        except NotFound:
            missing.append(f'{target.kind.plural}.graft.dev "{target.name}" not found')
        else:
            gone.append(target)
    return gone, missing
