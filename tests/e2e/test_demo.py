"""`graft demo` as `make demo` starts it: exit code 0, and a story whose figures keep what each act promises."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from graft_operator.local.sockets import free_port
from tests.e2e.real_up import pause, processes_of

pytestmark = pytest.mark.e2e

ACTS = ("train", "release", "language", "canary", "refuse", "rollback")
LIMIT_S = 2400.0
"""Far more than the demo takes: only its end is judged here, not its time."""
MAX_MEMORY_BYTES = 4 << 30
SAMPLE_S = 2.0  # reading PSS walks page tables: often enough for what lasts, seldom enough not to slow it


@dataclass(frozen=True)
class Told:
    """What came of one demo."""

    code: int
    output: str
    story: dict[str, Any]
    peak_bytes: int
    left_over: dict[int, str]

    def act(self, name: str) -> dict[str, Any]:
        return next(act for act in self.story["acts"] if act["name"] == name)

    def facts(self, name: str) -> dict[str, Any]:
        return dict(self.act(name)["facts"])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One demo, told in a file. The small base model of the language example is taken from its cache where it was made before."""
    folder = tmp_path_factory.mktemp("demo")
    state, file, log = folder / "s", folder / "story.json", folder / "demo.log"
    command = [
        sys.executable,
        "-m",
        "graft_operator.cli",
        "demo",
        "--plain",
        "--json",
        str(file),
        "--state",
        str(state),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(free_port())], stdout=output, stderr=output, start_new_session=True
        )
    try:
        peak = follow(process)
    finally:
        end(process)
    left_over = processes_of(state)
    story = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"acts": []}
    output_text = log.read_text(encoding="utf-8", errors="replace")
    print(f"peak memory of the demo: {peak / 2**20:.0f} MiB; {story.get('elapsedSeconds')} s")
    yield Told(process.returncode, output_text, story, peak, left_over)
    for pid in left_over:
        psutil.Process(pid).kill()


def follow(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end; returns the most memory that the process and all below it held at a time."""
    root, peak, waited = psutil.Process(process.pid), 0, 0.0
    while process.poll() is None:
        assert waited < LIMIT_S, "the demo does not end"
        peak = max(peak, memory_of(root))
        pause(SAMPLE_S)
        waited += SAMPLE_S
    return peak


def memory_of(root: psutil.Process) -> int:
    """Sum what the processes hold: PSS, where a page that several share counts once in all; where the system doesn't tell it, USS."""
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            try:
                held = process.memory_full_info()
            except psutil.Error:
                continue  # it has ended
            total += getattr(held, "pss", held.uss)
    except psutil.Error:
        return 0
    return total


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a demo that has gone wrong, in order and then not."""
    for stop in (process.terminate, process.kill):
        if process.poll() is None:
            stop()
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                continue


def test_it_ends_with_0_and_every_act_as_it_must(told: Told) -> None:
    assert [
        (act["name"], act["outcome"], act["happened"]) for act in told.story["acts"] if act["outcome"] != "ok"
    ] == []
    assert tuple(act["name"] for act in told.story["acts"]) == ACTS
    assert (told.code, told.story["outcome"]) == (0, "ok"), told.output[-6000:]


def test_the_messages_adapter_beats_the_untuned_base_and_is_served(told: Told) -> None:
    facts = told.facts("train")
    assert facts["accuracy"] >= 0.9
    assert facts["accuracy"] >= facts["baseAccuracy"] + 0.5
    assert told.story["objects"]["finetunejob/messages"]["phase"] == "Succeeded"
    assert all(answer["answer"] for answer in told.facts("release")["answers"])


def test_the_shop_adapter_beats_the_untuned_base_by_a_wide_margin(told: Told) -> None:
    for metric in ("json_validity", "field_completeness"):
        figures = told.facts("language")[metric]
        assert figures["tuned"] >= figures["base"] + 0.3, metric
    for answer in told.facts("language")["answers"]:
        assert json.loads(answer["answer"]).keys() == {"keyword", "is_in_scope"}


def test_the_better_adapter_is_promoted_and_no_request_is_lost(told: Told) -> None:
    traffic = told.facts("canary")["traffic"]
    assert (traffic["failed"], traffic["outcomes"].keys()) == (0, {"200"})
    assert len(traffic["byRevision"]) == 2  # both arms answered
    release = told.story["objects"]["modelrelease/messages"]
    assert [entry["outcome"] for entry in release["history"]] == ["Promoted", "Promoted"]
    assert (release["stable"]["weight"], "candidate" in release) == (100, False)


def test_the_mislabelled_adapter_fails_its_gates_and_is_refused(told: Told) -> None:
    job = told.story["objects"]["finetunejob/messages-mislabelled"]
    assert job["phase"] == "GatesFailed"
    assert any(gate["result"] == "Fail" for gate in told.facts("refuse")["gates"])
    stable = told.story["objects"]["modelrelease/messages"]["stable"]
    assert stable["revision"] == told.facts("refuse")["stable"]
    assert stable["digest"] == told.story["objects"]["finetunejob/messages-v2"]["artifact"]["digest"]
    assert stable["digest"] != job.get("artifact", {}).get("digest")


def test_the_verbose_adapter_passes_its_gates_and_is_rolled_back_with_figures(told: Told) -> None:
    assert told.story["objects"]["finetunejob/shop-queries-verbose"]["phase"] == "Succeeded"
    facts = told.facts("rollback")
    assert facts["traffic"]["failed"] == 0
    assert facts["history"]["outcome"] == "RolledBack"
    assert any(character.isdigit() for character in facts["history"]["message"])
    release = told.story["objects"]["modelrelease/shop-queries"]
    assert release["phase"] == "RolledBack"
    assert release["stable"]["digest"] == told.story["objects"]["finetunejob/shop-queries"]["artifact"]["digest"]
    assert release["stable"]["weight"] == 100


def test_it_needs_at_most_4_gb_of_memory(told: Told) -> None:
    assert 0 < told.peak_bytes <= MAX_MEMORY_BYTES


def test_it_leaves_no_process_behind(told: Told) -> None:
    assert told.left_over == {}
