"""What makes a data set unusable as a whole, and what a person should only be told."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from graft_core.api.v1alpha1.dataset import DatasetSpec, OnInvalidRecord
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import NotSupported
from graft_core.tasks.outputs import normalize_label
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.gather import Gathered
from graft_trainer.data.index import Findings
from graft_trainer.data.records import Problem
from graft_trainer.data.split import TEST, TRAIN, U8, VALIDATION

__all__ = ["check_bad_records", "check_labels", "check_leaks", "check_options", "check_splits", "list_warnings"]

Place = Callable[[int], tuple[str, int]]
"""File and line of a record by its number."""

_DEFAULT_MAX_INVALID = Decimal("0.01")


def check_options(task: TaskSpec, spec: DatasetSpec) -> None:
    """Refuse what this version does not build, and a stratum that the task cannot have.

    Args:
        task: What the records are for.
        spec: The data set.

    Raises:
        NotSupported: dedupe.near.
        DatasetError: split.stratifyBy does not fit the task.
    """
    if spec.dedupe.near is not None:
        raise NotSupported("spec.dataset.dedupe.near is not supported in this version", path="spec.dataset.dedupe.near")
    by = spec.split.stratify_by
    if by in {None, "length"} or task.type is TaskType.TEXT_TO_JSON:
        return
    if not (by == "label" and task.type is TaskType.CLASSIFICATION):
        raise DatasetError(
            f"spec.dataset.split.stratifyBy: {by!r} does not fit a {task.type.value} task; use 'length'"
            + (" or 'label'" if task.type is TaskType.CLASSIFICATION else ""),
            path="spec.dataset.split.stratifyBy",
        )


def check_bad_records(spec: DatasetSpec, problems: Sequence[Problem], bad: int, seen: int) -> None:
    """Carry out onInvalidRecord.

    Raises DatasetError: Bad records, with fail; too many of them, with skip.
    """
    if not bad:
        return
    head = f"{bad} of {seen} records {'is' if bad == 1 else 'are'} bad"
    if spec.on_invalid_record is OnInvalidRecord.FAIL:
        raise DatasetError.from_problems(f"{head} (onInvalidRecord: fail)", problems, bad)
    most = Decimal(spec.max_invalid_fraction) if spec.max_invalid_fraction is not None else _DEFAULT_MAX_INVALID
    if bad > most * seen:
        raise DatasetError.from_problems(f"{head}, more than maxInvalidFraction {most}", problems, bad)


def check_leaks(found: Findings, place: Place) -> None:
    """Refuse inputs that stand in two given splits.

    Raises DatasetError: Names both places of the first few.
    """
    if not found.leaks:
        return
    shown = "; ".join(f"{_at(place, a)} and {_at(place, b)}" for a, b in found.leak_pairs)
    more = f" and {found.leaks - len(found.leak_pairs)} more" if found.leaks > len(found.leak_pairs) else ""
    source, line = place(found.leak_pairs[0][1])
    raise DatasetError(
        f"{found.leaks} {'input stands' if found.leaks == 1 else 'inputs stand'} in two splits: {shown}{more}; a model must"
        " not be judged on what it has learned: remove them from one of the files",
        path=f"{source}:{line}",
        reason="DatasetLeak",
    )


def check_splits(spec: DatasetSpec, codes: U8) -> None:
    """Refuse an empty split that is wanted.

    Raises DatasetError: Names the split and how to fill it.
    """
    wanted = {
        "train": (TRAIN, True),
        "validation": (VALIDATION, spec.validation is not None or float(spec.split.validation) > 0),
        "test": (TEST, spec.test is not None or float(spec.split.test) > 0),
    }
    kept = int((codes <= TEST).sum())
    for name, (code, is_wanted) in wanted.items():
        if is_wanted and not (codes == code).any():
            raise DatasetError(
                f"the {name} split is empty: {kept} usable records are left after bad ones and copies were dropped; add"
                f" records, change spec.dataset.split, or name files in spec.dataset.{name}",
                path=f"spec.dataset.{name}",
                reason="EmptyDataset",
            )


def check_labels(task: TaskSpec, labels: Sequence[str], counts: npt.NDArray[np.int64], *, is_closed: bool) -> None:
    """Refuse a label set that no classifier can be built on.

    Args:
        task: Only classification has labels.
        labels: The set, sorted or as declared.
        counts: Records by (label, split code).
        is_closed: The set was declared; else it was collected from the records.

    Raises:
        DatasetError: Fewer than two labels, two that differ only in case or white space, or one that training never sees.
    """
    if task.type is not TaskType.CLASSIFICATION:
        return
    if len(labels) < 2:
        raise DatasetError(
            f"all records have the same label, {list(labels)!r}; a classifier needs two", path="spec.task.labels"
        )
    for a, b in pairwise(sorted(labels, key=normalize_label)):
        if normalize_label(a) == normalize_label(b):
            raise DatasetError(
                f"labels {a!r} and {b!r} differ only in case, spaces or quotes; use one", path="spec.task.labels"
            )
    unseen = [name for name, row in zip(labels, counts, strict=True) if row[TRAIN] == 0 and row.sum() > 0]
    if unseen and not is_closed:
        raise DatasetError(
            f"labels {unseen[:10]!r} occur in validation or test only: training never sees them; add training records, or"
            " declare the set in spec.task.labels",
            path="spec.task.labels",
        )


def list_warnings(
    gathered: Gathered, found: Findings, place: Place, labels: Sequence[str], counts: npt.NDArray[np.int64]
) -> list[str]:
    """Return what a person should look at."""
    warnings: list[str] = []
    total = gathered.buckets.records
    if found.conflicts:
        shown = "; ".join(f"{_at(place, a)} and {_at(place, b)}" for a, b in found.conflict_pairs)
        warnings.append(f"{found.conflicts} records answer an input otherwise than an earlier record does: {shown}")
    if found.copies * 2 > total:
        warnings.append(f"{found.copies} of {total} records are copies of others")
    for kind, (first, count) in gathered.sensitive.items():
        warnings.append(f"{count} records hold what looks like {kind}, first at {first.source}:{first.line}")
    for name, row in zip(labels, counts, strict=True):
        missing = [split for split, code in (("train", TRAIN), ("test", TEST)) if row[code] == 0]
        if missing:
            warnings.append(f"label {name!r} has no record in {' and '.join(missing)}")
    return warnings


def _at(place: Place, seq: int) -> str:
    source, line = place(seq)
    return f"{source}:{line}"
