"""Where the API server is and how Graft proves who it is: in a pod from the mounted service account, elsewhere from a kubeconfig.

Read whole each time, so that a rotated token or CA is taken up by reading again. Nothing here ends up in a message but paths and names.
"""

import asyncio
import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from graft_core.errors import InvalidInput
from graft_operator.cluster.credential_plugin import run_plugin
from graft_operator.cluster.kubeconfig import KubeconfigUser, read_section_pem, read_text, resolve

__all__ = ["SERVICE_ACCOUNT", "CredentialSource", "Credentials", "make_tls"]

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts token, CA and namespace."""


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
    origin: str = field(default="", compare=False)
    """Where they were found, for messages."""

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
        is_for_person: bool = False,
    ) -> None:
        """Decide where to read from.

        Args:
            environment: KUBERNETES_SERVICE_HOST and _PORT (set in pods), KUBECONFIG, HOME.
            kubeconfig: File to read; wins over everything else.
            context: Context of the kubeconfig; its current one by default.
            mount: Folder of the service account.
            is_for_person: A person looks at the terminal: a credential plugin may speak to it.
        """
        self._environment = environment
        self._context = context
        self._mount = mount
        self._is_for_person = is_for_person
        self._files = [kubeconfig] if kubeconfig is not None else []
        if not self._files and (environment.get("KUBECONFIG") or context or not self._is_in_pod()):
            named = [Path(name) for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
            self._files = named or [Path(environment.get("HOME", "/")) / ".kube" / "config"]

    async def read(self) -> Credentials:
        """Read the credentials as they are now, beside the event loop; errors as for `load`."""
        return await asyncio.to_thread(self.load)

    def load(self) -> Credentials:
        """Read the credentials as they are now; `InvalidInput` where they make no sense, `Unavailable` where a plugin failed."""
        if not self._files:
            return self._read_mount()
        return _to_credentials(resolve(self._files, self._context), self._environment, for_person=self._is_for_person)

    def _is_in_pod(self) -> bool:
        return bool(self._environment.get("KUBERNETES_SERVICE_HOST")) and (self._mount / "token").is_file()

    def _read_mount(self) -> Credentials:
        host, port = (
            self._environment["KUBERNETES_SERVICE_HOST"],
            self._environment.get("KUBERNETES_SERVICE_PORT", "443"),
        )
        return Credentials(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            namespace=read_text(self._mount / "namespace").strip(),
            ca=read_text(self._mount / "ca.crt"),
            token=read_text(self._mount / "token").strip(),
            origin=f"the service account in {self._mount}",
        )


def make_tls(credentials: Credentials) -> ssl.SSLContext | None:
    """Make the TLS context of these credentials; None for a plain http server."""
    if not credentials.server.startswith("https://"):
        return None
    try:
        tls = ssl.create_default_context(cadata=credentials.ca or None)
    except ssl.SSLError as error:
        raise _unusable(credentials, "certificate-authority", "holds no certificate in PEM") from error
    # Python 3.13 asks of a CA what older clusters' tools did not write into it, and what no other client asks for.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if credentials.is_insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if credentials.certificate:
        with tempfile.NamedTemporaryFile("w", prefix="graft-", suffix=".pem") as file:  # 0600, gone at once
            file.write(f"{credentials.certificate}\n{credentials.key}")
            file.flush()
            try:
                tls.load_cert_chain(file.name)
            except ssl.SSLError as error:
                raise _unusable(credentials, "client-certificate and client-key", "are no pair in PEM") from error
    return tls


def _unusable(credentials: Credentials, fields: str, how: str) -> InvalidInput:
    where = credentials.origin or credentials.server
    return InvalidInput(f"{fields} of {where} {how}; look at the kubeconfig's entry or the file it names", path=fields)


def _to_credentials(config: KubeconfigUser, environment: Mapping[str, str], *, for_person: bool) -> Credentials:
    user = config.user
    token = str(user.get("token") or "")
    if user.get("tokenFile"):
        token = read_text(config.file.parent / str(user["tokenFile"])).strip()
    certificate, key = (
        read_section_pem(user, name, config.file, config.user_field) for name in ("client-certificate", "client-key")
    )
    if isinstance(user.get("exec"), dict):
        given = run_plugin(config, environment, is_for_person=for_person)
        token, certificate, key = (new or old for new, old in zip(given, (token, certificate, key), strict=True))
    return Credentials(
        server=config.server,
        namespace=config.namespace,
        ca=config.ca,
        certificate=certificate,
        key=key,
        token=token,
        basic=(str(user["username"]), str(user.get("password") or "")) if user.get("username") else None,
        is_insecure=config.is_insecure,
        server_name=config.server_name,
        origin=config.origin,
    )
