"""The task contract: how an input becomes a prompt, and what a right answer looks like.

Written once in the FineTuneJob, stored in the adapter's manifest, and read from there by the predictor, so that training and serving can't drift.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from graft_core.api.base import Cel, KubeModel

__all__ = ["SqlPolicy", "TaskSpec", "TaskType"]


class TaskType(StrEnum):
    """The five kinds of work Graft knows; the table is in docs/user."""

    CHAT = "chat"
    TEXT_TO_JSON = "text-to-json"
    TEXT_TO_SQL = "text-to-sql"
    RAG_QA = "rag-qa"
    CLASSIFICATION = "classification"


class SqlPolicy(KubeModel):
    """What an answer of a text-to-sql task may do."""

    allowed_verbs: Annotated[
        tuple[Annotated[str, Field(max_length=16, pattern=r"^[A-Z]+$")], ...], Field(max_length=16)
    ] = ("SELECT",)
    """SQL verbs that may appear."""
    tenant_column: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Column that every table is filtered by."""


class TaskSpec(KubeModel):
    """One task, used as it stands by training, evaluation and serving."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.outputSchema) || self.type == 'text-to-json'",
            "outputSchema is only for type text-to-json",
            ".outputSchema",
        ),
        Cel("!has(self.labels) || self.type == 'classification'", "labels is only for type classification", ".labels"),
        Cel(
            "!has(self.sqlPolicy) || self.type == 'text-to-sql'", "sqlPolicy is only for type text-to-sql", ".sqlPolicy"
        ),
    )

    type: TaskType
    """chat, text-to-json, text-to-sql, rag-qa or classification."""
    prompt_version: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$")] = "v1"
    """A name for this wording of the prompt; shown in metrics and reports."""
    system: Annotated[str, Field(max_length=16384)] = ""
    """System message; empty for none."""
    template: Annotated[str, Field(max_length=16384)] = ""
    """Jinja template (sandboxed) of the user's message over the record's input fields; empty: the input as it is."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema (draft 2020-12) of the answer, for text-to-json."""
    labels: (
        Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(min_length=2, max_length=1024)]
        | None
    ) = None
    """Closed set of labels, for classification; unset: those found in the training data, sorted."""
    sql_policy: SqlPolicy | None = None
    """What a text-to-sql answer may do."""
