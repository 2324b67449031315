"""How quick the command line is: `python -m tests.bench.bench_cli` writes tests/bench/out/cli.json.

Whole processes, wall clock, interleaved so that a busy moment of the machine falls on all of them; the median counts.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tests.operator.cli.served import Served, a_job, a_release

OUT = Path(__file__).resolve().parent / "out" / "cli.json"

RUNS = 25
"""Of each command, after one that warms the disk's cache."""

START = "from graft_operator.cli import main; main()"
"""What the console script runs."""

COMMANDS: Mapping[str, tuple[tuple[str, ...], float | None]] = {
    "python, nothing imported": (("-c", "pass"), None),
    "graft --help": (("-c", START, "--help"), 300.0),
    "graft get --help": (("-c", START, "get", "--help"), None),
    "graft get": (("-c", START, "get"), None),
    "graft get -o yaml": (("-c", START, "get", "ftj/job-1", "-o", "yaml"), None),
    "names after TAB": (("-c", START), None),
}
"""Name → interpreter's arguments, and the goal in milliseconds where an issue names one."""


class Run(NamedTuple):
    """What one run took; the processor's time says more where the machine is busy with other things."""

    wall_ms: float
    cpu_ms: float


def main() -> int:
    """Measure, write, print."""
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        served = Served(Path(folder))
        served.start()
        served.add(*(a_job(f"job-{n}") for n in range(20)), *(a_release(f"release-{n}") for n in range(20)))
        times = _measure(folder)
        served.stop()
    figures = [_figure(name, times[name], goal, times) for name, (_, goal) in COMMANDS.items()]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"bed": _bed(), "figures": figures}, indent=2) + "\n")
    for figure in figures:
        print(
            f"{figure['name']:28} {figure['value']:>8} ms  cpu {figure['cpu_ms']:>7} ms  best {figure['best_ms']:>7} ms   {figure['goal'] or '':8} {figure['holds']}"
        )
    return 0


def _measure(state: str) -> dict[str, list[Run]]:
    times: dict[str, list[Run]] = {name: [] for name in COMMANDS}
    for run in range(RUNS + 1):
        for name, (words, _) in COMMANDS.items():
            environment = {**os.environ, "GRAFT_STATE": state}
            if name == "names after TAB":
                asked = {"_GRAFT_COMPLETE": "bash_complete", "COMP_WORDS": "graft get ftj ", "COMP_CWORD": "3"}
                environment |= asked
            start = time.perf_counter()
            process = subprocess.Popen([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise RuntimeError(f"{name!r} ended with exit code {process.returncode}")
            if run:
                wall = (time.perf_counter() - start) * 1000
                times[name].append(Run(wall, (usage.ru_utime + usage.ru_stime) * 1000))
    return times


def _figure(name: str, times: list[Run], goal: float | None, every: Mapping[str, list[Run]]) -> dict[str, object]:
    value = statistics.median(run.wall_ms for run in times)
    peer = "python, nothing imported"
    return {
        "name": name,
        "value": round(value, 1),
        "unit": "ms",
        "peer": peer,
        "ratio": round(value / statistics.median(run.wall_ms for run in every[peer]), 2),
        "goal": None if goal is None else f"≤ {goal:.0f}",
        "holds": None if goal is None else value <= goal,
        "cpu_ms": round(statistics.median(run.cpu_ms for run in times), 1),
        "best_ms": round(min(run.wall_ms for run in times), 1),
    }


def _bed() -> dict[str, object]:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            "graft": version("graft-operator"),
            "click": version("click"),
        },
        "seeds": [],
        "load": os.getloadavg()[0],
        "runs": RUNS,
    }


if __name__ == "__main__":
    sys.exit(main())
