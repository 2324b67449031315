"""`graft logs`: what a child wrote."""

import click

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_core.errors import InvalidInput
from graft_operator.cli.completing import complete_objects
from graft_operator.cli.connection import connected
from graft_operator.cli.session import LogQuery, Session
from graft_operator.local.resources import parse_targets

__all__ = ["logs"]


@click.command(
    epilog="""\b
Examples:
  graft logs ftj/my-job -f
  graft logs ftj/my-job --role check
  graft logs mr/my-release --revision 7c1d22e0aa
  graft logs mr/my-release -c engine --tail 100    a cluster's pod"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME", shell_complete=complete_objects)
@click.option("-f", "--follow", is_flag=True, help="Go on until the child ends or Ctrl-C.")
@click.option(
    "--role", type=click.Choice(["check", "train"]), default=None, help="Which child of a job; default the newest."
)
@click.option("--revision", default=None, metavar="REVISION", help="Which revision of a release; default the newest.")
@click.option("-c", "--container", default=None, metavar="NAME", help="On a cluster: which container of the pod.")
@click.option("--tail", type=click.IntRange(min=0), default=None, metavar="N", help="On a cluster: the last N lines.")
@click.option("-p", "--previous", is_flag=True, help="On a cluster: of the container before its last restart.")
@connected
def logs(
    session: Session,
    *,
    what: tuple[str, ...],
    follow: bool,
    role: str | None,
    revision: str | None,
    container: str | None,
    tail: int | None,
    previous: bool,
) -> None:
    """Print the log of a job's check or train child, or of a release's predictor."""
    targets = parse_targets(what)
    if len(targets) != 1:
        raise InvalidInput(f"{len(targets)} objects were named; expected one, e.g. graft logs ftj/my-job")
    is_job = targets[0].kind.kind == KIND_FINETUNEJOB
    if (revision if is_job else role) is not None:
        raise InvalidInput(
            f"{'--revision is for releases' if is_job else '--role is for jobs'}; got {targets[0].label}"
        )
    query = LogQuery(role, revision, follow, container, tail, previous)
    for piece in session.log(targets[0], query):
        click.echo(piece, nl=False)
