"""A control plane of real parts, in two to three seconds: etcd and kube-apiserver, controllers where they are asked for.

    with ControlPlane.start() as plane:
        plane.api.create({...}); plane.kubeconfig; plane.processes.kill("kube-apiserver"); plane.start_apiserver()

Real: storage, watches, admission with CEL and policies, Pod Security, RBAC, server-side apply, audit. Not there unless asked for
by `controllers`: the controller-manager, and so garbage collection, namespaces that end, Jobs that make pods. Never there: nodes.
"""

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml

from graft_operator.local.sockets import free_port
from tests.cluster import arguments, tenants
from tests.cluster.api import Access, Api, ApiError, Json, write_kubeconfig
from tests.cluster.certificates import Authority, write_key
from tests.cluster.errors import BedError
from tests.cluster.processes import HOST, Processes, is_ready, new_run_folder, until
from tests.cluster.programs import kube_program

__all__ = ["ControlPlane"]

API_PATIENCE_S = 60
"""Far above the two seconds a start takes: a busy machine is no fault of a test."""
ATTEMPTS = 3
"""A free port may be taken between the look and the start."""
ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLERS = "kube-controller-manager"

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
"""Who did what to which object and when: enough for verbs used and latencies, and no content."""


@dataclass(slots=True)
class ControlPlane:
    """A running control plane; leave the `with` to stop it and remove its folder."""

    folder: Path
    processes: Processes
    audit: bool
    controllers: tuple[str, ...]
    etcd_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _api: Api | None = None

    @classmethod
    def start(cls, *, audit: bool = False, controllers: Sequence[str] = ()) -> Self:
        """Start one and wait until it is ready.

        Args:
            audit: Write `audit_log`.
            controllers: Of the controller-manager, such as `garbage-collector-controller`; none leaves it out.

        Returns:
            To be used in `with`.

        Raises:
            BedError: It does not start; the message has the end of a log. NothingToRun: no binaries and no Go.
        """
        kube_program(API_SERVER)  # built before a port is chosen
        for left in reversed(range(ATTEMPTS)):
            try:
                return cls._start_once(audit, tuple(controllers))
            except BedError:
                if not left:
                    raise
        raise AssertionError

    @classmethod
    def _start_once(cls, audit: bool, controllers: tuple[str, ...]) -> Self:
        folder = new_run_folder("controlplane")
        plane = cls(folder, Processes(folder), audit, controllers)
        with ExitStack() as undo:
            undo.callback(plane.stop)
            plane._write_files()
            plane.start_etcd()
            plane.start_apiserver()
            until(plane._has_default_account, API_PATIENCE_S, "the namespace default", plane.processes)
            if controllers:
                plane._start_controllers()
            undo.pop_all()
        return plane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def server(self) -> str:
        """`https://host:port`."""
        return f"https://{HOST}:{self.port}"

    @property
    def ca(self) -> Path:
        """Certificate of the authority that signed the server's."""
        return self.folder / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator."""
        return self.folder / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON event a line, where an audit was asked for."""
        return self.folder / "audit.log"

    def audited(self) -> Iterator[Json]:
        """Read the audit's events, in whatever order they ended; the line that the server is writing is left for the next time."""
        for path in sorted(self.folder.glob("audit*.log")):
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def audited_writes(self) -> Iterator[Json]:
        """Read those of the audit's events that are no reads."""
        return (event for event in self.audited() if event["verb"] not in {"get", "list", "watch"})

    @property
    def access(self) -> Access:
        """The administrator's."""
        return Access(self.server, self.ca, self.token)

    @property
    def api(self) -> Api:
        """A client of the administrator's, made at first use."""
        if self._api is None:
            self._api = Api(self.access)
        return self._api

    def start_etcd(self) -> None:
        """Start etcd, at first or after a kill; its data stays."""
        self.processes.start(ETCD, kube_program(ETCD), *arguments.etcd(self._listen, free_port()))

    def start_apiserver(self) -> None:
        """Start the API server, at first or after a kill, and wait until it is ready."""
        self.processes.start(API_SERVER, kube_program(API_SERVER), *arguments.apiserver(self._listen))
        until(self.is_ready, API_PATIENCE_S, f"{self.server}/readyz", self.processes)

    def is_ready(self) -> bool:
        """Does the API server say that it is ready?"""
        return is_ready(self.api.http)

    def stop(self) -> None:
        """Stop all, and remove what they wrote."""
        if self._api is not None:
            self._api.http.close()
        self.processes.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _listen(self) -> arguments.Server:
        return arguments.Server(self.etcd_port, self.port, audit_log=self.audit_log if self.audit else None)

    def _has_default_account(self) -> bool:
        """Make what the controller-manager would, so that pods can be made in `default` too."""
        try:
            self.api.apply(tenants.default_account("default"))
        except ApiError as error:
            if error.status != 404:  # the server makes the namespace a moment after it is ready
                raise
            return False
        return True

    def _write_files(self) -> None:
        authority = Authority.create(self.folder)
        authority.issue("server", API_SERVER, hosts=(HOST, "localhost", "kubernetes.default.svc"))
        write_key(self.folder / "sa.key")
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f"{self.token},admin,admin,system:masters\n")
        (self.folder / "audit.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        write_kubeconfig(self.kubeconfig, self.access)

    def _start_controllers(self) -> None:
        given = arguments.controller_manager(self.kubeconfig, ",".join(self.controllers))
        self.processes.start(CONTROLLERS, kube_program(CONTROLLERS), *given)
