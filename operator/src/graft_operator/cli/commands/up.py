"""`graft up` and `graft down`: the local shell from a terminal."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from graft_core.errors import InvalidInput
from graft_operator.cli.connection import with_state
from graft_operator.cli.durations import parse_duration_s
from graft_operator.local.fields import as_object, text

if TYPE_CHECKING:
    from graft_operator.local.manifests import Document
    from graft_operator.local.up import UpEvent
    from graft_operator.settings import LocalSettings

__all__ = ["banner", "down", "up"]

LOOPBACK = ("127.", "localhost", "::1")
"""Starts of addresses that only this machine reaches."""


@click.command(
    epilog="""\b
Examples:
  graft up                                     serve ./.graft until Ctrl-C
  graft up -f examples/01-classify-messages    and hand in work at once
  graft up --state runs/a --port 0             another folder, a free port
  graft up --detach                            in the background; `graft down` ends it"""
)
@click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    metavar="PATH",
    type=click.Path(allow_dash=True),
    help="Apply these files at the start: file, folder or - (stdin); may be repeated.",
)
@with_state
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=None,
    metavar="PORT",
    help="Port of the gateway; 0 takes a free one.  [default: 8080]",
)
@click.option(
    "--host",
    default=None,
    metavar="ADDRESS",
    help="Address of the gateway; anything but loopback opens it to the network.  [default: 127.0.0.1]",
)
@click.option(
    "--max-training",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Trainings that run at a time; the others wait. Give each its share with spec.resources.cpu.  [default: 1]",
)
@click.option("--detach", is_flag=True, help="Run in the background; return when it answers.")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="WARNING",
    show_default=True,
    help="Lowest level of the log on stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice(["plain", "json"]),
    default="plain",
    show_default=True,
    help="How the log on stderr is written.",
)
def up(  # one parameter an option
    *,
    paths: tuple[str, ...],
    state: str,
    port: int | None,
    host: str | None,
    max_training: int | None,
    detach: bool,
    log_level: str,
    log_format: str,
) -> None:
    """Run the reconcilers, the jobs, the predictors and the gateway on this machine, in the foreground.

    Everything that must survive lies in the state folder: start it again after a crash and it goes on. One Ctrl-C saves, drains
    and stops; a second one stops at once.
    """
    from graft_operator.settings import LocalSettings

    settings = LocalSettings.from_environment(
        os.environ, state=Path(state), port=port, host=host, max_training=max_training
    )
    if detach:
        # `-m graft_operator.cli` rather than the script: that need not be on the PATH.
        command = [sys.executable, "-m", "graft_operator.cli", *_words(settings, paths, log_level, log_format)]
        _detach(command, settings)
    else:
        _run(settings, paths, log_level, log_format)


@click.command(
    epilog="""\b
Examples:
  graft down
  graft down --state runs/a --timeout 5m
  graft down --now                  trainers lose what they did since their last checkpoint"""
)
@with_state
@click.option("--now", is_flag=True, help="Neither drain streams nor let trainers save.")
@click.option("--timeout", default="90s", show_default=True, metavar="DURATION", help="How long to wait for its end.")
def down(*, state: str, now: bool, timeout: str) -> None:
    """Stop the `graft up` of a state folder, wherever it runs. Objects and adapters stay; `graft up` goes on with them."""
    from graft_operator.local.up import stop_running

    pid = stop_running(Path(state), now=now, timeout_s=parse_duration_s(timeout))
    if pid is None:
        click.echo(f"no `graft up` runs on the state folder {state!r}", err=True)
    else:
        click.echo(f"graft up (pid {pid}) stopped")


def banner(event: "UpEvent", settings: "LocalSettings") -> list[str]:
    """Write what a person needs to know when `graft up` is up."""
    url = text(as_object(event.fields.get("gateway")), "url")
    option = "" if str(settings.state) == ".graft" else f" --state {shlex.quote(str(settings.state))}"
    lines = [
        f"graft up {event.fields.get('version', '')}",
        f"  state    {settings.state.absolute()}",
        f"  gateway  {url}",
        "",
        "In another terminal:",
        f"  graft apply{option} -f job.yaml    hand in work",
        f"  graft get{option} -w               watch it",
        f"  graft describe{option} ftj/NAME    one object in detail",
        "",
        "Ctrl-C saves, drains and stops.",
        "",
    ]
    if not settings.host.startswith(LOOPBACK):
        lines.insert(3, f"  warning: the gateway listens on {settings.host}: whoever reaches this machine may use it")
    return lines


def _run(settings: "LocalSettings", paths: tuple[str, ...], log_level: str, log_format: str) -> None:
    import asyncio

    from graft_core.telemetry.logs import configure_logs
    from graft_operator.local.faults import Invalid
    from graft_operator.local.up import run_up

    documents = _read(paths)
    configure_logs(level=log_level.upper(), log_format="json" if log_format == "json" else "plain")
    try:
        asyncio.run(run_up(settings, [one.body for one in documents], lambda event: _tell(event, settings)))
    except Invalid as error:
        from graft_operator.cli.commands.apply import faults_by_file
        from graft_operator.local.manifests import refuse

        raise refuse(faults_by_file(error, documents)) from error


def _read(paths: tuple[str, ...]) -> "list[Document]":
    if not paths:
        return []
    from graft_operator.local.manifests import read_manifests, refuse

    found = read_manifests(paths)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.faults:
        raise refuse(found.faults)
    return found.documents


def _tell(event: "UpEvent", settings: "LocalSettings") -> None:
    from graft_core.clock import SystemClock

    if event.kind == "started":
        click.echo("\n".join(banner(event, settings)))
    else:
        click.echo(f"{SystemClock().now().astimezone():%H:%M:%S}  {event.text}")
    sys.stdout.flush()  # piped into a file as often as not


def _words(settings: "LocalSettings", paths: tuple[str, ...], log_level: str, log_format: str) -> list[str]:
    """Write the command line of the process in the background; the environment goes to it as it is."""
    if "-" in paths:
        raise InvalidInput("-f - and --detach don't go together: a process in the background reads no standard input")
    files = [word for path in paths for word in ("-f", path)]
    place = ["--state", str(settings.state), "--port", str(settings.port), "--host", settings.host]
    place += ["--max-training", str(settings.max_training)]
    return ["up", *files, *place, "--log-level", log_level, "--log-format", log_format]


def _detach(command: list[str], settings: "LocalSettings") -> None:
    from graft_operator.local.client import Client
    from graft_operator.local.lock import holder_of
    from graft_operator.local.up import start_detached

    if (holder := holder_of(settings.state)) is not None:
        raise InvalidInput(
            f"another `graft up` (pid {holder}) runs on the state folder {str(settings.state)!r}; `graft down` ends it"
        )
    pid = start_detached(command, settings.state)
    status = as_object(Client(settings.state).call("GET", "/status"))
    log = settings.state / "up.log"
    click.echo(f"graft up (pid {pid}) serves {text(as_object(status.get('gateway')), 'url')}; its log is {log}")
