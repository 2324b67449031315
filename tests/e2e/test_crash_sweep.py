"""`kill -9` at thirty random moments of the demo's first two acts: the job of example 01 and its release, on a part of its data.

One run is left alone. Three others, at the same time, lose `graft up`, the children and Envoy ten times each, at moments that are drawn by seed
within what the step took in the run that was left alone. All four must end alike.
"""

import json
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from graft_core.errors import GraftError
from graft_core.storage.base import sha256_of_bytes
from graft_operator.local.files import read_json
from tests.e2e.local_up import until
from tests.e2e.real_up import RealUp, pause, processes_of

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-classify-messages"
RECORDS = 240
SEEDS = (11, 12, 13)
LIMIT_S = 600.0
"""A run that has not ended by then never will, on any machine."""

ASKED = (
    "I was charged twice for the same order",
    "Where is my parcel?",
    "Please cancel my order",
    "My lamp came broken",
)


@dataclass(frozen=True)
class Kill:
    """Kill the target so long after it is seen to live: a share of what a step takes when it is left alone."""

    target: str
    step: str
    share: float


@dataclass
class Ending:
    """What must be the same each time."""

    job: dict[str, Any] = field(default_factory=dict[str, Any])
    release: dict[str, Any] = field(default_factory=dict[str, Any])
    adapter_sha256: str = ""
    artifacts: int = 0
    arms: int = 0
    answers: tuple[str | None, ...] = ()
    left_over: dict[int, str] = field(default_factory=dict[int, str])


@dataclass
class Run:
    """One run: what was done to it, and how it ended."""

    ending: Ending
    killed: list[str] = field(default_factory=list[str])
    took_s: dict[str, float] = field(default_factory=dict[str, float])
    attempts: dict[str, int] = field(default_factory=dict[str, int])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Runs"]:
    """The run that is left alone, and one by seed."""
    folder = tmp_path_factory.mktemp("sweep")
    alone = play(folder / "0", (), {})
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        swept = {seed: pool.submit(play, folder / str(seed), schedule(seed), alone.took_s) for seed in SEEDS}
    for seed, run in swept.items():
        if run.exception() is None:
            print(seed, run.result())
    yield Runs(alone, swept)
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Runs:
    """All of them."""

    alone: Run
    swept: dict[int, Future[Run]]


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_ten_times_it_ends_as_the_run_that_was_left_alone(runs: Runs, seed: int) -> None:
    run = runs.swept[seed].result()
    assert run.ending == runs.alone.ending, run.killed


def test_the_run_that_was_left_alone_ends_released_with_one_artifact_and_nothing_left_over(runs: Runs) -> None:
    ending = runs.alone.ending
    assert (ending.job["phase"], ending.release["phase"]) == ("Succeeded", "Released")
    assert {gate["result"] for gate in ending.job["gates"]} == {"Pass"}
    assert ending.release["stable"] == {"weight": 100, "isTheJobs": True}
    assert (ending.artifacts, ending.arms, ending.left_over) == (1, 1, {})
    assert None not in ending.answers


def test_thirty_living_processes_were_killed_and_each_kind_among_them(runs: Runs) -> None:
    killed = [target for run in runs.swept.values() for target in run.result().killed]
    assert len(killed) == 30
    assert {target.removesuffix(" supervisor") for target in killed} == {"graft up", "check", "train", "arm", "gateway"}


def schedule(seed: int) -> list[Kill]:
    """Draw the kills of one run, in the order in which their targets come to live."""
    dice = random.Random(seed)
    plan = {
        "check": (["check", "graft up"], 0.4),
        "train": (["train", "train", "graft up"], 0.6),
        "arm": (["arm", "arm", "gateway", "graft up", "graft up"], 0.9),
    }
    kills: list[Kill] = []
    for step, (targets, latest) in plan.items():
        for target in dice.sample(targets, len(targets)):
            is_supervisor = target != "graft up" and dice.random() < 0.4
            kills.append(Kill(f"{target} supervisor" if is_supervisor else target, step, dice.uniform(0.0, latest)))
    return kills


def play(folder: Path, kills: Sequence[Kill], usual_s: dict[str, float]) -> Run:
    """Play both acts to their end."""
    folder.mkdir()
    up = RealUp(folder)
    run = Run(Ending())
    try:
        up.start()
        up.apply(*manifests(folder))
        if not kills:
            run.took_s = watch(up)
        for kill in kills:
            run.killed.append(strike(up, kill, usual_s))
        up.serves()
        until(lambda: has_ended(up), LIMIT_S, lambda: tell(up, run))
        run.attempts = {child["role"]: child["attempt"] for child in up.status()["children"]}
        run.ending = ending_of(up)
        assert up.stop() == 0
        run.ending.left_over = processes_of(up.state)
    finally:
        up.end()
    return run


def manifests(folder: Path) -> list[dict[str, Any]]:
    """Take those of the example, with part of the data, more passes over it, checkpoints close together, and room for all restarts."""
    lines = (EXAMPLE / "data" / "messages.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "messages.jsonl").write_text("".join(lines[:RECORDS]), encoding="utf-8")
    job = yaml.safe_load((EXAMPLE / "finetunejob.yaml").read_text(encoding="utf-8"))
    job["spec"]["dataset"]["train"] = [(folder / "messages.jsonl").as_uri()]
    job["spec"]["training"] |= {"epochs": 4, "learningRate": "5e-3", "checkpoint": {"everySteps": 5}}
    job["spec"]["runtime"] = {"maxRestarts": 20}
    # So little data proves little; what counts here is that the same is measured and judged each time.
    job["spec"]["evaluation"]["gates"] = [
        {"metric": "macro_f1", "min": "0.1"},
        {"metric": "accuracy", "minDelta": "0.1", "versus": "base"},
    ]
    release = yaml.safe_load((EXAMPLE / "modelrelease.yaml").read_text(encoding="utf-8"))
    return [job, release]


def watch(up: RealUp) -> dict[str, float]:
    """Measure how long each step takes when nothing is killed."""
    took: dict[str, float] = {"check": 0.0, "train": 0.0, "arm": 0.0}
    waited = 0.0
    while not has_ended(up):
        assert waited < LIMIT_S, tell(up, None)
        for step in took:
            took[step] += 0.25 * (up.supervisor(folder_of(step)) is not None)
        pause(0.25)
        waited += 0.25
    return took


def strike(up: RealUp, kill: Kill, usual_s: dict[str, float]) -> str:
    """Kill the target at its moment, or `graft up` where it has come to its end by then; start `graft up` again where it was that."""
    wait_s = kill.share * usual_s[kill.step]
    if kill.target == "graft up":
        pause(wait_s)
    else:
        name, _, is_supervisor = kill.target.partition(" ")
        find = up.supervisor if is_supervisor else up.child
        until(lambda: find(folder_of(name)) is not None or is_over(up, name), LIMIT_S, lambda: tell(up, None))
        pause(wait_s)
        victim = find(folder_of(name))
        if victim is not None and end(victim):
            return kill.target
    up.kill()
    up.launch()  # and not waited for: the next kill may meet it while it starts
    return "graft up"


def folder_of(step: str) -> str:
    return "arm-*" if step == "arm" else step


def is_over(up: RealUp, name: str) -> bool:
    """Say whether a child will not come again: it has done its work."""
    records = [read_json(file) for file in up.state.glob(f"runs/*/{name}/exit.json")]
    return any(record is not None and record["code"] == 0 for record in records)


def end(victim: psutil.Process) -> bool:
    try:
        victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    until(lambda: is_dead(victim), 60)
    return True


def is_dead(victim: psutil.Process) -> bool:
    try:
        return not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it was reaped between the two looks
        return True


def has_ended(up: RealUp) -> bool:
    if up.phase("finetunejobs", "messages") in {"Failed", "GatesFailed"}:
        return True
    is_ready = [arm["ready"] for arm in up.status()["arms"]] == [True]
    phases = (up.phase("finetunejobs", "messages"), up.phase("modelreleases", "messages"))
    if not is_ready or phases != ("Succeeded", "Released"):
        return False
    # An arm that was killed last is ready a moment before the status says so.
    status = up.get("modelreleases", "messages")["status"]
    return ("Ready", "True", "Ready") in conditions(status) and up.classify("messages", ASKED[0]) is not None


def ending_of(up: RealUp) -> Ending:
    job, release = (up.get(kind, "messages")["status"] for kind in ("finetunejobs", "modelreleases"))
    adapters = up.state / "store" / "adapters" / "default" / "messages"
    weights = sorted(adapters.glob("*/adapter_model.safetensors"))
    stable = release.get("stable", {})
    is_the_jobs = stable.get("digest") == job.get("artifact", {}).get("digest")
    return Ending(
        job={"conditions": conditions(job)} | {key: job.get(key) for key in ("phase", "gates", "metrics", "baselines")},
        release={
            "phase": release["phase"],
            "conditions": conditions(release),
            "stable": {"weight": stable.get("weight"), "isTheJobs": is_the_jobs},
            "others": sorted({"candidate", "draining"} & release.keys()),
            "history": [entry["outcome"] for entry in release.get("history", [])],
        },
        adapter_sha256=",".join(sha256_of_bytes(file.read_bytes()) for file in weights),
        artifacts=len(list(adapters.glob("*/manifest.json"))),
        arms=len(up.status()["arms"]),
        answers=tuple(up.classify("messages", text) for text in ASKED),
    )


def conditions(status: dict[str, Any]) -> list[tuple[str, str, str]]:
    return sorted((c["type"], c["status"], c["reason"]) for c in status["conditions"])


def tell(up: RealUp, run: Run | None) -> str:
    """Say where it stands, for a test that has waited too long."""
    try:
        objects = json.dumps(
            [up.get(kind, "messages")["status"] for kind in ("finetunejobs", "modelreleases")], indent=1
        )
        status = json.dumps(up.status(), indent=1)
    except GraftError as error:
        objects = status = str(error)
    return f"{run and run.killed}\n{objects}\n{status}\n{up.log.read_text()[-4000:]}"
