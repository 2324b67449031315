"""What every test gets: an offline, repeatable process, and limits that follow from its markers.

A test without a marker is a unit test: two seconds, no socket. `loopback` opens 127.0.0.1 to a fast test; `slow`,
`e2e`, `cluster` and `bench` open it too and get minutes. Nothing reaches further than this machine.
"""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

__all__: list[str] = []

pytest_plugins = ["tests.cluster.fixtures"]
"""Fixtures of the test cluster, for `cluster` tests in any folder; importing them costs nothing."""

MEANT_FOR_TESTS = ("GRAFT_TEST_", "GRAFT_KSERVE")
"""Beginnings of the settings that are for the tests themselves."""

LOOPBACK = ["127.0.0.1", "::1", "localhost", "0.0.0.0"]
"""Hosts a marked test may connect to."""

TIMEOUT_S = {"e2e": 900, "slow": 600, "bench": 600, "cluster": 300, "loopback": 20}
"""Seconds by marker, the first that applies; a test's own `timeout` marker wins. Others: pytest's ini, 2 s."""

# Before any ML library is imported: models come from the disk or are made on the spot. One thread each: the models
# are tiny, and threads that wait for each other on a busy machine cost more than they bring.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Property tests find the same cases on every machine; a found fault becomes an @example or a test of its own.
settings.register_profile(
    "graft",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("graft")


def pytest_configure() -> None:
    """Forget what the developer's shell says to Graft: tests pass their settings themselves."""
    for name in [name for name in os.environ if name.startswith("GRAFT_") and not name.startswith(MEANT_FOR_TESTS)]:
        del os.environ[name]
    # A shell that runs tests in the background has them ignore Ctrl-C, and every process they start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Turn the markers into a time limit and the hosts that may be reached."""
    # Files with the longest tests first: several workers (pytest -n) then end together.
    long = {
        item.path: rank
        for rank, kind in enumerate(("slow", "cluster", "e2e"), 1)
        for item in items
        if item.get_closest_marker(kind)
    }
    items.sort(key=lambda item: -long.get(item.path, 0))
    for item in items:
        kinds = [kind for kind in TIMEOUT_S if item.get_closest_marker(kind)]
        if not kinds:
            continue
        item.add_marker(pytest.mark.allow_hosts(LOOPBACK))
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S[kinds[0]]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in the processes of whole stories: it makes each start of a trainer half as long again."""
    is_story = any(item.get_closest_marker(kind) for kind in ("e2e", "cluster", "no_cover"))
    config = os.environ.pop("COVERAGE_PROCESS_CONFIG", None) if is_story else None
    try:
        return (yield)
    finally:
        if config is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = config
