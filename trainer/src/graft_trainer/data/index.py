"""Duplicates, leaks and splits over all records, with memory bounded by buckets.

INDEX rows are spread over bucket files by the first bits of their input's hash, so that equal inputs meet in one bucket, and
each bucket is worked on by itself. What is decided is one byte a record.

    equal input, equal answer     a copy: dropped (dedupe.exact), the one of test kept before validation's before train's, then the first
    equal input, other answer     a conflict: kept on one side and reported; across given splits: a leak
    copies kept across splits     (dedupe.exact: false) a leak
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from graft_trainer.data.batches import INDEX, NO_CODE, IndexRows
from graft_trainer.data.split import (
    TEST,
    TRAIN,
    U8,
    U16,
    U64,
    VALIDATION,
    exact_shares,
    plain_shares,
    quartiles,
    salted,
)

__all__ = [
    "COPY",
    "DROPPED",
    "Buckets",
    "Findings",
    "SplitPlan",
    "assign",
    "count_labels",
    "count_lengths",
    "find_twins",
]

COPY: Final = 254
"""Assignment of a dropped copy."""
DROPPED: Final = 253
"""Assignment of a record that was found bad after it was stored (too many tokens)."""

_EXAMPLES: Final = 5
_SMALL: Final = 10_000
"""Below this many records a plain split is made by exact shares if it came out empty."""


class Buckets:
    """INDEX rows in files, by the first bits of their input's hash."""

    def __init__(self, folder: Path, total_bytes: int, bucket_bytes: int) -> None:
        self._bits = max(0, (max(total_bytes, 1) - 1) // bucket_bytes).bit_length()
        self._paths = [folder / f"index-{i}.bin" for i in range(1 << self._bits)]
        self.records = 0
        """Rows taken so far; the next row's `seq`."""

    def add(self, rows: IndexRows) -> None:
        """Number the rows of one batch and store them."""
        rows["seq"] = np.arange(self.records, self.records + len(rows), dtype=np.uint64)
        self.records += len(rows)
        if self._bits == 0:
            self._append(0, rows)
            return
        where = (rows["hi"] >> np.uint64(64 - self._bits)).astype(np.int64)
        for i in np.unique(where):
            self._append(int(i), rows[where == i])

    def _append(self, i: int, rows: IndexRows) -> None:
        with self._paths[i].open("ab") as file:
            file.write(rows.tobytes())

    def __iter__(self) -> Iterator[IndexRows]:
        """Yield each bucket's rows, in the order in which they came."""
        for path in self._paths:
            if path.exists():
                yield np.fromfile(path, INDEX)

    def remove(self) -> None:
        """Delete the files."""
        for path in self._paths:
            path.unlink(missing_ok=True)


@dataclass(slots=True)
class Findings:
    """What equal inputs there are."""

    copies: int = 0
    conflicts: int = 0
    """Records with another answer than an earlier one to the same input."""
    conflict_pairs: list[tuple[int, int]] = field(default_factory=list)
    """Examples, as `seq`."""
    leaks: int = 0
    leak_pairs: list[tuple[int, int]] = field(default_factory=list)
    """Examples, as `seq`."""
    followers: list[tuple[U64, U64]] = field(default_factory=list)
    """(seq, seq of the first record with the same input): these share a split."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How records without a given split are divided."""

    validation: float
    test: float
    seed: int
    stratify_by: str | None


def find_twins(buckets: Buckets, codes: U8, *, drop_copies: bool) -> Findings:
    """Find equal inputs, mark copies in `codes`.

    Args:
        buckets: All rows.
        codes: One byte a record; given splits are set already, 0 elsewhere.
        drop_copies: spec.dataset.dedupe.exact.

    Returns:
        Copies, conflicts and leaks.
    """
    found = Findings()
    for rows in buckets:
        twins = _rows_with_twins(rows)
        if len(twins):
            _judge_twins(twins, codes, found, drop_copies=drop_copies)
    return found


def _rows_with_twins(rows: IndexRows) -> IndexRows:
    """Return the rows whose input occurs more than once; nearly always few."""
    high = np.ascontiguousarray(rows["hi"])
    order = np.argsort(high)
    ordered = high[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return rows[:0]
    member = np.zeros(len(rows), bool)
    member[order[1:][same]] = True
    member[order[:-1][same]] = True
    return rows[member]


def _judge_twins(rows: IndexRows, codes: U8, found: Findings, *, drop_copies: bool) -> None:
    # Test before validation before train; the pool (0) counts as train.
    rank = np.uint8(3) - np.maximum(rows["side"], 1)
    rows = rows[np.lexsort((rows["seq"], rank, rows["length"], rows["answer"], rows["lo"], rows["hi"]))]
    same_input = _equal_neighbours(rows, ("hi", "lo"))
    is_copy = same_input & _equal_neighbours(rows, ("answer", "length"))
    if drop_copies:
        found.copies += int(is_copy.sum())
        codes[rows["seq"][is_copy]] = COPY
        rows = rows[~is_copy]
    # The first in the files' order leads its group; the others follow it to its split.
    rows = rows[np.lexsort((rows["seq"], rows["lo"], rows["hi"]))]
    follows = _equal_neighbours(rows, ("hi", "lo"))
    if not follows.any():
        return
    leader = np.maximum.accumulate(np.where(follows, 0, np.arange(len(rows))))
    lead, seq = rows["seq"][leader], rows["seq"]
    found.followers.append((seq[follows], lead[follows]))
    leaks = follows & (rows["side"] != rows["side"][leader])
    differs = (rows["answer"] != rows["answer"][leader]) | (rows["length"] != rows["length"][leader])
    conflicts = follows & differs & ~leaks
    found.leaks += int(leaks.sum())
    found.conflicts += int(conflicts.sum())
    _note(found.leak_pairs, lead, seq, leaks)
    _note(found.conflict_pairs, lead, seq, conflicts)


def _note(pairs: list[tuple[int, int]], lead: U64, seq: U64, where: npt.NDArray[np.bool_]) -> None:
    for i in np.flatnonzero(where)[: _EXAMPLES - len(pairs)]:
        pairs.append((int(lead[i]), int(seq[i])))  # noqa: PERF401 - at most five


def _equal_neighbours(rows: IndexRows, names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Say for each row whether it equals the one before."""
    equal = np.ones(len(rows), bool)
    equal[:1] = False
    for name in names:
        column = rows[name]
        equal[1:] &= column[1:] == column[:-1]
    return equal


def assign(buckets: Buckets, codes: U8, found: Findings, plan: SplitPlan) -> None:
    """Give every record that has no split one, in `codes`.

    Args:
        buckets: All rows.
        codes: 0 where a split is wanted.
        found: Says which records must stay together.
        plan: Shares, seed and strata.
    """
    if plan.stratify_by is None:
        pool = codes == 0
        for rows in buckets:
            mine = pool[rows["seq"]]
            mixed = salted(np.ascontiguousarray(rows["hi"][mine]), plan.seed)
            codes[rows["seq"][mine]] = plain_shares(mixed, validation=plan.validation, test=plan.test)
        if len(codes) >= _SMALL or not _has_empty_share(codes[pool], plan):
            return
        codes[pool] = 0
    _assign_exactly(buckets, codes, found, plan)


def _has_empty_share(codes: U8, plan: SplitPlan) -> bool:
    wanted = [(TRAIN, 1.0), (VALIDATION, plan.validation), (TEST, plan.test)]
    return any(share > 0 and not (codes == code).any() for code, share in wanted)


def _assign_exactly(buckets: Buckets, codes: U8, found: Findings, plan: SplitPlan) -> None:
    is_follower = np.zeros(len(codes), bool)
    for seq, _ in found.followers:
        is_follower[seq] = True
    hashes: list[U64] = []
    seqs: list[U64] = []
    strata: list[U16] = []
    lengths: list[npt.NDArray[np.uint32]] = []
    for rows in buckets:
        wanted = rows[(codes[rows["seq"]] == 0) & ~is_follower[rows["seq"]]]
        hashes.append(salted(np.ascontiguousarray(wanted["hi"]), plan.seed))
        seqs.append(wanted["seq"].copy())
        strata.append(wanted["stratum"].copy())
        lengths.append(wanted["length"].copy())
    if not seqs:
        return
    if plan.stratify_by is None:
        strata = [np.zeros(sum(map(len, seqs)), np.uint16)]
    elif plan.stratify_by == "length":
        strata = [quartiles(np.concatenate(lengths))]
    codes[np.concatenate(seqs)] = exact_shares(
        np.concatenate(hashes),
        np.concatenate(strata),
        validation=plan.validation,
        test=plan.test,
        at_least_one=plan.stratify_by is None,
    )
    for seq, lead in found.followers:
        mine = codes[seq] == 0
        codes[seq[mine]] = codes[lead[mine]]


def count_labels(buckets: Buckets, codes: U8, labels: int) -> npt.NDArray[np.int64]:
    """Return records by (label, split code), of the records that are kept."""
    counts = np.zeros((labels, 4), np.int64)
    for rows in buckets:
        code = codes[rows["seq"]]
        kept = (code <= TEST) & (rows["label"] != NO_CODE)
        flat = rows["label"][kept].astype(np.int64) * 4 + code[kept]
        counts += np.bincount(flat, minlength=labels * 4).reshape(labels, 4)
    return counts


def count_lengths(buckets: Buckets, codes: U8) -> tuple[list[int], int]:
    """Return records by power of two of their length, and the longest, of the records that are kept."""
    counts = np.zeros(33, np.int64)
    longest = 0
    for rows in buckets:
        lengths = rows["length"][codes[rows["seq"]] <= TEST].astype(np.int64)
        if len(lengths):
            longest = max(longest, int(lengths.max()))
            counts += np.bincount(np.frexp(np.maximum(lengths, 1))[1] - 1, minlength=33)
    return list(map(int, np.trim_zeros(counts, "b"))), longest
