"""The command group: commands are imported when they are called, so that `graft --help` and shell completion stay quick."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from graft_core.errors import GraftError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "COMPLETE_VARIABLE", "Lazy", "LazyGroup", "graft", "main", "run"]


class Lazy(NamedTuple):
    """Where a command lives, and its line in the group's help."""

    module: str
    attribute: str
    short_help: str


COMMANDS = {
    "up": Lazy(
        "graft_operator.cli.commands.up",
        "up",
        "Run the reconcilers, the jobs, the predictors and the gateway on this machine.",
    ),
    "down": Lazy("graft_operator.cli.commands.up", "down", "Stop a `graft up`."),
    "demo": Lazy(
        "graft_operator.cli.commands.demo", "demo", "Watch the whole story: train, prove, release, refuse, roll back."
    ),
    "apply": Lazy("graft_operator.cli.commands.apply", "apply", "Create or change objects from files."),
    "validate": Lazy("graft_operator.cli.commands.apply", "validate", "Check files without a server."),
    "get": Lazy("graft_operator.cli.commands.get", "get", "List objects."),
    "describe": Lazy(
        "graft_operator.cli.commands.describe", "describe", "Show one object with its conditions and events."
    ),
    "wait": Lazy("graft_operator.cli.commands.wait", "wait", "Wait for a condition."),
    "logs": Lazy(
        "graft_operator.cli.commands.logs", "logs", "Print the log of a job's child or of a release's predictor."
    ),
    "report": Lazy("graft_operator.cli.commands.report", "report", "Print where a job's HTML report lies."),
    "delete": Lazy("graft_operator.cli.commands.delete", "delete", "Delete objects."),
    "suspend": Lazy(
        "graft_operator.cli.commands.lifecycle", "suspend", "Stop a job (it saves first) or hold a release's weights."
    ),
    "resume": Lazy("graft_operator.cli.commands.lifecycle", "resume", "Go on with what was suspended."),
    "promote": Lazy("graft_operator.cli.commands.lifecycle", "promote", "Let a paused rollout go on."),
    "abort": Lazy("graft_operator.cli.commands.lifecycle", "abort", "Take the candidate of a release back now."),
    "rollback": Lazy(
        "graft_operator.cli.commands.lifecycle", "rollback", "Go back to an earlier revision of a release."
    ),
    "completion": Lazy("graft_operator.cli.commands.completion", "completion", "Print the shell completion script."),
    "version": Lazy(
        "graft_operator.cli.commands.completion",
        "version",
        "Print the versions of the command and of what it speaks to.",
    ),
}
"""Every command, in the order the help shows them."""


class LazyGroup(click.Group):
    """A click group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or return None where there is none of that name."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is not a command")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Offer command names from the table, without importing any."""
        from click.shell_completion import CompletionItem  # only the shell asks for it

        names = [CompletionItem(name, help=entry.short_help) for name, entry in COMMANDS.items()]
        return [one for one in names if one.value.startswith(incomplete)] + click.Command.shell_complete(
            self, ctx, incomplete
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which was likely meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches  # only for a misspelt command

            close = get_close_matches(args[0], COMMANDS, n=1)
            if close:
                raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in COMMANDS.items()])


COMPLETE_VARIABLE = "_GRAFT_COMPLETE"
"""Set by the shell's completion script, whatever name the command was called by."""

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

EPILOG = """\b
Examples:
  graft demo                                   the whole story in one go
  graft up -f examples/01-classify-messages    run on this machine
  graft apply -f job.yaml                      hand in work
  graft get ftj,mr -w                          watch it
  graft wait ftj/my-texts --for=condition=Complete --timeout=10m
"""


@click.group(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
def graft() -> None:
    """Graft: fine-tuned language models, trained, proven, released and watched.

    Objects live in a state folder (--state, GRAFT_STATE, default ./.graft) that `graft up` serves, or on a Kubernetes cluster: with
    --kubeconfig or --context, with KUBECONFIG where no state folder is there or named, and always as `kubectl graft`.
    """


def run(argv: Sequence[str] | None = None, program: str = "graft") -> int:
    """Run the command; a Graft error becomes a message on stderr.

    Args:
        argv: Words after the program's name; None: those of the process.
        program: Name that help and usage show.

    Returns:
        Exit code: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C.
    """
    try:
        graft.main(
            None if argv is None else list(argv),
            prog_name=program,
            complete_var=COMPLETE_VARIABLE,
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except GraftError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    return 0


def main() -> NoReturn:
    """Run the command as a process of its own."""
    program = Path(sys.argv[0]).name or "graft"
    try:
        code = run(program=program.replace("kubectl-", "kubectl "))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`graft get | head`): nothing is left to say to it, and Python must not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
