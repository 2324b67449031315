"""Golden YAML: whole objects, compared as they would be sent; `GRAFT_TEST_GOLDEN=write` writes them anew, and the diff is reviewed."""

import os
from typing import Any

import yaml

from tests.house import ROOT

__all__ = ["check_golden"]

FOLDER = ROOT / "tests" / "golden" / "kube"


def check_golden(name: str, *objects: dict[str, Any]) -> None:
    """Hold objects against `tests/golden/kube/<name>.yaml`."""
    text = yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=120)
    path = FOLDER / f"{name}.yaml"
    if os.environ.get("GRAFT_TEST_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert list(yaml.safe_load_all(path.read_text(encoding="utf-8"))) == list(yaml.safe_load_all(text))
