"""The door to a data set: `prepare_dataset` checks, splits and stores; `load_prepared` opens what it stored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graft_core.contracts.train_request import TrainRequest
from graft_trainer.data.records import PreparedDataset, Record

__all__ = ["Measure", "PrepareProgress", "load_prepared", "prepare_dataset"]


@dataclass(frozen=True, slots=True)
class PrepareProgress:
    """How far the check is."""

    done_bytes: int
    """Bytes of the files that are checked."""
    total_bytes: int
    """Bytes of all files."""
    records: int
    """Records seen."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How long a record is in tokens; only the caller has the tokenizer."""

    tokens: Callable[[Record], int]
    """Tokens of prompt and answer together."""
    key: str
    """Changes where `tokens` would answer otherwise, e.g. digest of tokenizer and template: part of what makes a prepared data set reusable."""


def prepare_dataset(
    request: TrainRequest,
    work_dir: Path,
    on_progress: Callable[[PrepareProgress], None] | None = None,
    *,
    measure: Measure | None = None,
    special_tokens: tuple[str, ...] = (),
) -> PreparedDataset:
    """Check, split and store the data set of a request, or open what an earlier call stored for the same bytes and spec.

    Args:
        request: Task, data set, hyper-parameters; where `pinned` is set, other bytes than those are refused.
        work_dir: The run folder; `prepared/` and `inputs/` below it are this function's.
        on_progress: Called now and then from this thread.
        measure: Records over training.maxLength tokens are bad records where this is given; without it, length is not checked.
        special_tokens: The tokenizer's control tokens: a record that spells one out could forge a turn, and is a bad record.

    Returns:
        The data set.

    Raises:
        DatasetError: Bad records, an empty split, a leak; reason and path say which and where.
        NotSupported: A URI scheme or option that this version does not build.
        Unavailable: Object storage is out of reach.
    """
    raise NotImplementedError


def load_prepared(work_dir: Path) -> PreparedDataset:
    """Open what `prepare_dataset` stored.

    Args:
        work_dir: The run folder.

    Returns:
        The data set, without reading its sources again.

    Raises:
        NotReady: Nothing complete is stored there.
    """
    raise NotImplementedError
