"""kopf's settings, its login, and the operator's beginning and end."""

import os
import random
from collections.abc import Iterator
from typing import Final

import kopf

from graft_core.api.v1alpha1.names import LABEL_UID
from graft_operator.cluster.credentials import Credentials
from graft_operator.handlers.children import WATCHED
from graft_operator.handlers.runtime import Runtime
from graft_operator.settings import OperatorSettings

__all__ = ["begin", "configure", "end", "log_in", "to_connection"]

LONGEST_RETRY_S: Final = 30.0


class Backoffs:
    """Waits between tries of a watch or list: doubled up to a bound, spread, without end."""

    def __iter__(self) -> Iterator[float]:
        """Begin anew."""
        wait_s = 0.5
        while True:
            yield wait_s * random.uniform(0.5, 1.0)
            wait_s = min(LONGEST_RETRY_S, wait_s * 2)


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps nothing and compares nothing: Graft's passes read objects whole."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Return an essence of nothing."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return that nothing was stored."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


@kopf.on.startup()
async def begin(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    """Configure kopf; under `kopf run` also begin, as nobody else has."""
    if "runtime" not in memo:
        memo.runtime = Runtime(OperatorSettings.from_environment(os.environ), os.environ, is_own=True)
        await memo.runtime.start()
    configure(settings, memo.runtime.settings.list_chunk, is_narrow=bool(memo.runtime.settings.namespaces))


@kopf.on.cleanup()
async def end(memo: kopf.Memo, **_: object) -> None:
    """Under `kopf run`: finish what is under way and give the Lease back."""
    if memo.runtime.is_own:
        await memo.runtime.stop()


@kopf.on.login()
async def log_in(memo: kopf.Memo, **_: object) -> kopf.ConnectionInfo:
    """Hand the operator's own credentials to kopf, read anew each time it asks."""
    runtime: Runtime = memo.runtime
    return to_connection(await runtime.credentials.read())


def to_connection(found: Credentials) -> kopf.ConnectionInfo:
    """Say in kopf's words where the API server is and who asks."""
    user, password = found.basic or (None, None)
    return kopf.ConnectionInfo(
        server=found.server,
        ca_data=found.ca or None,
        insecure=found.is_insecure,
        username=user,
        password=password,
        token=found.token or None,
        certificate_data=found.certificate or None,
        private_key_data=found.key or None,
        default_namespace=found.namespace,
    )


def configure(settings: kopf.OperatorSettings, chunk: int, *, is_narrow: bool = False) -> None:
    """Have kopf watch, and do nothing else.

    Args:
        settings: Kopf's own, to be changed.
        chunk: Objects in a page of a watch's first list.
        is_narrow: Only named namespaces are served: there are Roles in them and no right on the cluster. Kopf would otherwise list
            namespaces and definitions, and try again without end where that is forbidden.
    """
    settings.scanning.disabled = is_narrow
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffs()
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = Backoffs()
    settings.watching.chunk_size = chunk
    settings.watching.server_timeout = 280  # by the server's own five minutes at the least
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70  # bookmarks come once a minute
    settings.watching.reconnect_backoff = random.uniform(0.1, 0.5)
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = 0.5
    for resource in WATCHED:
        version = resource.api_version.rpartition("/")[2]
        settings.watching.label_selectors[resource.group, version, resource.plural] = LABEL_UID
