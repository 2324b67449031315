"""Every generated file, written or checked: `python scripts/generated.py --write | --check`.

A generator is a command that takes one of the two flags and, for `--check`, exits with 1 and names the file that is
out of step. A script called `scripts/generate_*.py` is found by its name; modules of the members are listed here.
"""

import argparse
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent

MODULES = ("graft_core.api.crd", "graft_core.api.reference")
"""Generators that live with the source they read."""


def main() -> int:
    """Run all of them, so that one run names every file out of step."""
    parser = argparse.ArgumentParser(description="Write or check every generated file.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", dest="flag", action="store_const", const="--write", help="write them into the tree")
    mode.add_argument("--check", dest="flag", action="store_const", const="--check", help="fail if one would change")
    flag = str(parser.parse_args().flag)
    commands = [["-m", module] for module in MODULES]
    commands += [[str(path)] for path in sorted(SCRIPTS.glob("generate_*.py"))]
    failed = [command for command in commands if not _succeeds([sys.executable, *command, flag])]
    for command in failed:
        print(f"failed: python {' '.join(command)} {flag}", file=sys.stderr)
    if failed and flag == "--check":
        print("make generate writes them; commit the result with its source", file=sys.stderr)
    return 1 if failed else 0


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False, cwd=SCRIPTS.parent).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
