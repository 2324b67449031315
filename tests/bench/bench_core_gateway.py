"""What a cached answer costs: `python -m tests.bench.bench_core_gateway` writes tests/bench/out/gateway.json.

A predictor with a LoRA adapter on the MiniLM encoder is started as a process of its own. Measured are the seconds until it is ready and
its memory then, and one client's latency of a chat request whose answer is in the memory tier, and of one that the engine must answer.
With `--url http://127.0.0.1:8080/v1` the same cached request is measured at another address, too: a gateway's, before a release of the
name that `--model` says. Its answer must be cached there, so the release needs spec.cache.memory.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.predictor.models import make_minilm

OUT = Path(__file__).resolve().parent / "out" / "gateway.json"
REQUESTS = 3000
MISSES = 300
GOAL_MS = 3.0
READY_S = 300.0


def main() -> int:
    """Measure, write, print."""
    args = _parse()
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        figures += _measure_predictor(Path(folder))
    if args.url:
        place = urlsplit(args.url)
        client = _Client(place.hostname or "127.0.0.1", place.port or 80, f"{place.path}/chat/completions", args.model)
        figures.append(_latency("cached answer through the gateway, p50", client.ask_cached, REQUESTS, GOAL_MS))
    OUT.parent.mkdir(exist_ok=True)
    bed = {
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "versions": {"python": platform.python_version(), **{n: version(n) for n in ("kserve", "torch", "uvicorn")}},
        "seeds": {},
    }
    OUT.write_text(json.dumps({"bed": bed, "figures": figures}, indent=2) + "\n")
    for figure in figures:
        print(f"{figure['name']:55} {figure['value']:>9} {figure['unit']:3} goal {figure['goal']}  {figure['holds']}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default="", help="OpenAI base URL of a gateway to measure as well")
    parser.add_argument("--model", default="shop", help="model name there")
    return parser.parse_args()


def _measure_predictor(folder: Path) -> list[dict[str, Any]]:
    artifact = make_minilm(folder)
    config = {
        "release": {"namespace": "bench", "name": "shop", "uid": "u-1"},
        "revision": "0123456789",
        "adapter": {"uri": artifact.uri, "digest": artifact.manifest.digest},
        "engine": {"threads": 1},
        "cache": {"memory": {"maxEntries": 1000}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    port = _free_port()
    with _predictor(folder, port) as (child, ready_s, cpu_s):
        client = _Client("127.0.0.1", port, "/v1/chat/completions", "shop")
        memory = psutil.Process(child.pid).memory_full_info()
        return [
            _figure("MiniLM arm, from start to ready", round(ready_s, 2), "s", "", holds=None),
            _figure("MiniLM arm, CPU from start to ready", round(cpu_s, 2), "s", "", holds=None),
            _figure("MiniLM arm, resident memory", round(memory.rss / 2**20), "MB", "", holds=None),
            _figure("MiniLM arm, memory of its own (USS)", round(memory.uss / 2**20), "MB", "", holds=None),
            _latency("cached answer of the predictor alone, p50", client.ask_cached, REQUESTS, GOAL_MS),
            _latency("classified answer, not cached, p50", client.ask_new, MISSES, None),
        ]


@contextlib.contextmanager
def _predictor(folder: Path, port: int) -> Generator[tuple[subprocess.Popen[bytes], float, float]]:
    command = [sys.executable, "-m", "graft_predictor", "--config", str(folder / "config.json"), "--port", str(port)]
    with (folder / "log.txt").open("wb") as log:
        started = time.monotonic()
        child = subprocess.Popen([*command, "--cache-dir", str(folder / "cache")], stdout=log, stderr=log)
        try:
            while not _is_ready(port):
                if child.poll() is not None or time.monotonic() - started > READY_S:
                    raise RuntimeError((folder / "log.txt").read_text()[-2000:])
                time.sleep(0.05)
            times = psutil.Process(child.pid).cpu_times()
            yield child, time.monotonic() - started, times.user + times.system
        finally:
            child.terminate()
            child.wait(30)


def _is_ready(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


class _Client:
    """One keep-alive connection, without what a client library adds."""

    def __init__(self, host: str, port: int, path: str, model: str) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=60)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._path = path
        self._model = model
        self._count = 0

    def ask_cached(self) -> None:
        """Ask what was asked before; the first call fills the cache."""
        self._ask("where is my order, and when will it be delivered?")

    def ask_new(self) -> None:
        """Ask what nobody asked."""
        self._count += 1
        self._ask(f"where is my order number {self._count}?")

    def _ask(self, text: str) -> None:
        body = json.dumps({"model": self._model, "messages": [{"role": "user", "content": text}]})
        self._connection.request("POST", self._path, body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise RuntimeError(data[:300].decode(errors="replace"))


def _latency(name: str, ask: Callable[[], None], requests: int, goal_ms: float | None) -> dict[str, Any]:
    for _ in range(20):
        ask()
    taken: list[float] = []
    for _ in range(requests):
        start = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - start) * 1000)
    taken.sort()
    p50 = round(statistics.median(taken), 3)
    figure = _figure(name, p50, "ms", f"≤ {goal_ms:g}" if goal_ms else "", holds=p50 <= goal_ms if goal_ms else None)
    return {**figure, "p99": round(taken[int(len(taken) * 0.99)], 3), "requests": requests}


def _figure(name: str, value: float, unit: str, goal: str, *, holds: bool | None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "peer": None, "ratio": None, "goal": goal, "holds": holds}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
