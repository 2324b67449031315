"""`graft get`: tables, JSON, YAML, and watches."""

import queue
import threading
from typing import Any

import click

from graft_core.clock import SystemClock
from graft_core.errors import GraftError, InvalidInput
from graft_operator.cli.output import FORMATS, to_text
from graft_operator.cli.resources import Kind, Target, find_kind, parse_kinds
from graft_operator.cli.session import Session, connected
from graft_operator.cli.tables import Table

__all__ = ["get"]


@click.command(
    epilog="""\b
Examples:
  graft get ftj,mr                 both kinds
  graft get ftj/my-job -o yaml     one object, whole
  graft get mr -w                  watch until Ctrl-C"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND[/NAME] [NAME...]")
@click.option(
    "-o", "--output", "form", type=click.Choice(FORMATS), default=None, help="Output format; default a table."
)
@click.option("-w", "--watch", is_flag=True, help="Go on printing changes until interrupted.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of every namespace.")
@click.option("--no-headers", is_flag=True, help="Leave the titles out.")
@connected
def get(
    session: Session, *, what: tuple[str, ...], form: str | None, watch: bool, all_namespaces: bool, no_headers: bool
) -> None:
    """List objects: finetunejobs (ftj), modelreleases (mr), a comma list, or all."""
    kinds, names = _read_arguments(what)
    lists = {kind: session.list_objects(kind, all_namespaces=all_namespaces) for kind in kinds}
    found = {kind: _pick(body["items"], kind, names) for kind, body in lists.items()}
    if form in {"json", "yaml", "name"}:
        click.echo(
            to_text(form, [o for objects in found.values() for o in objects], single=bool(names) and len(names) == 1)
        )
    else:
        _print_tables(found, wide=form == "wide", with_namespace=all_namespaces, headers=not no_headers)
    if watch:
        _follow(session, lists, names, form=form, all_namespaces=all_namespaces)


def _read_arguments(what: tuple[str, ...]) -> tuple[tuple[Kind, ...], dict[Kind, set[str]]]:
    names: dict[Kind, set[str]] = {}
    if any("/" in word for word in what):
        for word in what:
            kind, _, name = word.partition("/")
            if not name:
                raise InvalidInput(f"a name is missing in {word!r}; expected KIND/NAME, e.g. ftj/my-job")
            names.setdefault(find_kind(kind), set()).add(name)
        return tuple(names), names
    kinds = parse_kinds(what[0])
    return kinds, {kind: set(what[1:]) for kind in kinds} if what[1:] else {}


def _pick(items: list[dict[str, Any]], kind: Kind, names: dict[Kind, set[str]]) -> list[dict[str, Any]]:
    wanted = names.get(kind)
    if wanted is None:
        return items
    for name in sorted(wanted - {o["metadata"]["name"] for o in items}):
        raise InvalidInput(
            f"{kind.plural}.graft.dev {name!r} not found; `graft get {kind.short}` lists those there are"
        )
    return [o for o in items if o["metadata"]["name"] in wanted]


def _print_tables(found: dict[Kind, list[dict[str, Any]]], *, wide: bool, with_namespace: bool, headers: bool) -> None:
    now = SystemClock().now()
    blocks: list[str] = []
    for kind, objects in found.items():
        if objects:
            table = Table(kind.kind, wide=wide, with_namespace=with_namespace)
            rows = [*([table.header()] if headers else []), *(table.row(o, now) for o in objects)]
            blocks.append("\n".join(table.lines(rows)))
    click.echo("\n\n".join(blocks) if blocks else "No resources found.", err=not blocks)


def _follow(
    session: Session,
    lists: dict[Kind, dict[str, Any]],
    names: dict[Kind, set[str]],
    *,
    form: str | None,
    all_namespaces: bool,
) -> None:
    changes: queue.SimpleQueue[tuple[Kind, dict[str, Any]] | GraftError | None] = queue.SimpleQueue()

    def pump(kind: Kind, resource_version: str) -> None:
        try:
            for change in session.watch(kind, resource_version, all_namespaces=all_namespaces):
                changes.put((kind, change))
            changes.put(None)
        except GraftError as error:
            changes.put(error)

    tables = {kind: Table(kind.kind, wide=form == "wide", with_namespace=all_namespaces) for kind in lists}
    for kind, body in lists.items():
        threading.Thread(target=pump, args=(kind, str(body["metadata"]["resourceVersion"])), daemon=True).start()
    while (item := changes.get()) is not None:
        if isinstance(item, GraftError):
            raise item
        kind, change = item
        obj = change["object"]
        if kind not in names or obj["metadata"]["name"] in names[kind]:
            _print_change(Target(kind, obj["metadata"]["name"]), change["type"], obj, tables[kind], form)


def _print_change(target: Target, change: str, obj: dict[str, Any], table: Table, form: str | None) -> None:
    if form in {"json", "yaml", "name"}:
        click.echo(("---\n" if form == "yaml" else "") + to_text(form, [obj], single=True))
    elif change == "DELETED":
        click.echo(f"{target.label} deleted")
    else:
        click.echo(table.lines([table.row(obj, SystemClock().now())])[0])
