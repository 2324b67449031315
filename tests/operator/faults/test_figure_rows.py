"""Rows 41 to 44 and 49 of the fault list: a real operator process on a real API server, figures over real HTTP.

Pods, KServe and Prometheus are the doubles of `rollout_bed`.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from graft_core.clock import SystemClock, from_rfc3339
from tests.cluster.fixtures import start_or_skip

if TYPE_CHECKING:
    from graft_core.api.v1alpha1.modelrelease import HistoryEntry, ModelRelease
    from tests.operator.faults.rollout_bed import RolloutBed
    from tests.operator.faults.serving_doubles import Answers, Pages, Sample

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

UNDECIDED_S = 15
"""A step that cannot be decided is given up after so long; set once its window is open, for a busy machine may need that long until then."""
GONE_S = 3600
LANES = 3
"""Releases at a time: more of them wait for the doubles of those who serve."""
CHECKS = [{"metric": "error_rate", "maxDelta": "0.1", "minSamples": 5}]


def now() -> float:
    return SystemClock().now().timestamp()


def step(**more: Any) -> dict[str, Any]:
    first = {"weight": 10, "minDurationSeconds": 1, "minRequests": 5, **more}
    return {"steps": [first], "scaleDownDelaySeconds": 1}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RolloutBed"]:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.crds import GATEWAY_API, KSERVE, install, our_crds
    from tests.operator.faults.rollout_bed import rolling_out

    with start_or_skip(lambda: ControlPlane.start(controllers=("garbage-collector-controller",))) as plane:
        install(plane.api, [*our_crds(), *GATEWAY_API.crds(), *KSERVE.crds()])
        with rolling_out(plane, tmp_path_factory.mktemp("operator")) as found:
            yield found


@dataclass(frozen=True)
class Case:
    """Figures of the candidate that prove nothing; the stable arm is well."""

    said: str
    """What the history says of them."""
    page: "Pages | None" = None
    answers: "Answers | None" = None
    is_dead: bool = False


def only_candidate(page: "Pages") -> "Pages":
    from tests.operator.faults.serving_doubles import well

    return lambda revision, is_first, age_s: (page if not is_first else well)(revision, is_first, age_s)


def prometheus(of_candidate: dict[str, list["Sample"]]) -> "Answers":
    """A Prometheus that is well, but for some answers about the candidate."""

    def answer(kind: str, is_first: bool, span_s: float) -> list["Sample"]:
        sound: dict[str, list[Sample]] = {
            "fresh": [({}, now())],
            "copies": [({}, 1.0)],
            "outcomes": [({"outcome": "ok"}, 20.0 * span_s)],
        }
        return (sound if is_first else {**sound, **of_candidate})[kind]

    return answer


def cases() -> dict[str, Case]:
    from tests.operator.faults.serving_doubles import counted

    def ok(number: float) -> list["Sample"]:
        return [({"outcome": "ok"}, number)]

    unsound = "hold NaN, infinite, negative or falling counters"
    none = "no metrics of revision"
    return {
        "41 pods that do not answer": Case(none, only_candidate(lambda *_: None)),
        "41 no Prometheus": Case(none, is_dead=True),
        "41 a Prometheus without the series": Case(
            none, answers=prometheus({"fresh": [], "copies": [], "outcomes": []})
        ),
        "42 not a number": Case(unsound, only_candidate(lambda r, _, age_s: counted(r, "ok", math.nan))),
        "42 infinite": Case(unsound, only_candidate(lambda r, _, age_s: counted(r, "ok", math.inf))),
        "42 negative": Case(unsound, only_candidate(lambda r, _, age_s: counted(r, "ok", -20 * age_s))),
        "42 every series ten times on a page": Case(
            none, only_candidate(lambda r, _, age_s: 10 * counted(r, "ok", round(20 * age_s)))
        ),
        "42 not a page": Case(none, only_candidate(lambda *_: "<html>502 Bad Gateway</html>")),
        "42 not a number, by Prometheus": Case(unsound, answers=prometheus({"outcomes": ok(math.nan)})),
        "42 ten series for one, by Prometheus": Case(
            none, answers=prometheus({"copies": [({}, 10.0)], "outcomes": ok(2000)})
        ),
        "42 a time that is none, by Prometheus": Case(none, answers=prometheus({"fresh": [({}, 1e300)]})),
        "43 of another revision": Case(
            "0 of 5 samples", only_candidate(lambda r, _, age_s: counted("b" * 10, "ok", round(20 * age_s)))
        ),
        "43 an hour old": Case(
            "older than 30 s, or from the future", answers=prometheus({"fresh": [({}, now() - GONE_S)]})
        ),
        "43 of the future": Case(
            "older than 30 s, or from the future", answers=prometheus({"fresh": [({}, now() + GONE_S)]})
        ),
        "44 too few": Case(
            "of 5 samples at the candidate", only_candidate(lambda r, _, age_s: counted(r, "ok", 3 if age_s > 3 else 0))
        ),
        "44 none at all, by Prometheus": Case("0 of 5 samples", answers=prometheus({"outcomes": []})),
    }


def has_window(release: "ModelRelease") -> bool:
    """Say whether a step's window is open."""
    return release.status.candidate is not None and release.status.candidate.weight_since is not None


class Lane:
    """One release that is given one candidate after the other."""

    def __init__(self, bed: "RolloutBed") -> None:
        self.bed = bed
        self.release = bed.begin(step())
        self.wrong: dict[str, Any] = {}
        self._number = 0

    def play(self, cases: dict[str, Case]) -> dict[str, Any]:
        """Offer each, have it taken back, and promote sound ones in the end; returns what went otherwise."""
        for name, case in cases.items():
            before, last = self._offer(case)
            stable = self.release.read().status.stable
            is_kept = stable is not None and (stable.revision, stable.weight) == (before, 100)
            if (last.outcome, last.reason, is_kept) != (
                "RolledBack",
                "Inconclusive",
                True,
            ) or case.said not in last.message:
                self.wrong[name] = (last, stable)
        for name, case in {"good": Case(""), "good, by Prometheus": Case("", answers=prometheus({}))}.items():
            _, last = self._offer(case)
            if (last.outcome, last.reason) != ("Promoted", "AllStepsPassed"):
                self.wrong[name] = last
        return self.wrong

    def _offer(self, case: Case) -> tuple[str, "HistoryEntry"]:
        """Have another candidate come to its step; returns the revision that was stable before, and how it ended."""
        from tests.operator.faults.rollout_bed import is_settled
        from tests.operator.faults.serving_doubles import well

        before = self.release.until(is_settled).status
        assert before.stable is not None
        self._number += 1
        name, namespace = f"tune-{self._number + 1}", self.release.namespace
        self.bed.pages[namespace] = case.page or well
        self.bed.prometheus.answers[namespace] = case.answers or prometheus({})
        self.release.publish(name)
        url = self.bed.prometheus.dead_url if case.is_dead else self.bed.prometheus.url
        source = {"prometheus": {"url": url}} if case.is_dead or case.answers is not None else None
        # Patient until the window is open, for a busy machine may need long to get an arm ready.
        rollout = {"analysis": {"source": source, "checks": CHECKS}, "progressDeadlineSeconds": 600}
        self.release.edit({"model": {"fineTuneJobRef": {"name": name}}, "rollout": rollout})
        known = len(before.history)
        self.release.until(lambda r: has_window(r) or len(r.status.history) > known)
        if case.said:
            self.release.edit({"rollout": {"progressDeadlineSeconds": UNDECIDED_S}})
        status = self.release.until(lambda r: is_settled(r) and len(r.status.history) > known).status
        return before.stable.revision, status.history[-1]


def test_rows_41_to_44_figures_that_prove_nothing_promote_nothing(bed: "RolloutBed") -> None:
    everything = list(cases().items())
    lanes = [Lane(bed) for _ in range(LANES)]
    shares = [dict(everything[number::LANES]) for number in range(LANES)]
    threads = ThreadPoolExecutor(LANES)
    try:
        wrong = list(threads.map(lambda lane, share: lane.play(share), lanes, shares))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    assert wrong == [{}] * LANES
    assert "Traceback" not in bed.operator.log


def test_row_41_without_figures_a_step_is_held_where_the_spec_says_so(bed: "RolloutBed") -> None:
    from tests.operator.faults.rollout_bed import is_settled

    source = {"prometheus": {"url": bed.prometheus.dead_url}}
    release = bed.begin({**step(), "onFailure": "Pause", "analysis": {"source": source, "checks": CHECKS}})
    release.until(is_settled)
    release.want("tune-2")
    found = release.until(lambda r: r.status.phase == "Paused").status
    assert found.candidate is not None
    assert (found.candidate.weight, release.weights()) == (10, [10])
    release.edit({"abort": True})
    ended = release.until(lambda r: is_settled(r) and len(r.status.history) > 1).status
    assert (ended.history[-1].outcome, ended.history[-1].reason) == ("RolledBack", "Aborted")


def test_row_49_an_arm_that_never_gets_ready_or_dies_at_its_step_is_given_up(bed: "RolloutBed") -> None:
    from tests.operator.faults.rollout_bed import GRACE_S, is_settled

    never, dies = bed.begin(step()), bed.begin(step(minDurationSeconds=300))
    first = {release.namespace: release.until(is_settled).status.stable for release in (never, dies)}
    known = {body["metadata"]["name"] for body in bed.api.list("apps/v1", "Deployment")}
    sick = {never.namespace}
    bed.node.is_healthy = lambda one: one["metadata"]["namespace"] not in sick or one["metadata"]["name"] in known
    for release in (never, dies):
        release.want("tune-2")
    never.edit({"rollout": {"progressDeadlineSeconds": UNDECIDED_S}})
    dies.until(has_window)
    sick.add(dies.namespace)
    for release, reason, said in (
        (never, "ProgressDeadlineExceeded", f"no progress within progressDeadlineSeconds {UNDECIDED_S}"),
        (dies, "Unhealthy", f"not ready for over {GRACE_S} s"),
    ):
        status = release.until(lambda r: is_settled(r) and len(r.status.history) > 1).status
        assert (status.history[-1].outcome, status.history[-1].reason) == ("RolledBack", reason)
        assert said in status.history[-1].message
        was = first[release.namespace]
        assert was is not None
        assert status.stable is not None
        assert (status.stable.revision, status.stable.weight) == (was.revision, 100)
        assert release.weights() == []
    assert "Traceback" not in bed.operator.log


def test_row_49_a_flap_begins_the_window_anew(bed: "RolloutBed") -> None:
    from tests.operator.faults.rollout_bed import is_settled

    held_s = 15
    release = bed.begin(step(minDurationSeconds=held_s))
    release.until(is_settled)
    known = {body["metadata"]["name"] for body in bed.api.list("apps/v1", "Deployment")}
    sick: set[str] = set()
    bed.node.is_healthy = lambda one: one["metadata"]["namespace"] not in sick or one["metadata"]["name"] in known
    release.want("tune-2")
    windows: list[str] = []
    for flap in range(4):
        is_open = release.until(
            lambda r: r.status.candidate is not None and r.status.candidate.weight_since is not None
        )
        assert is_open.status.candidate is not None
        windows.append(is_open.status.candidate.weight_since or "")
        if flap < 3:
            sick.add(release.namespace)
            release.until(lambda r: r.status.candidate is not None and r.status.candidate.weight_since is None)
            sick.clear()
    ended = release.until(lambda r: is_settled(r) and len(r.status.history) > 1)
    last = ended.status.history[-1]
    assert (last.outcome, last.reason) == ("Promoted", "AllStepsPassed")
    assert windows == sorted(set(windows))
    at = from_rfc3339(last.at)
    assert at - from_rfc3339(windows[-1]) >= timedelta(seconds=held_s)
