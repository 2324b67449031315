"""The operator on a real API server: latency, throughput, writes, memory. Writes tests/bench/out/operator.json and prints a table.

    python -m tests.bench.bench_operator [--crs 5000] [--settled 10000] [--smoke] [--only latency,throughput,hot,settled,double]

Times are those of the API server's audit log. Beside the operator stands what the API server alone does: the same writes, sent by the
bench itself with nobody watching; and what the operator does where a double answers from memory in place of the API server. Nothing
makes pods here: a FineTuneJob stays where its first Job is there.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.bench_operator_bulk import alone, settled, throughput
from tests.bench.bench_operator_double import double
from tests.bench.bench_operator_figures import Bench, Figure, a_bench, hot, latency, no_op
from tests.bench.bench_operator_server import server

OUT = Path(__file__).with_name("out") / "operator.json"


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    crs: int
    settled: int
    latency: int
    hot: int
    quiet_s: float
    edits: int
    """Of the hot FineTuneJob in a second."""


Section = Callable[[Sizes, str], Coroutine[Any, Any, Sequence[Figure]]]
"""Measures something, of these sizes, with the operator's profile in this file."""


def on_plane(section: Callable[[Bench, Sizes], Coroutine[Any, Any, Sequence[Figure]]]) -> Section:
    """Give a section a control plane of its own: what one leaves behind would be the next one's load."""

    async def measured(sizes: Sizes, profile: str) -> Sequence[Figure]:
        with a_bench(profile) as bench:
            return await section(bench, sizes)

    return measured


SECTIONS: dict[str, Section] = {
    "server": on_plane(server),
    "alone": on_plane(alone),
    "latency": on_plane(latency),
    "no-op": on_plane(no_op),
    "hot": hot,
    "throughput": on_plane(throughput),
    "settled": on_plane(settled),
    "double": double,
}


def main() -> int:
    given = parse(sys.argv[1:])
    figures: list[Figure] = []
    begun = os.getloadavg()
    sizes = (
        Sizes(200, 500, 60, 60, 10.0, given.edits)
        if given.smoke
        else Sizes(given.crs, given.settled, 600, 600, 60.0, given.edits)
    )
    for name in given.only:
        print(f"{name} …", file=sys.stderr, flush=True)
        found = asyncio.run(SECTIONS[name](sizes, given.profile))
        figures += found
        show(found)
    write(figures, sizes, begun)
    print(f"written to {OUT}")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crs", type=int, default=5000, help="FineTuneJobs of the throughput's figure")
    parser.add_argument("--settled", type=int, default=10_000, help="FineTuneJobs that ended, for memory and restart")
    parser.add_argument("--edits", type=int, default=100, help="edits of the hot FineTuneJob in a second")
    parser.add_argument("--smoke", action="store_true", help="small sizes; the figures mean little")
    parser.add_argument("--only", type=sections, default=[*SECTIONS], help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--profile", default="", help="profile the operator into FILE (cProfile), which slows it")
    return parser.parse_args(arguments)


def sections(text: str) -> Sequence[str]:
    """Read a comma list of sections."""
    found = text.split(",")
    unknown = sorted(set(found) - set(SECTIONS))
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(map(repr, unknown))}: expected some of {','.join(SECTIONS)}")
    return found


def show(figures: Sequence[Figure]) -> None:
    for figure in figures:
        holds = {True: "yes", False: "no", None: ""}[figure.holds]
        print(f"{figure.name:<66} {figure.shown:>16} {figure.goal:>14}  {holds}", flush=True)


def write(figures: Sequence[Figure], sizes: Sizes, load: tuple[float, float, float]) -> None:
    OUT.parent.mkdir(exist_ok=True)
    bed = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": {"begin": load, "end": os.getloadavg()},
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("graft-operator", "kopf", "aiohttp", "pydantic")},
        "sizes": vars(sizes),
    }
    OUT.write_text(json.dumps({"bed": bed, "figures": [figure.to_json() for figure in figures]}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
