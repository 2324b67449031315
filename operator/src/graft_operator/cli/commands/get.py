"""`graft get`: tables, JSON, YAML, and watches."""

import sys
from collections.abc import Mapping

import click

from graft_core.api.v1alpha1.names import GROUP
from graft_core.clock import SystemClock
from graft_core.errors import InvalidInput
from graft_operator.cli.completing import complete_objects
from graft_operator.cli.connection import connected
from graft_operator.cli.output import OutputFormat, to_list, to_text
from graft_operator.cli.selectors import Requirement, matches, parse_selector
from graft_operator.cli.session import Change, Session
from graft_operator.cli.tables import Table
from graft_operator.cli.watching import follow
from graft_operator.local.faults import NotFound
from graft_operator.local.fields import Json, name_of
from graft_operator.local.resources import KINDS, Kind, find_kind, parse_kinds

__all__ = ["get"]


@click.command(
    epilog="""\b
Examples:
  graft get                        everything
  graft get ftj,mr -l team=search  both kinds, by label
  graft get ftj/my-job -o yaml     one object, whole
  graft get mr -w                  watch until Ctrl-C
  graft get mr/my-release -o jsonpath={.status.url}"""
)
@click.argument("what", nargs=-1, metavar="[KIND[/NAME]] [NAME...]", shell_complete=complete_objects)
@click.option(
    "-o",
    "--output",
    "form",
    type=OutputFormat(),
    default=None,
    metavar="FORMAT",
    help="json, yaml, wide, name or jsonpath={.path}; default a table.",
)
@click.option("-w", "--watch", is_flag=True, help="Go on printing changes until interrupted.")
@click.option(
    "-l", "--selector", default=None, metavar="LABELS", help="Only these, e.g. team=search or 'team in (a, b)'."
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of every namespace.")
@click.option("--no-headers", is_flag=True, help="Leave the titles out.")
@connected
def get(
    session: Session,
    *,
    what: tuple[str, ...],
    form: str | None,
    watch: bool,
    selector: str | None,
    all_namespaces: bool,
    no_headers: bool,
) -> None:
    """List objects: finetunejobs (ftj), modelreleases (mr), a comma list, or all, which is the default."""
    kinds, names = _read_arguments(what)
    requirements = () if selector is None else parse_selector(selector)
    if names and (requirements or all_namespaces):
        raise InvalidInput("names go neither with a selector (-l) nor with --all-namespaces (-A)")
    only = {kind: names[kind][0] if len(names.get(kind, ())) == 1 else "" for kind in kinds}
    lists = {kind: session.list_objects(kind, all_namespaces=all_namespaces, name=only[kind]) for kind in kinds}
    found = {kind: _pick(listing.items, kind, names, requirements) for kind, listing in lists.items()}
    tables = {kind: Table(kind.kind, wide=form == "wide", with_namespace=all_namespaces) for kind in kinds}
    if form is None or form == "wide":
        where = "" if all_namespaces else f" in namespace {session.namespace}"
        _print_tables(found, tables, headers=not no_headers, none=f"No resources found{where}.")
    elif watch or sum(map(len, names.values())) == 1:
        for one in (one for objects in found.values() for one in objects):
            _print_object(form, one, is_stream=watch)
    else:
        click.echo(to_text(form, to_list([one for objects in found.values() for one in objects])), nl=False)
    _refuse_missing(found, names)
    if watch:
        for kind, change in follow(session, lists, all_namespaces=all_namespaces, names=only):
            if (not names or name_of(change.object) in names.get(kind, ())) and matches(requirements, change.object):
                _print_change(kind, change, tables[kind], form)


def _read_arguments(what: tuple[str, ...]) -> tuple[tuple[Kind, ...], dict[Kind, list[str]]]:
    """Split words into kinds and, where they were named, the objects of each."""
    if not what:
        return KINDS, {}
    if not any("/" in word for word in what):
        kinds = parse_kinds(what[0])
        return kinds, {kind: list(what[1:]) for kind in kinds} if what[1:] else {}
    names: dict[Kind, list[str]] = {}
    for word in what:
        kind, _, name = word.partition("/")
        if not name:
            raise InvalidInput(f"a name is missing in {word!r}; expected KIND/NAME, e.g. ftj/my-job")
        names.setdefault(find_kind(kind), []).append(name)
    return tuple(names), names


def _pick(
    items: list[Json], kind: Kind, names: Mapping[Kind, list[str]], requirements: tuple[Requirement, ...]
) -> list[Json]:
    return [one for one in items if (not names or name_of(one) in names[kind]) and matches(requirements, one)]


def _refuse_missing(found: Mapping[Kind, list[Json]], names: Mapping[Kind, list[str]]) -> None:
    there = {(kind, name_of(one)) for kind, objects in found.items() for one in objects}
    missing = [
        f'{kind.plural}.{GROUP} "{name}" not found; `graft get {kind.short}` lists those there are'
        for kind, wanted in names.items()
        for name in dict.fromkeys(wanted)
        if (kind, name) not in there
    ]
    if missing:
        raise NotFound("\n".join(missing))


def _print_tables(found: Mapping[Kind, list[Json]], tables: Mapping[Kind, Table], *, headers: bool, none: str) -> None:
    now = SystemClock().now()
    blocks: list[str] = []
    for kind, objects in found.items():
        if objects:
            rows = [*([tables[kind].header()] if headers else []), *(tables[kind].row(one, now) for one in objects)]
            blocks.append("\n".join(tables[kind].lines(rows)))
    click.echo("\n\n".join(blocks) if blocks else none, err=not blocks)


def _print_change(kind: Kind, change: Change, table: Table, form: str | None) -> None:
    if form is not None and form != "wide":
        _print_object(form, change.object, is_stream=True)
    elif change.type == "DELETED":
        click.echo(f"{kind.plural}/{name_of(change.object)} deleted")
    else:
        click.echo(table.lines([table.row(change.object, SystemClock().now())])[0])
    sys.stdout.flush()  # a watch is often piped


def _print_object(form: str, one: Json, *, is_stream: bool) -> None:
    click.echo(("---\n" if is_stream and form == "yaml" else "") + to_text(form, one), nl=False)
