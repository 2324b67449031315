"""`graft completion` and `graft version`."""

from importlib.metadata import version as version_of

import click
from click.shell_completion import get_completion_class

from graft_core.errors import GraftError, InvalidInput
from graft_operator.cli.app import COMPLETE_VARIABLE
from graft_operator.cli.connection import connected
from graft_operator.cli.session import Session

__all__ = ["completion", "version"]


@click.command(
    epilog="""\b
Examples:
  eval "$(graft completion bash)"                    this shell only
  graft completion bash >> ~/.bashrc                 every bash from now on
  graft completion zsh > ~/.zfunc/_graft             a folder of your fpath
  graft completion fish > ~/.config/fish/completions/graft.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell. It completes commands, kinds, and the names of objects."""
    found = get_completion_class(shell)
    if found is None:
        raise InvalidInput(f"no completion for {shell!r}; expected bash, zsh or fish")
    click.echo(found(ctx.find_root().command, {}, "graft", COMPLETE_VARIABLE).source())


@click.command(
    epilog="""\b
Examples:
  graft version
  graft version --state runs/state"""
)
@connected
def version(session: Session) -> None:
    """Print the versions of the command and of what it speaks to."""
    click.echo(f"graft {version_of('graft-operator')}")
    try:
        click.echo(f"{session.server} {session.server_version()}")
    except GraftError as error:
        click.echo(f"{session.server}: {error}", err=True)
