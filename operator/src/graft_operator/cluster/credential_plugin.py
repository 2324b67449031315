"""Credential plugins of a kubeconfig: `exec`, client.authentication.k8s.io/v1 and v1beta1.

What a plugin says on its standard error goes to a person's terminal, where there is one, and otherwise nowhere: it may hold what it
should not.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final, cast

from graft_core.errors import InvalidInput, NotSupported, Unavailable
from graft_operator.cluster.kubeconfig import KubeconfigUser, Section
from graft_operator.reconcile.kube.parts import parts, text

__all__ = ["run_plugin"]

DEADLINE_S: Final = 30.0
"""What a plugin gets where nobody looks."""
PERSON_DEADLINE_S: Final = 300.0
"""What it gets where a person may have to log in somewhere first."""

API: Final = "client.authentication.k8s.io/"
VERSIONS: Final = (f"{API}v1", f"{API}v1beta1")


def run_plugin(config: KubeconfigUser, environment: Mapping[str, str], *, is_for_person: bool) -> tuple[str, str, str]:
    """Ask the plugin of a user.

    Args:
        config: With `exec` in its user.
        environment: What the plugin gets of it.
        is_for_person: A person looks at the terminal.

    Returns:
        Token, certificate and key; those it did not give are empty.

    Raises:
        InvalidInput: No program is named.
        NotSupported: A version or a mode that is not built, or for which there is no terminal.
        Unavailable: The plugin gave no credentials.
    """
    plugin = cast("Section", config.user["exec"])
    where = f"kubeconfig {config.file}: {config.user_field}.exec"
    command, version = text(plugin, "command"), text(plugin, "apiVersion") or VERSIONS[0]
    if not command:
        raise InvalidInput(
            f"{where}.command is missing; expected the name of a program", path=f"{config.user_field}.exec"
        )
    if version not in VERSIONS:
        raise NotSupported(f"{where}.apiVersion {version!r} is not supported; expected {' or '.join(VERSIONS)}")
    may_ask = is_for_person and sys.stdin.isatty() and text(plugin, "interactiveMode") != "Never"
    if text(plugin, "interactiveMode") == "Always" and not may_ask:
        raise NotSupported(f"{where}.interactiveMode is 'Always', and there is no terminal here; run it from one")
    answer = _run(plugin, config, environment, version, (is_for_person, may_ask))
    status = cast("Section", answer.get("status")) if isinstance(answer.get("status"), dict) else {}
    found = tuple(text(status, name) for name in ("token", "clientCertificateData", "clientKeyData"))
    if answer.get("kind") not in {None, "ExecCredential"} or not any(found):
        raise Unavailable(_failed(plugin, config, "it printed no ExecCredential with a token or a certificate"))
    return found[0], found[1], found[2]


def _run(
    plugin: Section, config: KubeconfigUser, environment: Mapping[str, str], version: str, person: tuple[bool, bool]
) -> Section:
    looks, may_ask = person
    words = [text(plugin, "command"), *(str(word) for word in cast("list[object]", plugin.get("args") or []))]
    extra = {text(entry, "name"): text(entry, "value") for entry in parts(plugin, "env")}
    info = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": _spec(plugin, config, may_ask=may_ask)})
    try:
        ended = subprocess.run(
            words,
            stdin=None if may_ask else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if looks else subprocess.DEVNULL,
            env={**environment, **extra, "KUBERNETES_EXEC_INFO": info},
            cwd=config.file.parent,
            timeout=PERSON_DEADLINE_S if looks else DEADLINE_S,
            check=False,
        )
        if ended.returncode:
            raise Unavailable(_failed(plugin, config, f"exit code {ended.returncode}"))
        answer: object = json.loads(ended.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise Unavailable(_failed(plugin, config, type(error).__name__)) from error
    return cast("Section", answer) if isinstance(answer, dict) else {}


def _spec(plugin: Section, config: KubeconfigUser, *, may_ask: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": may_ask}
    if plugin.get("provideClusterInfo") is True:
        ca = {"certificate-authority-data": base64.b64encode(config.ca.encode()).decode()} if config.ca else {}
        name = {"tls-server-name": config.server_name} if config.server_name else {}
        insecure = {"insecure-skip-tls-verify": True} if config.is_insecure else {}
        spec["cluster"] = {"server": config.server, **ca, **name, **insecure}
    return spec


def _failed(plugin: Section, config: KubeconfigUser, why: str) -> str:
    hint = text(plugin, "installHint").strip()
    return (
        f"credential plugin {text(plugin, 'command')!r} of kubeconfig {config.file} gave no credentials ({why});"
        f" run it by hand to see why{f'. {hint}' if hint else ''}"
    )
