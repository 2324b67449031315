"""Collected only where there is a node: `make e2e` says so, and runs pytest in the node's network namespace."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import Access, Api
from tests.cluster.tenants import make_namespace

WHERE = os.environ.get("GRAFT_TEST_NODE", "")
collect_ignore_glob = {"": ["test_*.py"], "external": ["test_node.py"], "own": []}[WHERE]


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of the administrator of the cluster with nodes."""
    access = Access.from_kubeconfig(Path(os.environ["KUBECONFIG"]), tmp_path_factory.mktemp("access"))
    with Api(access) as client:
        yield client


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace that enforces what Graft promises for its pods; ended with the test."""
    name = make_namespace(api, labels={"pod-security.kubernetes.io/enforce": "restricted"})
    yield name
    api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
