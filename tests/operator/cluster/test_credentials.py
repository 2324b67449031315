"""Credentials: in a pod from the mount, elsewhere from a kubeconfig, told apart by what is there; never shown."""

import base64
import json
import stat
from pathlib import Path

import pytest

from graft_core.errors import InvalidInput, Unavailable
from graft_operator.cluster.credentials import Credentials, CredentialSource, make_tls

SECRET = "canary-9f2c"


def kubeconfig(folder: Path, user: dict[str, object], **cluster: object) -> Path:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ml"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


async def test_a_pod_reads_its_mount_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("graft-system\n")
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "token").write_text("first\n")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    source = CredentialSource(environment, mount=tmp_path)
    found = await source.read()
    assert (found.server, found.namespace, found.ca) == ("https://[fd00::1]:443", "graft-system", "CA")
    assert found.authorization == "Bearer first"
    (tmp_path / "token").write_text("second")
    assert (await source.read()).authorization == "Bearer second"


async def test_a_kubeconfig_says_server_namespace_and_user(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    key = base64.b64encode(b"KEY").decode()
    path = kubeconfig(tmp_path, {"client-key-data": key}, **{"certificate-authority": "ca.pem", "tls-server-name": "k"})
    found = await CredentialSource({"KUBECONFIG": str(path)}).read()
    assert found == Credentials("https://10.0.0.1:6443", "ml", ca="CA", key="KEY", server_name="k")


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": SECRET}, f"Bearer {SECRET}"),
        ({"username": "a", "password": SECRET}, "Basic " + base64.b64encode(f"a:{SECRET}".encode()).decode()),
        ({}, ""),
    ],
)
async def test_who_one_is_becomes_a_header_and_is_shown_to_nobody(
    tmp_path: Path, user: dict[str, object], header: str
) -> None:
    found = await CredentialSource({}, kubeconfig=kubeconfig(tmp_path, user)).read()
    assert found.authorization == header
    assert SECRET not in repr(found)


async def test_a_plugin_is_asked_and_its_words_are_kept_to_itself(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    status = json.dumps({"status": {"token": SECRET}})
    plugin.write_text(
        f"#!/bin/sh\necho '{SECRET}' >&2\n[ \"$1\" = ok ] && [ -n \"$KUBERNETES_EXEC_INFO\" ] && echo '{status}'\n"
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    command: dict[str, object] = {"command": str(plugin), "args": ["ok"], "env": [{"name": "A", "value": "b"}]}
    found = await CredentialSource({}, kubeconfig=kubeconfig(tmp_path, {"exec": command})).read()
    assert found.authorization == f"Bearer {SECRET}"
    with pytest.raises(Unavailable, match="gave no credentials") as caught:
        await CredentialSource({}, kubeconfig=kubeconfig(tmp_path, {"exec": {**command, "args": ["no"]}})).read()
    assert SECRET not in str(caught.value)


async def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"has no context 'other', expected one of \['c'\]"):
        await CredentialSource({}, kubeconfig=kubeconfig(tmp_path, {}), context="other").read()
    with pytest.raises(InvalidInput, match="cannot be read"):
        await CredentialSource({"HOME": str(tmp_path)}).read()
    (tmp_path / "bad").write_text("a: [")
    with pytest.raises(InvalidInput, match="is not YAML"):
        await CredentialSource({}, kubeconfig=tmp_path / "bad").read()


def test_tls_is_for_https_and_looks_at_certificates_unless_told_not_to() -> None:
    assert make_tls(Credentials("http://localhost")) is None
    strict = make_tls(Credentials("https://localhost"))
    loose = make_tls(Credentials("https://localhost", is_insecure=True))
    assert strict is not None
    assert loose is not None
    assert (strict.check_hostname, loose.check_hostname) == (True, False)
