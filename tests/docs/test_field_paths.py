"""Every field that a page names as `spec.…` or `status.…` is one of the two kinds'."""

import re
from pathlib import Path
from typing import Any

import pytest

from graft_core.api.crd import KINDS, object_schema
from tests.docs.pages import pages
from tests.house import ROOT

PATH = re.compile(r"\b(?:spec|status)(?:\.[a-zA-Z]+)+")
FOREIGN = {"spec.canary"}
"""KServe's InferenceService."""


def is_field(path: str) -> bool:
    return any(_has(object_schema(kind), path.split(".")) for kind in KINDS)


def _has(schema: dict[str, Any], names: list[str]) -> bool:
    found = schema
    for name in names:
        found = found.get("items", found)
        if "properties" not in found:
            return "additionalProperties" in found or "x-kubernetes-preserve-unknown-fields" in found
        if name not in found["properties"]:
            return False
        found = found["properties"][name]
    return True


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_fields_that_there_are(page: Path) -> None:
    unknown = {path for path in PATH.findall(page.read_text(encoding="utf-8")) if not is_field(path)} - FOREIGN
    assert unknown == set()


@pytest.mark.parametrize("path", ["spec.compute.gpus", "spec.resources.gpu", "status.stable.weights"])
def test_what_is_no_field_is_found(path: str) -> None:
    assert not is_field(path)
