"""The operator dies by SIGKILL before, and right after, each write of a promotion, and of a rollback; another one ends where it would have ended.

A release goes from one adapter to the next, a trial each: what a trial leaves behind is what the next one begins with. First revisions and
deletions are in `test_crash_sweep`; rollouts under the other strategies, in process, in tests/operator/cluster/test_release_crashes.py.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator.faults.test_crash_sweep import die_at, points_of, started

if TYPE_CHECKING:
    from tests.cluster.api import Api
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane
    from tests.operator.faults.crash_bed import CrashBed
    from tests.operator.faults.rollout_bed import Release
    from tests.operator.faults.serving_doubles import Pages

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

STEPS = [{"weight": weight, "minDurationSeconds": 1, "minRequests": 5} for weight in (10, 50)]
IS_WHOLE = "GRAFT_TEST_TRIALS" in os.environ
"""Whether to die before and after each write; otherwise it is at each seventh of these moments, before a write and after one in turn."""
LANES = 2
SAME = 10
"""Looks, a tenth of a second apart, at which nothing changes any more."""


@dataclass
class RolloutStory:
    """A release that is given another adapter, until that serves, or is taken back."""

    bed: "CrashBed"
    release: "Release"
    resources = ("modelreleases", "inferenceservices", "httproutes", "configmaps")
    _number: int = 1
    _before: str = ""
    _digest: str = ""
    _seen: list[Any] = field(default_factory=list[Any])

    def begin(self, api: "Api", namespace: str) -> None:
        """Want the next adapter."""
        del api, namespace
        stable = self.release.read().status.stable
        assert stable is not None
        self._number, self._before, self._seen = self._number + 1, stable.revision, []
        self._digest = self.release.want(f"tune-{self._number}")

    def tend(self, api: "Api", namespace: str) -> bool:
        """Wait for the end, and until the operator of the moment has nothing to add."""
        from tests.operator.faults.rollout_bed import is_settled

        release = self.release.read()
        is_over = is_settled(release) and release.status.observed_generation == release.metadata.generation
        is_told = any(entry.digest == self._digest for entry in release.status.history)
        if not (is_over and is_told and len(api.list("apps/v1", "Deployment", namespace)) == 1):
            self._seen = []
            return False
        self._seen.append(self.shape(api, namespace))
        return self.bed.looks > 2 and self._seen[-SAME:] == SAME * self._seen[-1:]

    def shape(self, api: "Api", namespace: str) -> Any:
        """Return the end state, with revisions by what they are in this trial."""
        from tests.operator.faults.crash_bed import condition_shape

        release = self.release.read()
        status, body = release.status, api.get("graft.dev/v1alpha1", "ModelRelease", namespace, "shop")
        assert status.stable is not None
        history = [entry.outcome for entry in status.history if entry.digest == self._digest]
        # Not the verdict of a rollback, which may have died with the pass that took the weight back.
        untold = {"AnalysisHealthy"} if "RolledBack" in history else set[str]()
        return {
            "phase": status.phase,
            "conditions": [told for told in condition_shape(body["status"]) if told[0] not in untold],
            "stable": ("old" if status.stable.revision == self._before else "new", status.stable.weight),
            # Not the reason: an abort that died half-way is finished as one that was interrupted.
            "history": history,
            "services": {
                one["metadata"]["name"]: one["spec"].get("canary")
                for one in api.list("serving.kserve.io/v1beta1", "InferenceService", namespace)
            },
            "finalizers": body["metadata"]["finalizers"],
        }


def failing(revision: str, is_first: bool, age_s: float) -> str | None:
    """Answer as a candidate half of whose answers are errors."""
    from tests.operator.faults.serving_doubles import counted, well

    if is_first:
        return well(revision, is_first, age_s)
    return counted(revision, "ok", round(10 * age_s)) + counted(revision, "error", round(10 * age_s))


def sweep_rollouts(plane: "ControlPlane", folder: Path, page: "Pages | None") -> tuple[int, Any]:
    """Roll out undisturbed, then once for each death; returns the number of deaths and the end that all came to.

    Several releases share the deaths among them, each with operators of its own: a rollout is waiting, for the most part.
    """
    from tests.operator.faults.rollout_bed import doubles_of, is_settled

    with ExitStack() as running:
        _, pods = running.enter_context(doubles_of(plane))
        stories = [begun(plane, folder / f"lane-{number}", running) for number in range(LANES)]
        for story in stories:
            story.release.until(is_settled)
        if page is not None:
            pods.pages.update({story.release.namespace: page for story in stories})
        first = stories[0]
        golden = first.bed.tell(first, namespace=first.release.namespace)
        points = points_of(golden)[:: 1 if IS_WHOLE else 7]

        def die(number: int) -> tuple[int, dict[str, Any]]:
            story = stories[number]
            return die_at(story.bed, story, golden, points[number::LANES], story.release.namespace)

        threads = ThreadPoolExecutor(LANES)
        try:
            found = list(threads.map(die, range(LANES)))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
    assert [wrong for _, wrong in found] == [{}] * LANES, f"expected {golden.shape}"
    return sum(deaths for deaths, _ in found), golden.shape


def begun(plane: "ControlPlane", folder: Path, running: ExitStack) -> RolloutStory:
    """Have a release that is about to serve its first revision."""
    from tests.cluster.api import Api
    from tests.cluster.tenants import make_namespace
    from tests.operator.faults.crash_bed import CrashBed
    from tests.operator.faults.rollout_bed import Release

    folder.mkdir()
    namespace = make_namespace(plane.api)
    bed = running.enter_context(CrashBed.start(plane, folder, GRAFT_NAMESPACES=namespace))
    release = Release(running.enter_context(Api(plane.access)), namespace)
    release.publish("tune")
    release.apply({"steps": STEPS, "scaleDownDelaySeconds": 1})
    bed.ensure_running()
    return RolloutStory(bed, release)


def test_a_promotion_ends_the_same_wherever_the_operator_was_killed(own_plane: "StartPlane", tmp_path: Path) -> None:
    deaths, shape = sweep_rollouts(started(own_plane, has_kserve=True), tmp_path, None)
    assert deaths >= (20 if IS_WHOLE else 3)
    assert (shape["stable"], shape["history"]) == (("new", 100), ["Promoted"])


def test_a_rollback_ends_the_same_wherever_the_operator_was_killed(own_plane: "StartPlane", tmp_path: Path) -> None:
    deaths, shape = sweep_rollouts(started(own_plane, has_kserve=True), tmp_path, failing)
    assert deaths >= (20 if IS_WHOLE else 3)
    assert (shape["stable"], shape["history"]) == (("old", 100), ["RolledBack"])
