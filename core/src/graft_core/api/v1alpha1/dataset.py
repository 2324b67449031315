"""`spec.dataset` of a FineTuneJob."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from graft_core.api.base import Cel, Fraction, KubeModel, SecretRef

__all__ = ["DataUri", "DatasetFormat", "DatasetSpec", "DedupeSpec", "NearDedupeSpec", "OnInvalidRecord", "SplitSpec"]

DataUri = Annotated[
    str,
    Field(
        min_length=8,
        max_length=1024,
        pattern=r"^(s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]/|hf://[A-Za-z0-9]|pvc://[a-z0-9]|file:///)[^\s\\@?#\x00-\x1f\x7f]*$",
    ),
]
"""Where records lie: s3://bucket/key, file:///path, hf://dataset@revision or pvc://claim/path. No credentials, no `..`, no white space."""


class DatasetFormat(StrEnum):
    """How one record is laid out."""

    AUTO = "auto"
    INPUT_OUTPUT = "input-output"
    INSTRUCTION = "instruction"
    MESSAGES = "messages"
    PREFERENCE = "preference"
    TEXT_LABEL = "text-label"
    FIELDS = "fields"


class OnInvalidRecord(StrEnum):
    """What a bad record does to the job."""

    FAIL = "fail"
    SKIP = "skip"


class SplitSpec(KubeModel):
    """How records without a given split are divided: by hash of the record, so that the same record always lands on the same side."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "double(self.validation) + double(self.test) <= 0.9",
            "validation + test must leave at least 0.1 for training",
        ),
    )

    validation: Fraction = "0.1"
    """Share of the records used for early stopping."""
    test: Fraction = "0.1"
    """Share of the records never seen in training, which the gates are judged on."""
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 42
    """Salt of the hash."""
    stratify_by: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][-_.A-Za-z0-9]*$")] | None = (
        None
    )
    """A field of the output (or `label`), or `length`: each value keeps its share in every split."""


class NearDedupeSpec(KubeModel):
    """Near-duplicate removal."""

    threshold: Fraction = "0.9"
    """Jaccard similarity of shingles from which two records count as one."""


class DedupeSpec(KubeModel):
    """Duplicate removal before the split."""

    exact: bool = True
    """Drop records equal to an earlier one."""
    near: NearDedupeSpec | None = None
    """Drop records nearly equal to an earlier one."""


class DatasetSpec(KubeModel):
    """Where the records are and how they are read."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("self.train.all(u, !u.contains('..'))", "train: a URI must not contain '..'", ".train"),
        Cel(
            "!has(self.validation) || self.validation.all(u, !u.contains('..'))",
            "validation: a URI must not contain '..'",
            ".validation",
        ),
        Cel("!has(self.test) || self.test.all(u, !u.contains('..'))", "test: a URI must not contain '..'", ".test"),
        Cel(
            "!has(self.maxInvalidFraction) || self.onInvalidRecord == 'skip'",
            "maxInvalidFraction needs onInvalidRecord: skip",
            ".maxInvalidFraction",
        ),
    )

    train: Annotated[tuple[DataUri, ...], Field(min_length=1, max_length=64)]
    """Files of records (.json, .jsonl, .csv, .parquet)."""
    validation: Annotated[tuple[DataUri, ...], Field(min_length=1, max_length=64)] | None = None
    """A given validation split, used as it is after the leak check."""
    test: Annotated[tuple[DataUri, ...], Field(min_length=1, max_length=64)] | None = None
    """A given test split, used as it is after the leak check."""
    split: SplitSpec = SplitSpec()
    """How the rest is divided."""
    format: DatasetFormat = DatasetFormat.AUTO
    """Record layout; auto looks at the first records and says what it found."""
    on_invalid_record: OnInvalidRecord = OnInvalidRecord.FAIL
    """fail: refuse the data set, naming file, line and reason; skip: drop and count the record."""
    max_invalid_fraction: Fraction | None = None
    """With skip: share of bad records from which the data set is refused after all (default 0.01)."""
    dedupe: DedupeSpec = DedupeSpec()
    """Duplicate removal; a record in two splits fails the job unless this drops it."""
    secret_ref: SecretRef | None = None
    """Credentials for s3:// and hf://."""
