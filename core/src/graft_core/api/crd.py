"""The CRDs, made from the models: `python -m graft_core.api.crd --write | --check`."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import yaml
from pydantic import BaseModel

from graft_core.api.generated import run_generator
from graft_core.api.schema import Schema, structural_schema
from graft_core.api.v1alpha1.columns import COLUMNS, SHORT_NAMES, Column
from graft_core.api.v1alpha1.finetunejob import FineTuneJob, FineTuneJobSpec, FineTuneJobStatus
from graft_core.api.v1alpha1.modelrelease import ModelRelease, ModelReleaseSpec, ModelReleaseStatus
from graft_core.api.v1alpha1.names import GROUP, KIND_FINETUNEJOB, KIND_MODELRELEASE, PLURALS, VERSION

__all__ = ["KINDS", "Kind", "crd_files", "object_schema", "render_crd"]

FOLDER: Final = Path("manifests/crds")

NAME_RULES: Final[list[Schema]] = [
    {
        "rule": "self.metadata.name.size() <= 50",
        "message": "metadata.name must have at most 50 characters: names of child objects add to it",
    },
    {
        "rule": "!self.metadata.name.contains('.')",
        "message": "metadata.name must not contain a dot: children are named after it",
    },
]
"""The only thing about metadata that a CRD may rule on."""


@dataclass(frozen=True)
class Kind:
    """What there is to say of a kind besides its schema."""

    kind: str
    short_name: str
    model: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[Column, ...]


KINDS: Final = {
    KIND_FINETUNEJOB: Kind(
        KIND_FINETUNEJOB,
        SHORT_NAMES[KIND_FINETUNEJOB],
        FineTuneJob,
        FineTuneJobSpec,
        FineTuneJobStatus,
        COLUMNS[KIND_FINETUNEJOB],
    ),
    KIND_MODELRELEASE: Kind(
        KIND_MODELRELEASE,
        SHORT_NAMES[KIND_MODELRELEASE],
        ModelRelease,
        ModelReleaseSpec,
        ModelReleaseStatus,
        COLUMNS[KIND_MODELRELEASE],
    ),
}
"""Graft's kinds by name."""


@cache
def object_schema(kind: str) -> Schema:
    """Return the schema of whole objects of a kind; callers must not change it."""
    found = KINDS[kind]
    return {
        "description": " ".join((found.model.__doc__ or "").split()),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"{GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"{kind}.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(found.spec),
            "status": structural_schema(found.status),
        },
        "x-kubernetes-validations": NAME_RULES,
    }


def render_crd(kind: str) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    found = KINDS[kind]
    plural = PLURALS[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [found.short_name],
                "categories": ["graft"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_render_column(column) for column in found.columns],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


def _render_column(column: Column) -> dict[str, Any]:
    wide = {"priority": 1} if column.is_wide else {}
    return {"name": column.name, "type": column.type, "jsonPath": column.path, **wide}


class _Dumper(yaml.SafeDumper):
    """YAML that reads the same in every parser: texts that some would take for numbers are quoted, nothing is an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401  # the base class's signature
        """Write a value each time it occurs."""
        return True


_NUMBER_LIKE: Final = re.compile(r"^[-+.]?[0-9]")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML 1.1 as PyYAML has it takes 2e-4 for a text, YAML 1.2 and Kubernetes' parser take it for a number.
    style = '"' if _NUMBER_LIKE.match(text) else None
    represent = cast("Callable[..., yaml.ScalarNode]", dumper.represent_scalar)  # pyright: ignore[reportUnknownMemberType]  # its stub leaves `value` open
    return represent("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def crd_files() -> dict[Path, str]:
    """Return the text of each file by its path in the repository."""
    return {
        FOLDER
        / f"{GROUP}_{PLURALS[kind]}.yaml": "# Generated by graft_core.api.crd: change the models, then run make generate.\n---\n"
        + yaml.dump(render_crd(kind), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=160)
        for kind in KINDS
    }


if __name__ == "__main__":
    sys.exit(run_generator(crd_files()))
