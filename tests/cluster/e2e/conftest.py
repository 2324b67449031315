"""Collected only where there is a node: `make e2e` says so, and runs pytest in the node's network namespace."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.api import Access, Api
from tests.cluster.tenants import RESTRICTED, make_namespace

if TYPE_CHECKING:
    from tests.cluster.e2e.team import Team

WHERE = os.environ.get("GRAFT_TEST_NODE", "")
collect_ignore_glob = {"": ["test_*.py"], "external": ["test_node.py", "test_policies.py"], "own": []}[WHERE]


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of the administrator of the cluster with nodes."""
    access = Access.from_kubeconfig(Path(os.environ["KUBECONFIG"]), tmp_path_factory.mktemp("access"))
    with Api(access) as client:
        yield client


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace that enforces what Graft promises for its pods; ended with the test."""
    name = make_namespace(api, labels=RESTRICTED)
    yield name
    api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@pytest.fixture(scope="session")
def team(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Team"]:
    """A team on a cluster with Graft."""
    from tests.cluster.e2e.chart import install
    from tests.cluster.e2e.team import Team
    from tests.cluster.graft_images import loaded
    from tests.cluster.node.places import STORE

    folder = tmp_path_factory.mktemp("team")
    images = loaded(STORE)
    assert images is not None, "the node was started without Graft's images: `make e2e`, or `make cluster-up`"
    found = Team(api, make_namespace(api, "team", RESTRICTED))
    install(api, images, found.namespace, folder)
    found.settle_in(folder)
    yield found
    for kind in ("ModelRelease", "FineTuneJob"):
        for item in api.list("graft.dev/v1alpha1", kind, found.namespace):
            api.delete(item)
