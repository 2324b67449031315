"""Which server a command speaks to, and with which session.

`kubectl graft` always speaks to the cluster of the kubeconfig. `graft` does so with --kubeconfig or --context, or where KUBECONFIG is set and
nothing speaks for a `graft up`: neither --state, nor GRAFT_STATE, nor a `.graft` in the current folder. Else it speaks to `graft up`.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from graft_operator.cli.local_session import LocalSession
from graft_operator.cli.session import Session
from graft_operator.local.client import Client

if TYPE_CHECKING:
    from graft_operator.cli.kube.session import ClusterSession

__all__ = ["DEFAULT_STATE", "Wanted", "connected", "is_plugin", "open_session", "wanted_of", "with_state"]

DEFAULT_STATE = ".graft"
"""State folder of `graft up`, in the current folder."""


@dataclass(frozen=True)
class Wanted:
    """What a command was told about its server."""

    state: str | None = None
    """--state or GRAFT_STATE; None: neither."""
    is_state_flag: bool = False
    """--state itself was given."""
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    is_plugin: bool = False
    """Called as `kubectl graft`."""

    def means_cluster(self, environment: Mapping[str, str], *, is_state_here: bool) -> bool:
        """Choose.

        Args:
            environment: KUBECONFIG counts.
            is_state_here: The current folder holds a `.graft`.

        Returns:
            Whether it is a cluster.

        Raises:
            click.UsageError: Both were named.
        """
        flag = "--kubeconfig" if self.kubeconfig is not None else "--context" if self.context is not None else ""
        if self.is_state_flag and (flag or self.is_plugin):
            other = flag or "`kubectl graft`, which speaks to a cluster"
            raise click.UsageError(f"--state {self.state!r} names a `graft up`, and so it does not go with {other}")
        if self.is_plugin or flag:
            return True
        return self.state is None and not is_state_here and bool(environment.get("KUBECONFIG"))


def open_session(wanted: Wanted) -> Session:
    """Make the session of a command; nothing is asked of a server yet."""
    if wanted.means_cluster(os.environ, is_state_here=Path(DEFAULT_STATE).is_dir()):
        return _open_cluster(wanted)
    client = Client(wanted.state if wanted.state is not None else DEFAULT_STATE)
    return LocalSession(client, wanted.namespace or "default", wanted.namespace is not None)


def _open_cluster(wanted: Wanted) -> "ClusterSession":
    from graft_operator.cli.kube.client import KubeClient
    from graft_operator.cli.kube.session import ClusterSession
    from graft_operator.cluster.credentials import CredentialSource

    source = CredentialSource(
        os.environ,
        kubeconfig=None if wanted.kubeconfig is None else Path(wanted.kubeconfig),
        context=wanted.context or "",
        is_for_person=sys.stderr.isatty(),
    )
    client = KubeClient(source)
    return ClusterSession(client, wanted.namespace or client.credentials.namespace, wanted.namespace is not None)


def is_plugin(ctx: click.Context) -> bool:
    """Say whether the command was called through kubectl."""
    return (ctx.find_root().info_name or "").startswith("kubectl")


def wanted_of(ctx: click.Context) -> Wanted:
    """Read from a command's parameters what they say about its server."""
    given = {name: ctx.params.get(name) for name in ("state", "kubeconfig", "context", "namespace")}
    words = {name: None if value is None else str(value) for name, value in given.items()}
    source = ctx.get_parameter_source("state")
    if source not in {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}:
        words["state"] = None
    return Wanted(**words, is_state_flag=source is ParameterSource.COMMANDLINE, is_plugin=is_plugin(ctx))


def with_state(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--state`."""
    return click.option(
        "--state",
        envvar="GRAFT_STATE",
        default=DEFAULT_STATE,
        show_default=True,
        metavar="DIR",
        type=click.Path(file_okay=False),
        help="State folder of `graft up` (or GRAFT_STATE).",
    )(command)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where to, and hand it a `Session` as its first argument."""

    @with_state
    @click.option(
        "--kubeconfig",
        default=None,
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Speak to the cluster of this kubeconfig.",
    )
    @click.option("--context", default=None, metavar="NAME", help="Speak to the cluster of this context.")
    @click.option(
        "-n",
        "--namespace",
        default=None,
        metavar="NAME",
        help="Namespace of the objects.  [default: default; on a cluster the context's]",
    )
    @click.pass_context
    def run(ctx: click.Context, /, **options: object) -> None:
        rest = {key: value for key, value in options.items() if key not in _OWN}
        command(open_session(wanted_of(ctx)), **rest)

    return update_wrapper(run, command)


_OWN = frozenset({"state", "kubeconfig", "context", "namespace"})
