"""`graft up` as a process, with doubles of trainer and predictor: the stories of both kinds, and what kill -9 leaves of them."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from graft_core.errors import InvalidInput
from graft_operator.local.faults import NotFound
from tests.e2e.local_up import LocalUp, a_job, a_release, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

JOBS, RELEASES = "finetunejobs", "modelreleases"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[LocalUp]:
    found = LocalUp(tmp_path)
    found.start()
    yield found
    found.end()


class Traffic:
    """Asks the gateway all the time, and counts what comes back."""

    def __init__(self, up: LocalUp) -> None:
        self.url = f"{up.status()['gateway']['url']}/default/shop/v1/chat/completions"
        self.outcomes: Counter[str] = Counter()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(3)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(10)

    def _ask(self) -> None:
        while not self._is_over.wait(0.004):
            try:
                with urllib.request.urlopen(self.url, b"{}", timeout=10) as answer:
                    json.load(answer)
                    self.outcomes["ok"] += 1
            except urllib.error.HTTPError as error:
                with error:
                    self.outcomes[f"{error.code}: {error.read()[:120]!r}"] += 1
            except OSError as error:
                self.outcomes[type(error).__name__] += 1


def release_of(up: LocalUp) -> dict[str, Any]:
    return dict(up.get(RELEASES, "shop")["status"])


def reach(up: LocalUp, plural: str, name: str, phase: str, timeout_s: float = 90) -> None:
    until(
        lambda: up.phase(plural, name) == phase,
        timeout_s,
        lambda: f"{json.dumps(up.get(plural, name), indent=1)}\n{up.log.read_text()[-4000:]}",
    )


def test_a_good_candidate_is_promoted_by_canary_without_losing_a_request(up: LocalUp) -> None:
    up.apply(a_job(), a_release())
    reach(up, RELEASES, "shop", "Released")
    first = release_of(up)["stable"]["revision"]
    with Traffic(up) as traffic:
        up.apply(a_job("better", steps=5, seed=43), a_release(job="better"))
        until(
            lambda: release_of(up).get("stable", {}).get("revision") != first,
            120,
            lambda: json.dumps(release_of(up), indent=1),
        )
        reach(up, RELEASES, "shop", "Released")
        until(lambda: len(up.status()["arms"]) == 1, 60)
    assert set(traffic.outcomes) == {"ok"}, traffic.outcomes
    status = release_of(up)
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Promoted"]
    assert status["stable"]["weight"] == 100
    assert {look["metric"] for look in status["analysis"]} == {"error_rate"}


def test_a_candidate_that_answers_with_errors_is_rolled_back(up: LocalUp) -> None:
    up.apply(a_job(), a_release())
    reach(up, RELEASES, "shop", "Released")
    first = release_of(up)["stable"]["revision"]
    with Traffic(up):
        up.apply(a_release(args=("--max-new-tokens=500",)))
        reach(up, RELEASES, "shop", "RolledBack", 120)
    status = release_of(up)
    assert status["stable"]["revision"] == first
    assert status["stable"]["weight"] == 100
    assert status["history"][-1]["outcome"] == "RolledBack"
    assert "error_rate" in status["history"][-1]["message"]


def test_a_job_that_fails_its_gate_can_not_be_released(up: LocalUp) -> None:
    up.apply(a_job(), a_release())
    reach(up, RELEASES, "shop", "Released")
    first = release_of(up)["stable"]
    up.apply(a_job("worse", seed=13), a_release(job="worse"))
    reach(up, JOBS, "worse", "GatesFailed")
    until(lambda: any(c["reason"] == "GatesFailed" for c in release_of(up)["conditions"]), 30)
    assert release_of(up)["stable"]["revision"] == first["revision"]
    assert len(up.status()["arms"]) == 1


def test_a_bad_data_set_ends_the_job_with_its_line_and_trains_nothing(up: LocalUp) -> None:
    up.apply(a_job(seed=14))
    reach(up, JOBS, "texts", "Failed")
    (failed,) = [c for c in up.get(JOBS, "texts")["status"]["conditions"] if c["type"] == "Failed"]
    assert failed["reason"] == "InvalidDataset"
    assert "line 7" in failed["message"]
    assert [c["role"] for c in up.status()["children"]] == ["check"]


def test_a_bug_in_the_trainer_ends_the_job_after_its_restarts(up: LocalUp) -> None:
    job = a_job(seed=15)
    job["spec"]["runtime"] = {"maxRestarts": 1}
    up.apply(job)
    reach(up, JOBS, "texts", "Failed")
    (child,) = [c for c in up.status()["children"] if c["role"] == "train"]
    assert child["attempt"] == 2
    log = b"".join(
        up.client.stream_bytes("/apis/graft.dev/v1alpha1/namespaces/default/finetunejobs/texts/log")
    ).decode()
    assert log.count("RuntimeError: a bug of the double") == 2


def test_suspended_training_saves_and_goes_on_where_it_was(up: LocalUp) -> None:
    up.apply(a_job(steps=60))
    until(lambda: checkpoint(up) >= 5)
    change(up, JOBS, "texts", suspend=True)
    reach(up, JOBS, "texts", "Suspended")
    until(lambda: not living(up), 30)
    saved = checkpoint(up)
    change(up, JOBS, "texts", suspend=False)
    reach(up, JOBS, "texts", "Succeeded")
    lines = progress_lines(up)
    assert [line["status"]["step"] for line in lines] == list(range(1, 61))
    assert lines[-1]["resumedFromStep"] == saved
    assert up.status()["children"][-1]["attempt"] == 2


def test_ctrl_c_lets_the_trainer_save_and_the_next_graft_up_goes_on(up: LocalUp) -> None:
    up.apply(a_job(steps=60), a_release())
    until(lambda: checkpoint(up) >= 5)
    assert up.stop() == 0
    assert not living(up)
    assert checkpoint(up) < 60
    up.start()
    reach(up, JOBS, "texts", "Succeeded")
    reach(up, RELEASES, "shop", "Released")
    assert [line["status"]["step"] for line in progress_lines(up)] == list(range(1, 61))
    attempts = up.get(JOBS, "texts")["status"]["attempts"]
    assert [a.get("reason", "") for a in attempts] == ["", "Preempted"]


def test_a_job_deleted_while_it_trains_is_gone_with_its_processes(up: LocalUp) -> None:
    up.apply(a_job(steps=1000))
    until(lambda: checkpoint(up) >= 2)
    up.delete(JOBS, "texts")
    until(lambda: is_gone(up, JOBS, "texts"), 40)
    assert not living(up)
    assert list((up.state / "runs").iterdir()) == []


def test_a_deleted_release_takes_its_route_and_its_arms_along(up: LocalUp) -> None:
    up.apply(a_job(steps=2), a_release())
    reach(up, RELEASES, "shop", "Released")
    up.delete(RELEASES, "shop")
    until(lambda: is_gone(up, RELEASES, "shop"), 60)
    assert up.status()["arms"] == []
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(up.status()["gateway"]["url"] + "/default/shop/v1/x")
    with refused.value as answer:
        assert answer.code == 404


def test_a_second_graft_up_on_the_folder_refuses_and_names_the_first(up: LocalUp) -> None:
    assert up.process is not None
    command = [sys.executable, "-m", "graft_operator.local.up", "--state", str(up.state)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"(pid {up.process.pid})" in second.stderr
    assert up.status()["pid"] == up.process.pid


def test_a_bad_document_among_good_ones_changes_nothing(up: LocalUp) -> None:
    bad = a_job("bad")
    bad["spec"]["method"]["adapter"]["r"] = 0
    with pytest.raises(InvalidInput, match=r"FineTuneJob/bad: spec\.method\.adapter\.r"):
        up.apply(a_job("good"), bad)
    assert is_gone(up, JOBS, "good")


def test_kill_9_of_graft_up_again_and_again_ends_in_the_same_state(up: LocalUp) -> None:
    dice = random.Random(7)
    up.apply(a_job(steps=40), a_release())
    for _ in range(6):
        threading.Event().wait(dice.uniform(0.1, 2.5))
        up.kill()
        up.start()
    reach(up, JOBS, "texts", "Succeeded")
    reach(up, RELEASES, "shop", "Released")
    assert [line["status"]["step"] for line in progress_lines(up)] == list(range(1, 41))
    (train,) = [c for c in up.status()["children"] if c["role"] == "train"]
    assert train["attempt"] == 1  # adopted each time, never started again
    assert len(up.status()["arms"]) == 1
    assert len(list((up.state / "store" / "adapters" / "default" / "texts").glob("*/manifest.json"))) == 1


def test_kill_9_of_graft_up_during_a_canary_skips_no_step_and_loses_no_request(up: LocalUp) -> None:
    up.apply(a_job(steps=2), a_job("better", steps=2, seed=43), a_release())
    reach(up, RELEASES, "shop", "Released")
    first = release_of(up)["stable"]["revision"]
    with Traffic(up) as traffic:
        up.apply(a_release(job="better"))
        for _ in range(3):
            threading.Event().wait(1.5)
            up.kill()
            up.start()
        until(
            lambda: release_of(up).get("stable", {}).get("revision") != first,
            120,
            lambda: json.dumps(release_of(up), indent=1),
        )
    assert set(traffic.outcomes) == {"ok"}, traffic.outcomes
    assert {0, 1} <= {look["step"] for look in release_of(up)["analysis"] if look["verdict"] == "Pass"}


@pytest.mark.parametrize(
    "victim", ["trainer", "supervisor of the trainer", "predictor", "supervisor of the predictor", "gateway"]
)
def test_kill_9_of_a_child_ends_in_the_same_state(up: LocalUp, victim: str) -> None:
    up.apply(a_job(steps=30), a_release())
    if "trainer" in victim:
        until(lambda: checkpoint(up) >= 5)
        pid = pid_of(up, "train", is_supervisor="supervisor" in victim)
    elif "predictor" in victim:
        reach(up, RELEASES, "shop", "Released")
        pid = pid_of(up, "arm-*", is_supervisor="supervisor" in victim)
    else:
        pid = int(up.status()["gateway"]["pid"])
        (child,) = psutil.Process(pid).children()
        pid = child.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid), 30)
    reach(up, JOBS, "texts", "Succeeded")
    reach(up, RELEASES, "shop", "Released")

    def answers() -> bool:
        try:
            with urllib.request.urlopen(up.status()["gateway"]["url"] + "/v1/x", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    until(answers, 40)
    # The line of one step may be missing or twice: it was killed between saving and saying so.
    steps = [line["status"]["step"] for line in progress_lines(up)]
    assert steps[-1] == 30
    assert len(set(steps)) >= 29


def checkpoint(up: LocalUp) -> int:
    files = list((up.state / "runs").glob("*/train/checkpoint"))
    return int(files[0].read_text()) if files else 0


def progress_lines(up: LocalUp) -> list[dict[str, Any]]:
    (file,) = (up.state / "runs").glob("*/train/progress.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def living(up: LocalUp) -> list[int]:
    """Pids of trainers and predictors of this folder."""
    marker = str(up.state / "runs")
    return [p.pid for p in psutil.process_iter(["cmdline"]) if any(marker in word for word in p.info["cmdline"] or ())]


def pid_of(up: LocalUp, folder: str, *, is_supervisor: bool) -> int:
    (file,) = (up.state / "runs").glob(f"*/{folder}/pid.json")
    pid = int(json.loads(file.read_text())["pid"])
    if is_supervisor:
        return pid
    (child,) = psutil.Process(pid).children()
    return int(child.pid)


def is_gone(up: LocalUp, plural: str, name: str) -> bool:
    try:
        up.get(plural, name)
    except NotFound:
        return True
    return False


def change(up: LocalUp, plural: str, name: str, **spec: Any) -> None:
    body = up.get(plural, name)
    body["spec"] |= spec
    up.apply({key: body[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": name}})
