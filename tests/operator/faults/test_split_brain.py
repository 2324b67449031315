"""Pairs of real operators whose leader is frozen by SIGSTOP again and again: whoever does not lead has no write done, by the audit log.

The times of the Lease are the operator's own settings, made short. A trial: objects change, the leader is frozen in the midst of its
work, the other one takes over, and the frozen one wakes up while there is work again. 20 trials; GRAFT_TEST_TRIALS=500 plays all.
The election itself has 500 schedules on its pure core (tests/operator/cluster/test_lease.py).
"""

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from threading import Event
from typing import TYPE_CHECKING

import pytest

from graft_core.clock import SystemClock
from tests.operator.handlers.on_api_server import RULES, OperatorProcess, a_job, checks_of, operator_process

if TYPE_CHECKING:
    from tests.cluster.api import Api
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane

TRIALS = int(os.environ.get("GRAFT_TEST_TRIALS", "20"))
PAIRS = 4
"""Pairs at a time: a trial is waiting, for the most part."""
PATIENCE_S = 180
SETTLE_S = 0.3
"""What must not come has its time to come."""
LEASE = {"GRAFT_LEASE_DURATION_S": "5", "GRAFT_LEASE_DEADLINE_S": "3.2", "GRAFT_LEASE_PERIOD_S": "0.4"}
"""As short as a busy machine keeps up with: where renewals come too late, the lead changes hands all the time, and nothing gets done."""

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300 + 20 * TRIALS)]


class Pair:
    """Two replicas, their Lease and a namespace of their own."""

    def __init__(self, plane: "ControlPlane", api: "Api", folder: Path, number: int, running: ExitStack) -> None:
        from tests.cluster.tenants import make_namespace, make_user

        self.api, self.number = api, number
        self.lease = f"pair-{number}"
        self.namespace = make_namespace(plane.api)
        settings = {**LEASE, "GRAFT_LEASE_NAME": self.lease, "GRAFT_NAMESPACES": self.namespace}
        self.replicas: dict[str, OperatorProcess] = {}
        for name in (f"red-{number}", f"blue-{number}"):
            user = make_user(plane.api, "default", name, RULES, cluster_wide=True)
            self.replicas[name] = running.enter_context(operator_process(user, folder, name, **settings))
        self.void = 0
        """Trials in which the leader had lost its lead by itself before it was frozen: played again."""
        self.woken: list[tuple[str, datetime]] = []
        """Who was let go on, and when: tells of a write that should not be how it came."""

    def leader(self) -> str:
        """Return who holds the Lease; empty where it is nobody of this pair."""
        found = self.api.find("coordination.k8s.io/v1", "Lease", "default", self.lease) or {}
        name = str(found.get("spec", {}).get("holderIdentity", "")).partition("_")[0]
        ended = [replica.log[-1000:] for replica in self.replicas.values() if replica.process.poll() is not None]
        assert ended == []
        return name if name in self.replicas else ""

    def other(self, name: str) -> str:
        """Return the other replica."""
        (found,) = self.replicas.keys() - {name}
        return found

    def play(self, trials: int) -> None:
        """Freeze whoever leads, so many times."""
        from tests.cluster.processes import until

        until(lambda: self.leader() != "", PATIENCE_S, f"a leader of {self.lease}")
        done = 0
        while done < trials:
            if self._trial(f"{done + self.void}", Random(f"{self.lease} {done + self.void}")):
                done += 1
            else:
                self.void += 1

    def _trial(self, name: str, draw: Random) -> bool:
        from tests.cluster.processes import until

        first = self.leader()
        if not first:
            return False
        second = self.other(first)
        jobs = self._apply(f"early-{name}")
        Event().wait(draw.uniform(0.0, 0.3))  # its hands are full, or about empty
        self.replicas[first].send(signal.SIGSTOP)
        try:
            is_led = self.leader() == first
            jobs += self._apply(f"late-{name}")
            until(lambda: self.leader() == second, PATIENCE_S, f"{second} leads")
            jobs += self._apply(f"after-{name}")
            Event().wait(draw.uniform(0.0, 0.2))
        finally:
            self.woken.append((first, SystemClock().now()))
            self.replicas[first].send(signal.SIGCONT)
        until(lambda: set(jobs) <= set(checks_of(self.api, self.namespace)), PATIENCE_S, f"the checks of {jobs}")
        Event().wait(SETTLE_S)
        checks = checks_of(self.api, self.namespace)
        assert [job for job in jobs if checks.count(job) != 1] == []
        for job in jobs:
            self.api.delete(self.api.get("graft.dev/v1alpha1", "FineTuneJob", self.namespace, job))
        return is_led

    def _apply(self, name: str) -> list[str]:
        jobs = [f"{name}-{number}" for number in range(2)]
        for job in jobs:
            self.api.create(a_job(self.namespace, job))
        return jobs


@dataclass(frozen=True, slots=True)
class Write:
    """A write as the API server noted it."""

    user: str
    received: str
    """When it came; RFC 3339 with microseconds, so that order is order."""
    done: str
    lease: str
    """The Lease it is about, empty for another object."""
    what: str
    code: int


def audited(plane: "ControlPlane") -> Iterator[Write]:
    """Read all writes, in whatever order they ended."""
    for event in plane.audited_writes():
        about = event.get("objectRef") or {}
        is_lease = about.get("resource") == "leases"
        yield Write(
            user=event["user"]["username"].rpartition(":")[2],
            received=event["requestReceivedTimestamp"],
            done=event["stageTimestamp"],
            lease=about.get("name", "") if is_lease else "",
            what=f"{event['verb']} {about.get('resource')}/{about.get('name')}",
            code=event["responseStatus"]["code"],
        )


def split(writes: list[Write], pair: Pair) -> list[Write]:
    """Return what one replica wrote although the other had taken the Lease, and it had not taken it back.

    What a process sent that was frozen between its look at the fence and the send is broken off by it: that, the server did not do (5xx).
    By the server's one clock. A renewal counts for its sender from when it came, and against the other from when it was done.
    """
    renewals = {
        name: [one for one in writes if one.lease == pair.lease and one.user == name and 200 <= one.code < 300]
        for name in pair.replicas
    }
    found: list[Write] = []
    for one in writes:
        if one.user not in pair.replicas or one.lease or one.code >= 500:
            continue
        theirs = [r.received for r in renewals[pair.other(one.user)] if r.done <= one.received]
        mine = [r.received for r in renewals[one.user] if r.received <= one.received]
        if max(theirs, default="") > max(mine, default=""):
            found.append(one)
    return found


def _since_woken(pair: Pair, write: Write) -> list[float]:
    """Milliseconds from each time that its sender was let go on, around the write."""
    at = datetime.fromisoformat(write.received)
    since = [1000 * (at - woken).total_seconds() for name, woken in pair.woken if name == write.user]
    return [each for each in since if -10_000 < each < 10_000]


def test_no_write_is_sent_by_a_replica_that_does_not_lead(own_plane: "StartPlane", tmp_path: Path) -> None:
    from tests.cluster.api import Api
    from tests.cluster.crds import install, our_crds

    plane = own_plane(audit=True)
    install(plane.api, our_crds())
    with ExitStack() as running:
        pairs = [
            Pair(plane, running.enter_context(Api(plane.access)), tmp_path, number, running) for number in range(PAIRS)
        ]
        shares = [TRIALS // PAIRS + (number < TRIALS % PAIRS) for number in range(PAIRS)]
        threads = ThreadPoolExecutor(PAIRS)
        try:
            list(threads.map(lambda pair, trials: pair.play(trials), pairs, shares))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        logs = "".join(replica.log for pair in pairs for replica in pair.replicas.values())
    writes = list(audited(plane))
    names = {name for pair in pairs for name in pair.replicas}
    assert sum(one.user in names and not one.lease for one in writes) > 10 * TRIALS
    void = sum(pair.void for pair in pairs)
    logging.getLogger(__name__).info("%d trials, %d void ones beside, %d writes", TRIALS, void, len(writes))
    assert [(one, _since_woken(pair, one)) for pair in pairs for one in split(writes, pair)] == []
    assert "Traceback" not in logs
