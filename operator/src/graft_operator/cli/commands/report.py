"""`graft report`: where the report of a finished job lies."""

from urllib.parse import unquote, urlsplit

import click

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_core.errors import NotReady
from graft_operator.cli.completing import complete_objects
from graft_operator.cli.connection import connected
from graft_operator.cli.session import Session
from graft_operator.local.fields import Json, text
from graft_operator.local.resources import Target, parse_one

__all__ = ["report"]

REPORT = "report.html"
"""Its name beside the adapter's files."""


@click.command(
    epilog="""\b
Examples:
  graft report ftj/my-job
  graft report my-job --open"""
)
@click.argument("what", nargs=-1, required=True, metavar="[ftj/]NAME", shell_complete=complete_objects)
@click.option("--open", "do_open", is_flag=True, help="Show it in the browser too.")
@connected
def report(session: Session, *, what: tuple[str, ...], do_open: bool) -> None:
    """Print the path (or URL) of the HTML report that a job published beside its adapter."""
    target = parse_one(what, KIND_FINETUNEJOB)
    at = _report_of(session.get(target), target)
    click.echo(at)
    if do_open:
        click.launch(at)


def _report_of(obj: Json, target: Target) -> str:
    uri = text(obj, "status", "artifact", "uri")
    if not uri:
        phase = text(obj, "status", "phase", default="Pending")
        raise NotReady(
            f"{target.label} has published nothing (phase {phase!r}), so there is no report;"
            f" `graft describe {target.kind.short}/{target.name}` says how it stands"
        )
    parts = urlsplit(uri)
    folder = uri if parts.scheme != "file" else unquote(parts.path)
    return f"{folder.rstrip('/')}/{REPORT}"
