"""A ModelRelease on the double of an API server, with the double of KServe behind it and the engine's own pass around the shell.

Time is the story's. Predictors answer on /metrics with figures that grow by ten requests a second and percent; a revision in `failing` answers
half of them with errors.
"""

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, FineTuneJobStatus
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_MODELRELEASE, LABEL_REVISION
from graft_core.clock import to_rfc3339
from graft_core.errors import Conflict, GraftError, NotReady
from graft_core.telemetry.metrics import MetricSet
from graft_operator.cluster.figures import Figures
from graft_operator.cluster.prometheus import Prometheus
from graft_operator.cluster.release_moves import ReleaseDefaults
from graft_operator.cluster.release_shell import ClusterReleaseShell
from graft_operator.cluster.scrape import Scraper
from graft_operator.engine.cycle import Cycle
from graft_operator.engine.directory import Directory, Key
from graft_operator.engine.metrics import OperatorMetrics
from graft_operator.ports import FINE_TUNE_JOBS, HTTP_ROUTES, INFERENCE_SERVICES, MODEL_RELEASES, PODS, Cluster, Json
from graft_operator.reconcile.decision import Event
from graft_operator.reconcile.observed import Policy
from graft_operator.render.kube.http_route import GatewayDefaults
from graft_operator.render.kube.predictor_pod import PredictorDefaults
from tests.builders import BASE_REVISION, a_finetunejob, a_release
from tests.fakes.clock import FakeClock
from tests.fakes.kserve import FakeKServe, Version
from tests.fakes.kube import FakeKube
from tests.operator.reconcile.views import a_condition

__all__ = ["DEFAULTS", "SPEC", "Crash", "CrashingCluster", "ReleaseStory", "a_complete_job"]

DEFAULTS = ReleaseDefaults(
    predictor=PredictorDefaults(image="ghcr.io/graft-dev/predictor@sha256:" + "1" * 64),
    gateway=GatewayDefaults(domain="models.test"),
)
SPEC: dict[str, Any] = {
    "rollout": {
        "steps": [
            {"weight": 10, "minDurationSeconds": 5, "minRequests": 10},
            {"weight": 50, "minDurationSeconds": 5, "minRequests": 10},
        ],
        "analysis": {"checks": [{"metric": "error_rate", "maxDelta": "0.1", "minSamples": 5}]},
        "scaleDownDelaySeconds": 10,
        "watchAfterPromotionSeconds": 0,
    }
}


class Crash(BaseException):
    """The operator dies here."""


def a_complete_job(name: str = "tune", digest: str = "e", **spec: Any) -> Json:
    """Build a FineTuneJob that has published an adapter."""
    artifact = ArtifactStatus(
        uri=f"s3://lake/adapters/default/{name}/{digest * 64}/",
        digest="sha256:" + digest * 64,
        size_bytes=1000,
        base_model="Qwen/Qwen2.5-0.5B",
        base_revision=BASE_REVISION,
    )
    status = FineTuneJobStatus(conditions=(a_condition("Complete"),), artifact=artifact, observed_generation=1)
    job = a_finetunejob({"output": {"uri": "s3://lake/adapters/", "secretRef": {"name": "lake"}}, **spec}, name=name)
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": job.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "status": status.model_copy(update={"artifact": artifact}).model_dump(
            mode="json", by_alias=True, exclude_none=True
        ),
    }


class CrashingCluster:
    """Dies before, or right after, a certain write; then it only reads."""

    def __init__(self, kube: FakeKube, at: int, *, is_done: bool) -> None:
        self._kube = kube
        self.at = at
        self.is_done = is_done
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copying asks for, before there is anything
            raise AttributeError(name)
        call = getattr(self._kube, name)
        if name not in {"create", "apply", "patch", "delete"}:
            return call

        async def write(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.at and not self.is_done:
                raise Crash
            answer = await call(*args, **kwargs)
            if self.count == self.at:
                raise Crash
            return answer

        return write


@dataclass
class _Emitted:
    """Events as they were told."""

    events: list[Event] = field(default_factory=list[Event])

    def emit(self, involved: Json, event: Event) -> None:
        self.events.append(event)


class ReleaseStory:
    """One release, and everybody around it."""

    def __init__(self, version: Version = "weights", spec: Mapping[str, Any] | None = None) -> None:
        self.clock = FakeClock()
        self.kube = FakeKube(now=to_rfc3339(self.clock.now()))
        self.kserve = FakeKServe(self.kube, version)
        self.failing: set[str] = set()
        self.counts: dict[str, float] = {}
        self.told = _Emitted()
        self._metrics = OperatorMetrics(MetricSet())
        self.kube.add(FINE_TUNE_JOBS, a_complete_job())
        mode = {"deploymentMode": "Knative"} if version == "knative" else {}
        release = a_release({**SPEC, **mode, **(spec or {})})
        body = {
            "metadata": {"name": "shop", "namespace": "default"},
            "spec": release.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        self.kube.add(MODEL_RELEASES, body)
        self.start(self.kube)

    def twin(self) -> Self:
        """Return a story that stands where this one stands, what its operator remembers included; from here on each goes its own way."""
        return copy.deepcopy(self, {id(self._metrics): self._metrics})  # metrics hold locks, and nobody here reads them

    # -- the operator

    def start(self, cluster: Cluster) -> None:
        """Start the operator, anew or for the first time."""
        self._run(cluster, Prometheus(), DEFAULTS)

    def start_with(self, prometheus: Prometheus, urls: frozenset[str]) -> None:
        """Start it anew, allowed to ask these servers."""
        self._run(self.kube, prometheus, replace(DEFAULTS, prometheus_urls=urls))

    def _run(self, cluster: Cluster, prometheus: Prometheus, defaults: ReleaseDefaults) -> None:
        figures = Figures(Scraper(cluster, self.clock), prometheus)
        shell = ClusterReleaseShell(cluster, self.clock, Policy(), defaults, figures)
        self.cycle = Cycle(cluster, self.told, _NoJobs(), shell, Directory(), self._metrics, self.clock)

    async def run_pass(self) -> None:
        """Run one pass; what the engine would run again is left to the next one."""
        with contextlib.suppress(NotReady, Conflict):
            await self.cycle.run(Key(KIND_MODELRELEASE, "default", "shop"))
        self.kserve.prune()

    async def step(self, seconds: float = 1.0) -> None:
        """Let everybody act once, and time pass."""
        await self.run_pass()
        self.pass_time(seconds)

    def pass_time(self, seconds: float = 1.0) -> None:
        """Let KServe act, requests come in, and time pass."""
        self.clock.advance(seconds)
        self.kube.now = self.kserve.now = to_rfc3339(self.clock.now())
        self.kserve.tick()
        self._answer_requests(seconds)

    async def until(self, holds: Callable[[ModelRelease], bool], *, steps: int = 120) -> ModelRelease:
        """Go on until the release looks like this."""
        for _ in range(steps):
            release = self.release
            if release is not None and holds(release):
                return release
            await self.step()
        release = self.release
        told = "it is gone" if release is None else release.status.model_dump_json(indent=1, exclude_none=True)
        raise AssertionError(f"not within {steps} steps: {told}")

    async def until_gone(self, *, steps: int = 120) -> None:
        """Go on until the release is gone."""
        for _ in range(steps):
            if self.kube.find(MODEL_RELEASES, "default", "shop") is None:
                return
            await self.step()
        raise AssertionError(f"not gone within {steps} steps: {self.kube.find(MODEL_RELEASES, 'default', 'shop')}")

    # -- what is there

    @property
    def release(self) -> ModelRelease | None:
        """The object."""
        body = self.kube.peek(MODEL_RELEASES, "default", "shop")
        return None if body is None else ModelRelease.model_validate(body)

    @property
    def services(self) -> dict[str, Json]:
        """InferenceServices by name."""
        return {body["metadata"]["name"]: body for body in self.kube.all(INFERENCE_SERVICES)}

    @property
    def routes(self) -> dict[str, Json]:
        """HTTPRoutes by name."""
        return {body["metadata"]["name"]: body for body in self.kube.all(HTTP_ROUTES)}

    def fingerprint(self) -> Any:
        """Return the end state, without what time and tries leave behind."""
        release = self.release
        status = None if release is None else release.status
        return {
            "stable": None if status is None or status.stable is None else status.stable.revision,
            "candidate": None if status is None or status.candidate is None else status.candidate.revision,
            "draining": None if status is None or status.draining is None else status.draining.revision,
            "history": [] if status is None else [(entry.revision, entry.outcome) for entry in status.history],
            "services": {
                name: {key: body["spec"].get(key) for key in ("predictor", "canary")}
                for name, body in self.services.items()
            },
            "routes": {name: body["spec"] for name, body in self.routes.items()},
        }

    # -- what people do

    def edit(self, spec: Json) -> None:
        """Change the spec."""
        self.kube.edit(MODEL_RELEASES, "default", "shop", {"spec": spec})

    def publish(self, name: str, digest: str) -> None:
        """Have another job finish, and want its adapter."""
        self.kube.add(FINE_TUNE_JOBS, a_complete_job(name, digest))
        self.edit({"model": {"fineTuneJobRef": {"name": name}}})

    def delete(self) -> None:
        """Delete the release."""
        self.kube.remove(MODEL_RELEASES, "default", "shop")

    # -- inside

    def _answer_requests(self, seconds: float) -> None:
        for pod in self.kube.peek_all(PODS):
            revision = pod["metadata"]["labels"].get(LABEL_REVISION, "")
            self.counts[revision] = self.counts.get(revision, 0.0) + 10 * seconds
            errors = self.counts[revision] / 2 if revision in self.failing else 0.0
            page = (
                f'graft_predictor_requests_total{{revision="{revision}",outcome="ok"}} {self.counts[revision] - errors}\n'
                f'graft_predictor_requests_total{{revision="{revision}",outcome="error"}} {errors}\n'
            )
            meta = pod["metadata"]
            self.kube.pods[meta["namespace"], meta["name"], 8080, "/metrics"] = page.encode()


class _NoJobs:
    """The engine's other shell; no job is ever reconciled here."""

    async def decide(self, job: Any, now: Any) -> Any:
        raise GraftError("no job is expected")

    async def apply(self, action: Any, job: Any) -> None:
        raise GraftError("no job is expected")

    def forget(self, uid: str) -> None:
        """Nothing is kept."""
