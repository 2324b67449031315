"""What the rest of the trainer sees of a data set: records, and three splits of them.

    dataset = prepare_dataset(request, work_dir)      # graft_trainer.data.prepare
    for record in dataset.train: ...                  # Record, read from disk as it is asked for

A split costs eight bytes a record in memory; the texts stay in memory-mapped Arrow files (`store.py` has the layout).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_core.api.v1alpha1.jobstatus import DatasetStatus, DroppedCounts, RecordCounts
from graft_core.tasks.messages import Message

__all__ = ["LengthHistogram", "PreparedDataset", "Problem", "Record", "SplitName", "SplitNames"]

SplitName = Literal["train", "validation", "test"]
"""Names of the splits, as spec.dataset has them."""
SplitNames: tuple[SplitName, ...] = ("train", "validation", "test")
"""All of them, in the order in which they are read."""


@dataclass(frozen=True, slots=True)
class Record:
    """One example: an input and its right answer.

    `fields` and `messages` are two ways to say the input, and exactly one is used: `messages` is None where the task's
    template renders `fields` (graft_core.tasks.template.render_prompt), and `fields` is empty where the record is a chat.
    """

    id: str
    """sha256 hex over input and answer: the same record has the same id in any file, at any line."""
    source: str
    """URI of the file, as the spec writes it."""
    line: int
    """1-based: the line a record starts on (.jsonl, .json, .csv, .tsv), or the row (.parquet)."""
    fields: Mapping[str, object]
    """Input fields for the prompt, JSON values: those that task.template names; without one, `input` (and `instruction`)."""
    messages: tuple[Message, ...] | None
    """The turns before the answer, the record's own system message first if it has one; None for other formats."""
    answer: str
    """The right answer as the model shall write it: the text, the canonical JSON of text-to-json, the label."""
    label: str | None
    """The label as the closed set writes it, for classification; else None."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in the data, told without its text."""

    source: str
    """URI of the file."""
    line: int
    """Line or row, as in Record; 0: the file as a whole."""
    reason: str
    """What is wrong and what was expected; never quotes a record."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.reason}" if self.line else f"{self.source}: {self.reason}"


@dataclass(frozen=True, slots=True)
class LengthHistogram:
    """How long records are: bucket i counts lengths in [2**i, 2**(i+1)); bucket 0 holds length 0 too."""

    unit: Literal["tokens", "characters"]
    """tokens where the caller measured, else characters of input and answer."""
    counts: tuple[int, ...]
    """Records by bucket, without trailing empty ones."""
    longest: int
    """Longest record."""

    def buckets(self) -> list[tuple[int, int, int]]:
        """Return (from, below, count) by bucket."""
        return [(0 if i == 0 else 2**i, 2 ** (i + 1), count) for i, count in enumerate(self.counts)]


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """A checked data set; its splits share no input."""

    train: Sequence[Record]
    """Records to learn from; indexable, lazy, in the files' order."""
    validation: Sequence[Record]
    """Records for early stopping; may be empty where spec.dataset.split.validation is 0."""
    test: Sequence[Record]
    """Records the gates are judged on; never trained on."""
    digest: str
    """sha256:… over the files' bytes and which split each file belongs to."""
    dropped: DroppedCounts
    """Records left out."""
    labels: tuple[str, ...]
    """Closed label set, in its order; empty for other tasks."""
    label_counts: Mapping[str, Mapping[SplitName, int]]
    """Records by label and split."""
    format: DatasetFormat
    """Layout that was used; never auto."""
    found: str
    """For a person: which layout and columns were used, and why."""
    lengths: LengthHistogram
    """Lengths of the kept records."""
    problems: tuple[Problem, ...]
    """Examples of the bad records that were skipped; `dropped.invalid` counts them all."""
    warnings: tuple[str, ...]
    """What a person should look at, without any record's text: conflicting answers, many duplicates, a rare class."""

    @property
    def counts(self) -> RecordCounts:
        """Records by split."""
        return RecordCounts(train=len(self.train), validation=len(self.validation), test=len(self.test))

    @property
    def status(self) -> DatasetStatus:
        """What the report says of the data set."""
        return DatasetStatus(digest=self.digest, records=self.counts, dropped=self.dropped)

    def split(self, name: SplitName) -> Sequence[Record]:
        """Return a split by its name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]
