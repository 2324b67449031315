"""Kubeconfigs: several files, credential plugins, and every field that is wrong or not built named, with its file and no secret."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from graft_core.errors import InvalidInput, NotSupported, Unavailable
from graft_operator.cluster.credentials import Credentials, CredentialSource, make_tls

SECRET = "canary-7d1e"

Json = dict[str, Any]


def write(path: Path, **parts: Any) -> Path:
    """Write a kubeconfig of one context; keywords replace its parts."""
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443"}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
        **parts,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config))
    return path


def of_user(user: Json) -> Json:
    return {"users": [{"name": "u", "user": user}]}


def of_cluster(cluster: Json) -> Json:
    return {"clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443", **cluster}}]}


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_of_several_files_the_first_that_names_a_thing_wins(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "token").write_text("of-b\n")
    first = write(tmp_path / "a" / "config", **{"current-context": "", "users": [], "clusters": None})
    second = write(tmp_path / "b" / "config", **of_user({"tokenFile": "token"}))
    third = write(tmp_path / "c" / "config", **of_cluster({"server": "https://other"}))
    files = [tmp_path / "missing", first, second, third]

    found = CredentialSource({"KUBECONFIG": ":".join(map(str, files))}).load()

    assert (found.server, found.authorization) == ("https://10.0.0.1:6443", "Bearer of-b")
    assert found.origin == f"context 'c' of kubeconfig {first}"


def test_a_context_that_is_asked_for_leads_out_of_the_pod(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mounted")
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config")
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.9", "HOME": str(tmp_path)}

    assert CredentialSource(environment, context="c", mount=tmp_path).load().server == "https://10.0.0.1:6443"


@pytest.mark.parametrize(
    ("parts", "field", "told"),
    [
        ({"current-context": ""}, "current-context", "name one with --context"),
        ({"current-context": "x"}, "contexts", r"has no context 'x', expected one of \['c'\]"),
        ({"users": []}, "users", "has no user 'u'"),
        (of_cluster({"server": ""}), "clusters['k'].cluster.server", "server is missing; expected e.g. https://"),
        (of_cluster({"server": "10.0.0.1"}), "clusters['k'].cluster.server", "'10.0.0.1' is not the URL of a server"),
        (
            of_cluster({"insecure-skip-tls-verify": "false"}),
            "clusters['k'].cluster.insecure-skip-tls-verify",
            "'false'; expected true or false",
        ),
        (
            of_cluster({"certificate-authority-data": "???"}),
            "clusters['k'].cluster.certificate-authority-data",
            "is not base64 of a PEM text",
        ),
        (of_cluster({"certificate-authority": "gone.pem"}), "", "gone.pem cannot be read"),
        (of_user({"client-key-data": f"?{SECRET}"}), "users['u'].user.client-key-data", "is not base64"),
        (of_user({"exec": {"args": ["x"]}}), "users['u'].user.exec", "exec.command is missing"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(tmp_path: Path, parts: Json, field: str, told: str) -> None:
    path = write(tmp_path / "config", **parts)

    with pytest.raises(InvalidInput, match=told) as caught:
        CredentialSource({}, kubeconfig=path).load()

    assert str(tmp_path) in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.path == (field or str(tmp_path / "gone.pem"))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (of_cluster({"proxy-url": "http://proxy"}), r"clusters\['k'\]\.cluster\.proxy-url is not supported"),
        (of_user({"auth-provider": {"name": "gcp"}}), r"users\['u'\]\.user\.auth-provider is not supported"),
        (of_user({"as": "admin"}), r"users\['u'\]\.user\.as is not supported; log in as that user"),
        (
            of_user({"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
            "v1alpha1' is not supported; expected client.authentication.k8s.io/v1 or",
        ),
        (of_user({"exec": {"command": "x", "interactiveMode": "Always"}}), "there is no terminal here"),
    ],
)
def test_what_is_not_built_is_refused_by_name(tmp_path: Path, parts: Json, told: str) -> None:
    with pytest.raises(NotSupported, match=told):
        CredentialSource({}, kubeconfig=write(tmp_path / "config", **parts)).load()


@pytest.mark.parametrize("body", ["- a\n- b\n", "just words"])
def test_a_file_that_is_something_else_says_what(tmp_path: Path, body: str) -> None:
    (tmp_path / "config").write_text(body)

    with pytest.raises(InvalidInput, match=r"is a (list|str); expected an object"):
        CredentialSource({}, kubeconfig=tmp_path / "config").load()


def test_a_plugin_is_told_of_the_cluster_and_may_give_a_certificate(tmp_path: Path) -> None:
    answer = {"kind": "ExecCredential", "status": {"clientCertificateData": "CERT", "clientKeyData": "KEY"}}
    plugin = script(tmp_path / "plugin", f"echo \"$KUBERNETES_EXEC_INFO\" > info; echo '{json.dumps(answer)}'")
    user = {
        "exec": {
            "command": str(plugin),
            "provideClusterInfo": True,
            "apiVersion": "client.authentication.k8s.io/v1beta1",
        }
    }
    ca = base64.b64encode(b"CA").decode()
    path = write(tmp_path / "config", **of_user(user), **of_cluster({"certificate-authority-data": ca}))

    found = CredentialSource({}, kubeconfig=path).load()

    assert (found.certificate, found.key, found.authorization) == ("CERT", "KEY", "")
    assert json.loads((tmp_path / "info").read_text()) == {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority-data": ca},
        },
    }


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["exit 3"], r"gave no credentials \(exit code 3\)"),
        (["echo '{}'"], "it printed no ExecCredential with a token or a certificate"),
        (["echo nonsense"], "JSONDecodeError"),
    ],
)
def test_a_plugin_that_fails_says_how_and_how_to_get_it(tmp_path: Path, lines: list[str], told: str) -> None:
    plugin = script(tmp_path / "plugin", *lines)
    user = {"exec": {"command": str(plugin), "installHint": "Get it from your platform team."}}

    with pytest.raises(Unavailable, match=told) as caught:
        CredentialSource({}, kubeconfig=write(tmp_path / "config", **of_user(user))).load()

    assert str(caught.value).endswith("run it by hand to see why. Get it from your platform team.")


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (Credentials("https://k", ca="nonsense"), "certificate-authority of https://k holds no certificate in PEM"),
        (
            Credentials("https://k", certificate="a", key="b", origin="context 'c'"),
            "client-certificate and client-key of context 'c' are no pair in PEM",
        ),
    ],
)
def test_certificates_that_are_none_are_named(credentials: Credentials, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        make_tls(credentials)
