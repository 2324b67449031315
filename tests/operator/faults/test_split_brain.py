"""Two real operators and a leader that is frozen again and again: while and after the other leads, it writes nothing, by the audit log.

The election itself has 500 schedules on its pure core (tests/operator/cluster/test_lease.py); here processes are stopped by SIGSTOP.
"""

import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest

from tests.operator.handlers.on_api_server import RULES, a_job, checks_of, operator_process, writes_of

if TYPE_CHECKING:
    from tests.cluster.api import Api
    from tests.cluster.fixtures import StartPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TRIALS = 6
JOBS = 6
"""Of each third of a trial: before the freeze, while the leader is frozen, after it wakes."""
PATIENCE_S = 90


def test_a_leader_that_was_frozen_writes_nothing_once_another_leads(own_plane: "StartPlane", tmp_path: Path) -> None:
    from tests.cluster.crds import install, our_crds
    from tests.cluster.processes import until
    from tests.cluster.tenants import make_namespace, make_user

    plane = own_plane(audit=True)
    install(plane.api, our_crds())
    api, namespace = plane.api, make_namespace(plane.api)
    users = {name: make_user(api, "default", name, RULES, cluster_wide=True) for name in ("red", "blue")}
    split: dict[int, list[tuple[str, str, str]]] = {}
    made = 0

    def apply(trial: int, when: str) -> None:
        nonlocal made
        for number in range(JOBS):
            api.create(a_job(namespace, f"{when}-{trial}-{number}"))
        made += JOBS

    with (
        operator_process(users["red"], tmp_path, "red") as red,
        operator_process(users["blue"], tmp_path, "blue") as blue,
    ):
        processes = {"red": red, "blue": blue}
        until(lambda: leader_of(api) in users, PATIENCE_S, "a leader")
        for trial in range(TRIALS):
            first = leader_of(api)
            second = "blue" if first == "red" else "red"
            # In odd trials it is frozen with its hands full, in even ones at rest.
            apply(trial, "early")
            if trial % 2 == 0:
                until(lambda: len(checks_of(api, namespace)) == made, PATIENCE_S, "its checks")
            processes[first].send(signal.SIGSTOP)
            apply(trial, "late")
            until(lambda: leader_of(api) == second, PATIENCE_S, "the other leader")  # noqa: B023  # used at once
            until(lambda: len(checks_of(api, namespace)) == made, PATIENCE_S, "all checks")
            before = len(writes_of(plane, first))
            processes[first].send(signal.SIGCONT)
            apply(trial, "after")
            until(lambda: len(checks_of(api, namespace)) == made, PATIENCE_S, "all checks")
            Event().wait(2)  # what must not come has its time to come
            assert leader_of(api) == second
            if written := writes_of(plane, first)[before:]:
                split[trial] = written
    assert split == {}
    checks = checks_of(api, namespace)
    assert (len(checks), len(set(checks))) == (made, made)
    assert "Traceback" not in red.log + blue.log


def leader_of(api: "Api") -> str:
    """Return who holds the Lease, by the name of its replica."""
    lease = api.find("coordination.k8s.io/v1", "Lease", "default", "graft-operator") or {}
    return str(lease.get("spec", {}).get("holderIdentity", "")).partition("_")[0]
