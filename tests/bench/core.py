"""Run every bench that needs no GPU, one after the other, and print one table; each leaves its JSON in tests/bench/out.

    python -m tests.bench.core [NAME...]        all, or those named

Exit code 0 if the benches ran, whatever they found.
"""

import json
import subprocess
import sys
from pathlib import Path

BENCHES = {
    "decide": "tests.bench.bench_decide",
    "dataset": "tests.bench.bench_core_dataset",
    "gateway": "tests.bench.bench_core_gateway",
    "idle": "tests.bench.bench_idle",
    "cli": "tests.bench.bench_cli",
}
OUT = Path(__file__).with_name("out")


def main(names: list[str]) -> int:
    unknown = set(names) - set(BENCHES)
    if unknown:
        print(f"unknown bench {', '.join(sorted(unknown))}; expected some of {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    failed = [
        name
        for name in names or BENCHES
        if subprocess.run([sys.executable, "-m", BENCHES[name]], check=False).returncode
    ]
    print(f"\n{'bench':<10} {'figure':<58} {'value':>12} {'goal':>12}  holds")
    for name in names or BENCHES:
        # What an earlier run left is not this run's figure.
        for figure in [] if name in failed else json.loads((OUT / f"{name}.json").read_text())["figures"]:
            value = (
                f"{figure['value']:.4g} {figure.get('unit', '')}"
                if isinstance(figure["value"], float)
                else str(figure["value"])
            )
            holds = {True: "yes", False: "no"}.get(figure.get("holds"), "")
            print(f"{name:<10} {str(figure['name'])[:58]:<58} {value:>12} {figure.get('goal', '')!s:>12}  {holds}")
    for name in failed:
        print(f"{name} did not run to its end", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
