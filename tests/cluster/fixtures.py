"""Fixtures for tests marked `cluster`, wherever they are: tests/conftest.py makes them known to all folders.

    control_plane   one etcd and kube-apiserver for the whole session, with Graft's, KServe's and the Gateway API's CRDs
    managed_plane   another one, in which Kubernetes' own Job controller and garbage collector work
    namespace       a fresh namespace in control_plane, for one test
    s3_server       an S3 server of the test's own
    own_plane       a control plane of the test's own: for tests that kill it, fill it, or count what it was asked

A control plane with all CRDs costs 20 s of processor time and 800 MB, so what can share one does.

They import what they need when they are asked for, so that unit tests don't wait for it.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from tests.cluster.errors import NothingToRun

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.s3server import S3Server

__all__ = ["StartPlane", "control_plane", "managed_plane", "namespace", "own_plane", "s3_server", "start_or_skip"]

T = TypeVar("T")


class StartPlane(Protocol):
    """Starts a control plane that ends with the test; arguments as for `ControlPlane.start`."""

    def __call__(self, *, audit: bool = False, controllers: tuple[str, ...] = ()) -> "ControlPlane":
        """Start one without CRDs."""
        ...


@pytest.fixture(scope="session")
def control_plane() -> Iterator["ControlPlane"]:
    """The session's control plane, with all CRDs that the operator meets."""
    with _started_whole() as plane:
        yield plane


@pytest.fixture(scope="session")
def managed_plane() -> Iterator["ControlPlane"]:
    """The same, and Jobs make pods, and what is owned goes with its owner."""
    with _started_whole("job-controller", "garbage-collector-controller") as plane:
        yield plane


@pytest.fixture
def namespace(control_plane: "ControlPlane") -> str:
    """A namespace in which nobody else works."""
    from tests.cluster.tenants import make_namespace

    return make_namespace(control_plane.api)


@pytest.fixture
def own_plane() -> Iterator[StartPlane]:
    """Start control planes of the test's own."""
    from tests.cluster.controlplane import ControlPlane

    with ExitStack() as planes:

        def start(*, audit: bool = False, controllers: tuple[str, ...] = ()) -> ControlPlane:
            return planes.enter_context(start_or_skip(lambda: ControlPlane.start(audit=audit, controllers=controllers)))

        yield start


@pytest.fixture
def s3_server() -> Iterator["S3Server"]:
    """An S3 server with one empty bucket."""
    from tests.cluster.s3server import S3Server

    with start_or_skip(S3Server.start) as server:
        yield server


@contextmanager
def _started_whole(*controllers: str) -> Generator["ControlPlane"]:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.crds import GATEWAY_API, KSERVE, install, our_crds

    with start_or_skip(lambda: ControlPlane.start(controllers=controllers)) as plane:
        install(plane.api, [*our_crds(), *GATEWAY_API.crds(), *KSERVE.crds()])
        yield plane


def start_or_skip(start: Callable[[], T]) -> T:
    """Start a part of the bed; where there is nothing to run, skip the test, and fail it in CI."""
    try:
        return start()
    except NothingToRun as nothing:
        message = f"NOT TESTED, no Kubernetes here: {nothing}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
