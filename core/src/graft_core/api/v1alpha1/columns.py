"""What a table of each kind shows, and the kinds' short names: for the CRDs and for the command line.

It stands apart from the models so that a command that only prints a table need not import them.
"""

from dataclasses import dataclass
from typing import Final, Literal

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, KIND_MODELRELEASE

__all__ = ["COLUMNS", "SHORT_NAMES", "Column"]


@dataclass(frozen=True)
class Column:
    """A column of kubectl get."""

    name: str
    type: Literal["string", "integer", "date"]
    path: str
    is_wide: bool = False


COLUMNS: Final = {
    KIND_FINETUNEJOB: (
        Column("Phase", "string", ".status.phase"),
        Column("Progress", "string", ".status.progress.steps"),
        Column("Loss", "string", ".status.progress.loss"),
        Column("Score", "string", ".status.gates[0].value"),
        Column("Artifact", "string", ".status.artifact.shortDigest"),
        Column("Model", "string", ".spec.model.id", is_wide=True),
        Column("Age", "date", ".metadata.creationTimestamp"),
    ),
    KIND_MODELRELEASE: (
        Column("Phase", "string", ".status.phase"),
        Column("Stable", "string", ".status.stable.revision"),
        Column("Candidate", "string", ".status.candidate.revision"),
        Column("Weight", "integer", ".status.candidate.weight"),
        Column("URL", "string", ".status.url"),
        Column("Age", "date", ".metadata.creationTimestamp"),
    ),
}
"""Columns after the name, by kind."""

SHORT_NAMES: Final = {KIND_FINETUNEJOB: "ftj", KIND_MODELRELEASE: "mr"}
"""What people type."""
