"""How long the check of a large data set takes, and what memory: writes tests/bench/out/dataset.json.

    python -m tests.bench.bench_core_dataset [--bytes 1000000000]

The data set is text-to-json, the task with the most work a record (schema, canonical answer): about 400 bytes a line, made from a
seed. The check does everything that a job's check does but token lengths: parse, schema, duplicates, leaks, split, digest, store.
The peer, in the same run, is `datasets`: it loads the same file and hashes each record, with as many processes; it checks nothing.

Each runs as a child of its own; memory is the sum over its processes, sampled; processor seconds say more than the wall clock where
the machine is busy with other things.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil

OUT = Path(__file__).resolve().parent / "out" / "dataset.json"

MAX_S, MAX_MB, WANTED_S = 20.0, 1024.0, 8.0
"""For 10⁹ bytes; WANTED_S is the later goal."""

SEED = 1

CHECK = """
import sys, time
from pathlib import Path
from tests.bench.bench_core_dataset import a_request
def main():
    from graft_trainer.data.prepare import prepare_dataset
    start = time.monotonic()
    data = prepare_dataset(a_request(Path(sys.argv[1])), Path(sys.argv[2]))
    assert data.counts.train > 0 and data.dropped.duplicate == 0
    print(time.monotonic() - start)
if __name__ == "__main__":
    main()
"""

PEER = """
import hashlib, sys, time
def digest(record):
    return {"id": hashlib.blake2b(record["query"].encode(), digest_size=16).hexdigest()}
def main():
    import datasets
    datasets.disable_progress_bars()
    start = time.monotonic()
    held = datasets.load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
    held = held.map(digest, num_proc=2)
    assert len(held) > 0
    print(time.monotonic() - start)
if __name__ == "__main__":
    main()
"""


class Run(NamedTuple):
    """What one child took."""

    wall_s: float
    """From inside, after imports."""
    cpu_s: float
    """Of all its processes, imports included."""
    peak_mb: float
    """Resident memory of all its processes together, at most; shared pages count in each."""


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    size: int = parser.parse_args().bytes
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as name:
        folder = Path(name)
        (folder / "warm").mkdir()
        write_records(folder / "warm" / "a.jsonl", 100_000)
        records = write_records(folder / "a.jsonl", size)
        # Compiled modules are kept, as on any machine where Graft is installed; the warm-up makes them.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "pyc"), "PYTHONDONTWRITEBYTECODE": ""}
        run(CHECK, folder / "warm" / "a.jsonl", folder / "warm" / "run", env)
        product = run(CHECK, folder / "a.jsonl", folder / "run", env)
        run(PEER, folder / "warm" / "a.jsonl", folder / "warm" / "peer", env)
        peer = run(PEER, folder / "a.jsonl", folder / "peer", env)
    scale = size / 1e9
    figures = [
        a_figure(f"dataset check, {size} bytes", product.wall_s, peer.wall_s, "s", MAX_S * scale),
        a_figure("the same, later goal", product.wall_s, peer.wall_s, "s", WANTED_S * scale),
        a_figure("processor time of the check", product.cpu_s, peer.cpu_s, "s", None),
        a_figure("peak memory of the check, all processes", product.peak_mb, peer.peak_mb, "MiB", MAX_MB),
    ]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"bed": a_bed(size, records), "figures": figures}, indent=1) + "\n")
    print(OUT.read_text())
    return 0


def write_records(path: Path, size: int) -> int:
    """Write about `size` bytes of distinct records and return their number."""
    rng = random.Random(SEED)
    words = [
        f"{a}{b}"
        for a in ("áo", "giày", "quần", "điện", "túi", "mũ", "kính")
        for b in (" đỏ", " xanh", " nữ", " bé", " mới")
    ]
    phrases = [" ".join(rng.choices(words, k=rng.randint(6, 60))) for _ in range(5000)]
    written = count = 0
    with path.open("wb", buffering=1 << 22) as file:
        while written < size:
            answer = {"keyword": words[count % len(words)], "is_in_scope": count % 25 != 0}
            record = {"query": f"{phrases[count * 7919 % 5000]} {count}", "output": answer}
            written += file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


def a_request(path: Path) -> object:
    """Return the TrainRequest of a check of one file."""
    from tests.trainer.data.builders import TEXT_TO_JSON
    from tests.trainer.data.builders import a_request as build

    return build(path.parent, TEXT_TO_JSON, train=[path.name])


def run(code: str, data: Path, work: Path, env: dict[str, str]) -> Run:
    """Run a child to its end, watching all its processes."""
    script = data.parent / f"{work.name}_child.py"
    script.write_text(code)
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, str(script), str(data), str(work)],
        env={**env, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(psutil.Process(process.pid), peak), daemon=True)
    watcher.start()
    before = os.times()
    out, _ = process.communicate(timeout=1800)
    after = os.times()
    watcher.join()
    if process.returncode != 0:
        raise SystemExit(f"the child ended with {process.returncode}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(float(out.split()[-1]), cpu_s, peak[0])


def watch(process: psutil.Process, peak: list[float]) -> None:
    """Note the most memory that a process and its descendants hold together, until it ends."""
    while True:
        try:
            total = 0
            for member in (process, *process.children(recursive=True)):
                total += member.memory_info().rss
        except psutil.NoSuchProcess:
            if not process.is_running():
                return
            continue
        except psutil.Error:
            return
        peak[0] = max(peak[0], total / 2**20)
        if process.status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)


def a_figure(name: str, value: float, peer: float, unit: str, most: float | None) -> dict[str, object]:
    """Return one figure as docs and issues claim it."""
    figure: dict[str, object] = {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "peer": round(peer, 2),
        "ratio": round(peer / value, 2),
    }
    return figure if most is None else figure | {"goal": f"≤ {most:g}", "holds": value <= most}


def a_bed(size: int, records: int) -> dict[str, object]:
    """Say what the figures were taken on."""
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpus": psutil.cpu_count(),
        "load": [round(load, 1) for load in psutil.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("graft-trainer", "orjson", "pyarrow", "numpy", "datasets")},
        "seed": SEED,
        "bytes": size,
        "records": records,
        "peer": "datasets: load_dataset + map(hash, num_proc=2), which checks nothing",
    }


if __name__ == "__main__":
    sys.exit(main())
