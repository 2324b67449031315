"""Collected only where there is a node: `make e2e` says so, and runs pytest in the node's network namespace."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.api import Access, Api
from tests.cluster.e2e.surroundings import WHERE, Surroundings, of_node, of_variables
from tests.cluster.tenants import RESTRICTED, make_namespace

if TYPE_CHECKING:
    from tests.cluster.e2e.team import Team

IGNORED = {"": ["test_*.py"], "external": ["test_node.py", "test_policies.py"], "own": []}
"""What needs a node of our own is not run elsewhere."""
collect_ignore_glob = IGNORED[os.environ.get(WHERE, "")]


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
def around() -> Surroundings:
    """The cluster as the story needs it."""
    return of_node() if os.environ[WHERE] == "own" else of_variables()


@pytest.fixture(scope="session")
def team(api: Api, around: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Team"]:
    """A team on a cluster with Graft."""
    from tests.cluster.e2e.chart import install
    from tests.cluster.e2e.team import Team

    folder = tmp_path_factory.mktemp("team")
    found = Team(api, around, make_namespace(api, "team", RESTRICTED))
    install(api, around, found.namespace, folder)
    found.settle_in(folder)
    yield found
    for kind in ("ModelRelease", "FineTuneJob"):
        for item in api.list("graft.dev/v1alpha1", kind, found.namespace):
            api.delete(item)
