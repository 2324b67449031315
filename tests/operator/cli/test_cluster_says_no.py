"""A cluster that says no, one that isn't there, and one that is badly named."""

import json
import socket
from typing import Any

import pytest

from tests.operator.cli.conftest import Graft
from tests.operator.cli.served_cluster import ServedCluster, status

pytestmark = pytest.mark.loopback

Json = dict[str, Any]


def test_the_version_says_which_server(kubectl: Graft, cluster: ServedCluster) -> None:
    server = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]

    assert f"Kubernetes v9.9.9 at {server} (context 'test' of kubeconfig" in kubectl("version").out


@pytest.mark.parametrize(
    ("code", "body", "told"),
    [
        (
            401,
            status(401, "Unauthorized", "Unauthorized"),
            "does not accept these credentials: Unauthorized; log in again",
        ),
        (403, status(403, "Forbidden", 'User "a" cannot list resource'), 'error: User "a" cannot list resource'),
        (404, "404 page not found", "does not serve graft.dev/v1alpha1: Graft's definitions are not installed there"),
        (404, status(404, "NotFound", "the server could not find the requested resource"), "`helm install graft"),
        (429, status(429, "TooManyRequests", "too many"), "answered 429: too many; try again"),
        (500, "<html>", "answered 500: it answered 500 without a word; try again"),
        (413, status(413, "RequestEntityTooLarge", "limit is 3145728"), "limit is 3145728"),
    ],
)
def test_a_cluster_that_says_no_is_understood(
    kubectl: Graft, cluster: ServedCluster, code: int, body: Json | str, told: str
) -> None:
    cluster.double.canned = [("GET", "/modelreleases", code, body)] * 2  # a 401 is asked again with fresh credentials

    ran = kubectl("get", "mr")

    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err
    assert "canary" not in ran.err


def test_a_renewed_token_is_taken_up(kubectl: Graft, cluster: ServedCluster) -> None:
    cluster.double.canned = [("GET", "/modelreleases", 401, status(401, "Unauthorized", "Unauthorized"))]

    assert kubectl("get", "mr").code == 0


def test_a_server_that_is_not_there_is_named(kubectl: Graft, cluster: ServedCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster.write_kubeconfig(f"http://127.0.0.1:{port}")

    ran = kubectl("get", "mr")

    assert ran.code == 1
    assert f"the cluster's API server http://127.0.0.1:{port} (context 'test' of kubeconfig" in ran.err
    assert ran.err.endswith("Connection refused\n")


def test_a_server_that_speaks_no_tls_is_named(kubectl: Graft, cluster: ServedCluster) -> None:
    url = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    cluster.write_kubeconfig(url.replace("http://", "https://"))

    assert "is out of reach for GET /apis/graft.dev/v1alpha1/namespaces/ml/modelreleases: " in kubectl("get", "mr").err


def test_a_kubeconfig_that_is_wrong_names_its_field(kubectl: Graft, cluster: ServedCluster) -> None:
    cluster.write_kubeconfig("10.0.0.1")

    assert kubectl("get", "mr").err == (
        f"error: kubeconfig {cluster.kubeconfig}: clusters['c'].cluster.server '10.0.0.1' is not the URL of a server;"
        " expected e.g. https://10.0.0.1:6443\n"
    )
    assert "has no context 'x', expected one of ['test']" in kubectl("get", "mr", "--context", "x").err
