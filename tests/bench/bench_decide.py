"""What a pass of the pure core costs: `python -m tests.bench.bench_decide` writes tests/bench/out/decide.json.

Whole stories are told in the worlds of the property tests, and every view of them is decided again and again: a job from its
apply to its end, a release through a promotion, a rollback and an idle stretch. A pass's cost is the median of its runs by this
thread's processor time, so that what else the machine does is no part of it; the figure is the 99th percentile over all passes of
the story. The 99th percentile over every single run stands beside it, by processor time and by the wall clock.
"""

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.contracts.train_request import Pinned
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.render.predictor_config import render_arm
from graft_operator.render.revision import revision_of
from graft_operator.render.train_request import render_train_request
from tests.builders import BASE_REVISION, DATASET_DIGEST, a_finetunejob, a_release
from tests.operator.reconcile.release_world import ReleaseWorld
from tests.operator.reconcile.test_invariants import SPEC, job_world
from tests.operator.reconcile.views import BLUE, GREEN, RED, a_target

OUT = Path(__file__).resolve().parent / "out" / "decide.json"

ROUNDS = 60
"""Times each view is decided."""
DECIDE_GOAL_US = 100.0
RENDER_GOAL_US = 300.0

JOB_SPEC: dict[str, Any] = {
    "evaluation": {"gates": [{"metric": "json_validity", "min": "0.9"}, {"metric": "ok.accuracy", "min": "0.9"}]},
    "training": {"earlyStopping": {"patience": 3}, "classWeights": {"ok": {"false": "10.0"}}},
}
RELEASE_SPEC: dict[str, Any] = {
    "cache": {"memory": {}, "exact": {}},
    "guardrails": {"input": [{"type": "max-tokens", "max": 4000}], "output": [{"type": "json-schema"}]},
    "requestLog": {"uri": "file:///log/"},
}


class Timed(NamedTuple):
    """One call."""

    cpu_us: float
    wall_us: float


def main() -> int:
    """Measure, write, print."""
    figures = [
        _figure("decide FineTuneJob, p99 of a job's passes", _time_views(decide_finetunejob, _job_views()), DECIDE_GOAL_US),
        _figure("decide ModelRelease, p99 of a release's passes", _time_views(decide_modelrelease, _release_views()), DECIDE_GOAL_US),
        *(_figure(f"render {name}, p99", _time(call, 4000), RENDER_GOAL_US) for name, call in _renders().items()),
    ]  # fmt: skip
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"bed": _bed(), "figures": figures}, indent=2) + "\n")
    for figure in figures:
        print(
            f"{figure['name']:50} {figure['value']:>7} us   p50 {figure['p50']:>7}   dearest pass {figure['dearest_pass']:>7}   "
            f"any run p99 {figure['run_p99']:>7}, wall {figure['wall_p99']:>9}   goal {figure['goal']}  {figure['holds']}"
        )
    return 0


def _job_views() -> list[tuple[Any, Any]]:
    """Tell a job from its apply until its children are gone, a pass every second of a training of ten minutes."""
    world = job_world({})
    world.slowness = 30.0
    views: list[tuple[Any, Any]] = []
    for _ in range(700):
        world.tick(1)
        views.append((world.observe(), world.now))
        world.run_pass()
    return views


def _release_views() -> list[tuple[Any, Any]]:
    """Tell a release: the first one, a promotion, a failure that is rolled back, a pass every second, then an idle stretch."""
    world = ReleaseWorld.new(SPEC, a_target(BLUE))
    world.behaviour = {RED: "failing"}
    views: list[tuple[Any, Any]] = []
    for target, seconds in ((BLUE, 30), (GREEN, 200), (RED, 100), (GREEN, 370)):
        world.target = a_target(target)
        for _ in range(seconds):
            world.tick(1)
            views.append((world.observe(), world.now))
            world.run_pass()
    return views


def _renders() -> dict[str, Callable[[], object]]:
    job, release = a_finetunejob(JOB_SPEC), a_release(RELEASE_SPEC)
    pinned = Pinned(dataset_digest=DATASET_DIGEST, base_revision=BASE_REVISION)
    digest = "sha256:" + "a" * 64
    return {
        "TrainRequest as JSON": lambda: render_train_request(
            job, pinned=pinned, default_output_uri="file:///s/"
        ).to_json(),
        "PredictorConfig as JSON": lambda: _config_json(release, digest),
        "revision": lambda: revision_of(release.spec, digest),
    }


def _config_json(release: ModelRelease, digest: str) -> str:
    return render_arm(release, revision=BLUE, uri="file:///s/x/", digest=digest).config.to_json()


def _time_views(decide: Callable[[Any, Any], object], views: Sequence[tuple[Any, Any]]) -> list[list[Timed]]:
    """Time each view ROUNDS times, round by round, so that a busy moment falls on all of them."""
    times: list[list[Timed]] = [[] for _ in views]
    for round_number in range(ROUNDS + 1):
        gc.collect()
        for index, (view, now) in enumerate(views):
            timed = _once(lambda: decide(view, now))  # noqa: B023  # called before the loop goes on
            if round_number:
                times[index].append(timed)
    return times


def _time(call: Callable[[], object], count: int) -> list[list[Timed]]:
    call()
    return [[_once(call) for _ in range(count)]]


def _once(call: Callable[[], object]) -> Timed:
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    call()
    return Timed((time.thread_time_ns() - cpu) / 1000, (time.perf_counter_ns() - wall) / 1000)


def _figure(name: str, times: list[list[Timed]], goal: float) -> dict[str, object]:
    every = sorted(timed.cpu_us for view in times for timed in view)
    passes = sorted(statistics.median(timed.cpu_us for timed in view) for view in times)
    wall = sorted(timed.wall_us for view in times for timed in view)
    value = passes[int(len(passes) * 0.99)] if len(passes) > 1 else every[int(len(every) * 0.99)]
    return {
        "name": name,
        "value": round(value, 1),
        "unit": "us",
        "peer": None,
        "ratio": None,
        "goal": f"≤ {goal:.0f}",
        "holds": value <= goal,
        "p50": round(statistics.median(every), 1),
        "dearest_pass": round(passes[-1], 1),
        "run_p99": round(every[int(len(every) * 0.99)], 1),
        "wall_p99": round(wall[int(len(wall) * 0.99)], 1),
        "calls": len(every),
    }


def _bed() -> dict[str, object]:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {"python": platform.python_version(), "pydantic": version("pydantic")},
        "seeds": "the stories hold no chance",
        "clock": "thread CPU time per call",
    }


if __name__ == "__main__":
    raise SystemExit(main())
