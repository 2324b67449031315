"""The operator dies by SIGKILL before, and right after, each of its writes; another one ends where it would have ended.

FineTuneJob: from its creation through check and training to Succeeded, and its deletion. ModelRelease: from its creation through the traffic
probe to its first serving revision, and its deletion. Promotions and rollbacks, which need figures of pods, are in `test_crash_rollouts`;
deletions in mid-rollout, in process, in tests/operator/cluster/test_release_crashes.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from tests.core.api.objects import a_job, a_release, changed
from tests.operator.cluster.job_story import a_published_report, a_report_of
from tests.operator.cluster.release_story import a_complete_job

if TYPE_CHECKING:
    from tests.cluster.api import Api, Json
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane
    from tests.operator.faults.crash_bed import CrashBed, Story, Trial

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

GRAFT = "graft.dev/v1alpha1"


@dataclass
class JobStory:
    """A job that is checked, trains, succeeds and is deleted."""

    resources = ("finetunejobs", "jobs", "configmaps")
    ended: dict[str, Any] = field(default_factory=dict[str, Any])

    def begin(self, api: "Api", namespace: str) -> None:
        """Apply it."""
        self.ended = {}
        body = changed(changed(a_job(), "metadata.name", "tune"), "metadata.namespace", namespace)
        api.create(changed(body, "spec.output", {"uri": "s3://lake/adapters/"}))

    def tend(self, api: "Api", namespace: str) -> bool:
        """Play the kubelet, then the person who deletes."""
        body = api.find(GRAFT, "FineTuneJob", namespace, "tune")
        if body is None:
            return not api.list("batch/v1", "Job", namespace) and not api.list("v1", "ConfigMap", namespace)
        if (body.get("status") or {}).get("phase") == "Succeeded" and "deletionTimestamp" not in body["metadata"]:
            self.ended = self._shape(api, namespace, body)
            api.delete(body)
        for pod in api.list("v1", "Pod", namespace):
            self._run(api, pod, body)
        return False

    def shape(self, api: "Api", namespace: str) -> Any:
        """Return the state before the deletion, and what the deletion left."""
        left = [
            one["kind"] for kind in (("batch/v1", "Job"), ("v1", "ConfigMap")) for one in api.list(*kind, namespace)
        ]
        return {**self.ended, "left": left}

    def _run(self, api: "Api", pod: "Json", body: "Json") -> None:
        from tests.cluster.api import ApiError
        from tests.cluster.doubles import end_pod, start_pod

        phase = pod.get("status", {}).get("phase")
        job = FineTuneJob.model_validate({name: body[name] for name in ("apiVersion", "kind", "metadata", "spec")})
        role = pod["metadata"]["labels"]["graft.dev/role"]
        report = a_report_of(job, "check") if role == "check" else a_published_report(job)
        try:
            if phase == "Pending":
                start_pod(api, pod)
            elif phase == "Running" and "deletionTimestamp" not in pod["metadata"]:
                end_pod(api, pod, 0, report.to_json())
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    def _shape(self, api: "Api", namespace: str, body: "Json") -> dict[str, Any]:
        from tests.operator.faults.crash_bed import condition_shape

        status = body["status"]
        jobs = api.list("batch/v1", "Job", namespace)
        pods = api.list("v1", "Pod", namespace)
        return {
            "phase": status["phase"],
            "conditions": condition_shape(status),
            "artifact": status["artifact"]["digest"],
            "metrics": status["metrics"],
            "jobs": sorted(one["metadata"]["labels"]["graft.dev/role"] for one in jobs),
            "pods": sorted(one["metadata"]["labels"]["graft.dev/role"] for one in pods),
            "requests": len(api.list("v1", "ConfigMap", namespace)),
            "finalizers": body["metadata"]["finalizers"],
        }


@dataclass
class ReleaseStory:
    """A release that comes to serve its first revision and is deleted."""

    resources = ("modelreleases", "inferenceservices", "httproutes", "configmaps")
    ended: dict[str, Any] = field(default_factory=dict[str, Any])

    def begin(self, api: "Api", namespace: str) -> None:
        """Have a job that has published, and apply the release of it."""
        self.ended = {}
        # A job that is refused until it is said to have ended: the operator looks at it, too, and shall make nothing of it.
        refused = a_complete_job(sweep={"parameters": {"learningRate": ["1e-4"]}})
        job = changed(refused, "metadata.namespace", namespace)
        status = job.pop("status")
        made = api.create({"apiVersion": GRAFT, "kind": "FineTuneJob", **job})
        api.patch(made, {"status": status}, subresource="status")
        body = changed(changed(a_release(), "metadata.name", "shop"), "metadata.namespace", namespace)
        api.create(changed(body, "spec.model.fineTuneJobRef.name", "tune"))

    def tend(self, api: "Api", namespace: str) -> bool:
        """Wait for the first revision, then delete."""
        body = api.find(GRAFT, "ModelRelease", namespace, "shop")
        if body is None:
            kinds = (("serving.kserve.io/v1beta1", "InferenceService"), ("gateway.networking.k8s.io/v1", "HTTPRoute"))
            return not any(api.list(*kind, namespace) for kind in kinds)
        status = body.get("status") or {}
        is_served = status.get("phase") == "Released" and status.get("url") and not status.get("candidate")
        if is_served and "deletionTimestamp" not in body["metadata"]:
            self.ended = self._shape(api, namespace, body)
            api.delete(body)
        return False

    def shape(self, api: "Api", namespace: str) -> Any:
        """Return the state before the deletion, and what the deletion left."""
        return {**self.ended, "left": len(api.list("gateway.networking.k8s.io/v1", "HTTPRoute", namespace))}

    def _shape(self, api: "Api", namespace: str, body: "Json") -> dict[str, Any]:
        from tests.operator.faults.crash_bed import condition_shape

        status = body["status"]
        services = api.list("serving.kserve.io/v1beta1", "InferenceService", namespace)
        return {
            "conditions": condition_shape(status),
            "stable": (status["stable"]["revision"], status["stable"]["weight"]),
            "strategy": status["trafficStrategy"],
            # Not its reason: what a pass made that died before it said so is adopted by the next one, and the history says that.
            "history": [one["outcome"] for one in status["history"]],
            # Not the probe, which is deleted, and goes in its own time; that nothing is left is seen at the end.
            "services": {
                one["metadata"]["name"]: one["spec"].get("canary")
                for one in services
                if not one["metadata"]["name"].endswith("-probe")
            },
            "finalizers": body["metadata"]["finalizers"],
        }


def started(own_plane: "StartPlane", *, has_kserve: bool) -> "ControlPlane":
    from tests.cluster.crds import GATEWAY_API, KSERVE, install, our_crds

    plane = own_plane(controllers=("job-controller", "garbage-collector-controller"))
    install(plane.api, [*our_crds(), *([*GATEWAY_API.crds(), *KSERVE.crds()] if has_kserve else [])])
    return plane


def sweep(bed: "CrashBed", story: "Story") -> int:
    """Tell the story undisturbed, then once for each write before it and once after it; return the number of deaths."""
    golden = bed.tell(story)
    deaths, wrong = die_at(bed, story, golden, points_of(golden))
    assert wrong == {}, f"expected {golden.shape}"
    return deaths


def points_of(golden: "Trial") -> list[tuple[int, bool]]:
    """Return where to die: before and after each write, by its number."""
    assert not golden.was_killed
    return [(at, is_done) for at in range(1, len(golden.writes) + 1) for is_done in (False, True)]


def die_at(
    bed: "CrashBed", story: "Story", golden: "Trial", points: Iterable[tuple[int, bool]], namespace: str = ""
) -> tuple[int, dict[str, Any]]:
    """Tell the story once for each of these deaths; return how many died, and the ends that were others."""
    deaths = 0
    wrong: dict[str, Any] = {}
    for at, is_done in points:
        trial = bed.tell(story, at=at, is_done=is_done, namespace=namespace)
        deaths += trial.was_killed
        if trial.shape != golden.shape:
            wrong[f"{'after' if is_done else 'before'} write {at}, {golden.writes[at - 1]}"] = trial.shape
    assert not any("Traceback" in operator.log for operator in bed.logs)
    return deaths, wrong


def test_a_job_ends_the_same_wherever_the_operator_was_killed(own_plane: "StartPlane", tmp_path: Path) -> None:
    from tests.operator.faults.crash_bed import CrashBed

    plane = started(own_plane, has_kserve=False)
    with CrashBed.start(plane, tmp_path) as bed:
        assert sweep(bed, JobStory()) >= 16


def test_a_release_ends_the_same_wherever_the_operator_was_killed(own_plane: "StartPlane", tmp_path: Path) -> None:
    from tests.cluster.doubles import playing_node
    from tests.cluster.kserve_standin.controller import standing_in
    from tests.cluster.kserve_standin.objects import Behaviour
    from tests.operator.faults.crash_bed import CrashBed

    plane = started(own_plane, has_kserve=True)
    with (
        standing_in(plane.access, Behaviour.WEIGHTS),
        playing_node(plane.access),
        CrashBed.start(plane, tmp_path) as bed,
    ):
        assert sweep(bed, ReleaseStory()) >= 16
