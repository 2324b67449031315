"""Where the chart and what is rendered from it lie, and what they say; nothing here needs Helm or a cluster."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.house import ROOT

__all__ = [
    "CASES",
    "CHART",
    "GOLDEN",
    "INSTALL",
    "KEY",
    "NAMESPACE",
    "OVERLAYS",
    "Json",
    "chart_key",
    "ci_values",
    "documents",
    "env_of",
    "golden",
    "of_kind",
    "only",
]

Json = dict[str, Any]

CHART = ROOT / "charts" / "graft"
GOLDEN = ROOT / "tests" / "golden" / "chart"
INSTALL = ROOT / "manifests" / "install.yaml"
KEY = GOLDEN / "chart.sha256"
"""Of what the golden renders were made from."""
NAMESPACE = "graft-system"
SUFFIX = "-values.yaml"
CASES = sorted(path.name.removesuffix(SUFFIX) for path in (CHART / "ci").glob(f"*{SUFFIX}"))
OVERLAYS = sorted(path.parent.name for path in (ROOT / "kustomize" / "overlays").glob("*/kustomization.yaml"))


def ci_values(case: str) -> Path:
    """Return a file of values."""
    return CHART / "ci" / f"{case}{SUFFIX}"


def golden(case: str) -> list[Json]:
    """Read what a file of values is rendered to, without CRDs."""
    return documents((GOLDEN / f"{case}.yaml").read_text(encoding="utf-8"))


def documents(text: str) -> list[Json]:
    """Read all objects of a YAML text."""
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


def of_kind(objects: Iterable[Json], kind: str) -> list[Json]:
    """Return the objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def only(objects: Iterable[Json], kind: str) -> Json:
    """Return the one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def env_of(objects: Iterable[Json]) -> dict[str, str]:
    """Return the variables of the operator's container that have a value."""
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def chart_key() -> str:
    """Hash all that the renders are made from."""
    digest = hashlib.sha256()
    for path in sorted(each for each in CHART.rglob("*") if each.is_file() and each.suffix != ".md"):
        digest.update(str(path.relative_to(CHART)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
