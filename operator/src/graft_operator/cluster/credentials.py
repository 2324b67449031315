"""Where the API server is and how Graft proves who it is: in a pod from the mounted service account, elsewhere from a kubeconfig.

Read whole each time, so that a rotated token or CA is taken up by reading again. Nothing here ends up in a message but paths and names.
"""

import asyncio
import base64
import json
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import yaml

from graft_core.errors import InvalidInput, Unavailable
from graft_operator.reconcile.kube.parts import part, parts, text

__all__ = ["SERVICE_ACCOUNT", "CredentialSource", "Credentials", "make_tls"]

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts token, CA and namespace."""

EXEC_DEADLINE_S: Final = 30.0
"""What a kubeconfig's credential plugin gets."""

Section = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach one API server; secrets are left out of its repr."""

    server: str
    namespace: str = "default"
    """Namespace of the pod, or of the kubeconfig's context."""
    ca: str = field(default="", repr=False)
    """PEM; empty: the system's own."""
    certificate: str = field(default="", repr=False)
    """PEM of the client's certificate."""
    key: str = field(default="", repr=False)
    """PEM of the client's key."""
    token: str = field(default="", repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    """User and password."""
    is_insecure: bool = False
    """Whether the server's certificate is not looked at (`insecure-skip-tls-verify`)."""
    server_name: str = ""
    """Name the server's certificate is held to, where it is not the URL's host."""

    @property
    def authorization(self) -> str:
        """Value of the Authorization header; empty where a client certificate says it all."""
        if self.token:
            return f"Bearer {self.token}"
        if self.basic is not None:
            return "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()
        return ""


class CredentialSource:
    """Reads credentials, as often as asked."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        kubeconfig: Path | None = None,
        context: str = "",
        mount: Path = SERVICE_ACCOUNT,
    ) -> None:
        """Decide where to read from.

        Args:
            environment: KUBERNETES_SERVICE_HOST and _PORT (set in pods), KUBECONFIG, HOME.
            kubeconfig: File to read; wins over everything else.
            context: Context of the kubeconfig; its current one by default.
            mount: Folder of the service account.
        """
        self._environment = environment
        self._context = context
        self._mount = mount
        self._kubeconfig = kubeconfig
        if kubeconfig is None and (environment.get("KUBECONFIG") or not self._is_in_pod()):
            # Of a list of files only the first is read: merging them is kubectl's, and `kubectl config view --flatten` does it.
            first = environment.get("KUBECONFIG", "").split(os.pathsep)[0]
            self._kubeconfig = Path(first or Path(environment.get("HOME", "/")) / ".kube" / "config")

    async def read(self) -> Credentials:
        """Read the credentials as they are now; `InvalidInput` where they make no sense, `Unavailable` where a plugin failed."""
        if self._kubeconfig is None:
            return self._read_mount()
        return await _read_kubeconfig(self._kubeconfig, self._context, self._environment)

    def _is_in_pod(self) -> bool:
        return bool(self._environment.get("KUBERNETES_SERVICE_HOST")) and (self._mount / "token").is_file()

    def _read_mount(self) -> Credentials:
        host, port = (
            self._environment["KUBERNETES_SERVICE_HOST"],
            self._environment.get("KUBERNETES_SERVICE_PORT", "443"),
        )
        return Credentials(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            namespace=_read_text(self._mount / "namespace").strip(),
            ca=_read_text(self._mount / "ca.crt"),
            token=_read_text(self._mount / "token").strip(),
        )


def make_tls(credentials: Credentials) -> ssl.SSLContext | None:
    """Make the TLS context of these credentials; None for a plain http server."""
    if not credentials.server.startswith("https://"):
        return None
    tls = ssl.create_default_context(cadata=credentials.ca or None)
    # Python 3.13 asks of a CA what older clusters' tools did not write into it, and what no other client asks for.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if credentials.is_insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if credentials.certificate:
        with tempfile.NamedTemporaryFile("w", prefix="graft-", suffix=".pem") as file:  # 0600, gone at once
            file.write(f"{credentials.certificate}\n{credentials.key}")
            file.flush()
            tls.load_cert_chain(file.name)
    return tls


async def _read_kubeconfig(path: Path, wanted: str, environment: Mapping[str, str]) -> Credentials:
    try:
        loaded: object = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise InvalidInput(f"kubeconfig {path} is not YAML; expected what `kubectl config view` shows") from error
    config = cast("Section", loaded) if isinstance(loaded, dict) else {}
    name = wanted or str(config.get("current-context") or "")
    context = _entry(config, "contexts", "context", name, path)
    cluster = _entry(config, "clusters", "cluster", str(context.get("cluster")), path)
    user = _entry(config, "users", "user", str(context.get("user")), path) if context.get("user") else {}
    if isinstance(user.get("exec"), dict):
        user = {**user, **await _run_plugin(cast("Section", user["exec"]), path, environment)}
    base = path.parent
    token = str(user.get("token") or "")
    if user.get("tokenFile"):
        token = _read_text(base / str(user["tokenFile"])).strip()
    return Credentials(
        server=str(cluster.get("server") or "").rstrip("/"),
        namespace=str(context.get("namespace") or "default"),
        ca=_pem(cluster, "certificate-authority", base),
        certificate=_pem(user, "client-certificate", base),
        key=_pem(user, "client-key", base),
        token=token,
        basic=(str(user["username"]), str(user.get("password") or "")) if user.get("username") else None,
        is_insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=str(cluster.get("tls-server-name") or ""),
    )


def _entry(config: Section, plural: str, singular: str, name: str, path: Path) -> Section:
    found = {text(entry, "name"): entry for entry in parts(config, plural)}
    if name not in found or singular not in found[name]:
        raise InvalidInput(
            f"kubeconfig {path} has no {singular} {name!r}, expected one of {sorted(found)}; choose a context that is there",
            path=plural,
        )
    return part(found[name], singular)


def _pem(section: Section, name: str, base: Path) -> str:
    if data := section.get(f"{name}-data"):
        return base64.b64decode(str(data)).decode()
    return _read_text(base / str(section[name])) if section.get(name) else ""


async def _run_plugin(plugin: Section, path: Path, environment: Mapping[str, str]) -> Section:
    words = cast("list[object]", plugin.get("args") or [])
    command = [text(plugin, "command"), *map(str, words)]
    version = text(plugin, "apiVersion") or "client.authentication.k8s.io/v1"
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    extra = {text(entry, "name"): text(entry, "value") for entry in parts(plugin, "env")}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # what a plugin says may hold what it should not
            env={**environment, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            cwd=path.parent,
        )
        try:
            async with asyncio.timeout(EXEC_DEADLINE_S):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        status: Section = json.loads(out)["status"]
    except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"credential plugin {command[0]!r} of kubeconfig {path} gave no credentials ({type(error).__name__});"
            " run it by hand to see why"
        ) from error
    return {
        "token": status.get("token"),
        "client-certificate-data": _encoded(status.get("clientCertificateData")),
        "client-key-data": _encoded(status.get("clientKeyData")),
    }


def _encoded(pem: object) -> str | None:
    return base64.b64encode(str(pem).encode()).decode() if pem else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}); in a pod mount a service account, elsewhere name a kubeconfig"
            " with KUBECONFIG",
            path=str(path),
        ) from error
