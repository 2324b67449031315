"""The programs of the test cluster come from several Go modules, and what they have in common is compiled once: same versions."""

import re
from collections import defaultdict
from pathlib import Path

CLUSTER = Path(__file__).parents[1] / "cluster"
APART = {"kserve"}
"""It replaces libraries of its own, and is built only for `GRAFT_KSERVE=built`."""
REQUIRED = re.compile(r"^(?:require)?\s+(\S+) (v\S+)(?: // indirect)?$", re.MULTILINE)


def test_modules_that_are_built_together_require_the_same_versions() -> None:
    versions: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file in CLUSTER.glob("*/go.mod"):
        if file.parent.name not in APART:
            for path, version in REQUIRED.findall(file.read_text()):
                versions[path][version].append(file.parent.name)
    different = {path: dict(found) for path, found in versions.items() if len(found) > 1}

    assert len(versions) > 500, "the files were not read"
    assert not different, "in the older one: go get PATH@VERSION && go mod tidy"
