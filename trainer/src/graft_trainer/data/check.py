"""One pass over the files of a data set: what `prepare.py` does where nothing usable is stored yet."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from graft_core.api.shapes import is_object
from graft_core.api.v1alpha1.task import TaskType
from graft_core.contracts.train_request import TrainRequest
from graft_trainer.config import DataLimits
from graft_trainer.data.batches import Codes
from graft_trainer.data.faults import MAX_EXAMPLES, DatasetError
from graft_trainer.data.formats import Layout, choose_layout
from graft_trainer.data.gather import Gathered
from graft_trainer.data.index import DROPPED, Buckets, SplitPlan, assign, count_labels, count_lengths, find_twins
from graft_trainer.data.lines import LinePiece, LineReader, cut
from graft_trainer.data.pool import scan_all
from graft_trainer.data.readers import read_header, read_rows
from graft_trainer.data.records import Problem, Record, SplitName, SplitNames
from graft_trainer.data.scan import SIDES, PieceJob
from graft_trainer.data.shape import ShaperSpec
from graft_trainer.data.sources import FileKind, InputFile
from graft_trainer.data.split import TEST, U8
from graft_trainer.data.store import DatasetMeta, StoredRecords
from graft_trainer.data.verdict import (
    check_bad_records,
    check_labels,
    check_leaks,
    check_splits,
    list_warnings,
)

__all__ = ["Check", "Measure", "PrepareProgress"]

_SAMPLE_RECORDS = 100
_SAMPLE_BYTES = 1 << 18


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


class Check:
    """One pass over the files."""

    def __init__(
        self,
        request: TrainRequest,
        files: tuple[InputFile, ...],
        *,
        limits: DataLimits,
        measure: Measure | None,
        special_tokens: tuple[str, ...],
        on_progress: Callable[[PrepareProgress], None] | None,
    ) -> None:
        self._request, self._files, self._limits = request, files, limits
        self._measure, self._special_tokens = measure, special_tokens
        self._on_progress = on_progress
        self._total = sum(file.size for file in files)
        task = request.task
        self._declared = task.labels or (request.pinned.labels if request.pinned else ())
        self._is_classification = task.type is TaskType.CLASSIFICATION

    def run(self, folder: Path, digest: Future[str], key: Callable[[str], str]) -> DatasetMeta:
        """Check and store everything but the meta data.

        DatasetError is raised where the data must change.

        Args:
            folder: Where to store.
            digest: Digest of the files, once it is known.
            key: Makes the data set's key from the digest.

        Returns:
            The meta data, to be written last.
        """
        spec = self._request.dataset
        layout = self._choose_layout()
        gathered = self._scan(folder, layout)
        check_bad_records(spec, gathered.problems, gathered.bad, gathered.seen)
        stored = StoredRecords(folder, gathered.batches, layout.format, task=self._request.task.type)
        codes = _given_sides(gathered)
        found = find_twins(gathered.buckets, codes, drop_copies=spec.dedupe.exact)
        check_leaks(found, stored.place)
        self._check_strata(gathered)
        plan = SplitPlan(
            validation=0.0 if spec.validation else float(spec.split.validation),
            test=0.0 if spec.test else float(spec.split.test),
            seed=spec.split.seed,
            stratify_by=spec.split.stratify_by,
        )
        assign(gathered.buckets, codes, found, plan)
        lengths, longest = self._measure_all(stored, codes, gathered)
        check_splits(spec, codes)
        labels, counts = self._labels(gathered, codes)
        for name in SplitNames:
            np.save(folder / f"{name}.npy", np.flatnonzero(codes == SIDES[name]))
        gathered.buckets.remove()
        return DatasetMeta(
            key=key(digest.result()),
            digest=digest.result(),
            format=layout.format,
            found=layout.found,
            task=self._request.task.type,
            labels=labels,
            label_counts=_label_counts(labels, counts),
            invalid=gathered.bad,
            duplicate=found.copies,
            length_unit="tokens" if self._measure else "characters",
            length_counts=tuple(lengths),
            longest=longest,
            problems=tuple((p.source, p.line, p.reason) for p in gathered.problems),
            warnings=tuple(list_warnings(gathered, found, stored.place, labels, counts)),
            batches=tuple(gathered.batches),
        )

    def _choose_layout(self) -> Layout:
        spec = self._request.dataset
        first = self._files[0]
        header = read_header(first, self._limits)
        layout = choose_layout(self._request.task, spec.format, [header] if header else self._sample(first))
        for file in self._files[1:]:
            names = read_header(file, self._limits)
            missing = [name for name in layout.columns if names is not None and name not in {*names, *layout.optional}]
            if missing:
                raise DatasetError.of_file(file.uri, f"column {missing[0]!r} is missing; {first.uri} has it")
        return layout

    def _sample(self, file: InputFile) -> list[tuple[str, ...]]:
        """Return the column names of the first readable records; refuses a file that has none."""
        piece = LinePiece(0, min(file.size, _SAMPLE_BYTES))
        is_lines = file.kind is FileKind.JSONL
        rows = LineReader(file.path, piece, self._limits).rows() if is_lines else read_rows(file, None, self._limits)
        names: list[tuple[str, ...]] = []
        faults: list[Problem] = []
        for line, value, fault in islice(rows, _SAMPLE_RECORDS):
            if is_object(value):
                names.append(tuple(value))
            else:
                faults.append(Problem(file.uri, line, fault or "expected an object with columns"))
        if names:
            return names
        if faults:
            raise DatasetError.from_problems("no record can be read", faults[:MAX_EXAMPLES], len(faults))
        raise DatasetError.of_file(file.uri, "holds no record", line=0)

    def _scan(self, folder: Path, layout: Layout) -> Gathered:
        gathered = Gathered(
            Buckets(folder, self._total, self._limits.bucket_bytes),
            Codes(self._limits.labels, "labels; is the label's column free text?"),
            Codes(self._limits.strata, "values of spec.dataset.split.stratifyBy; is it free text?"),
        )
        jobs = list(self._jobs(folder, layout))
        done = 0
        for job, result in zip(jobs, scan_all(jobs, threads=self._request.compute.threads), strict=True):
            gathered.take(job, result)
            done += job.size
            if self._on_progress is not None:
                self._on_progress(PrepareProgress(done, self._total, gathered.seen))
        if gathered.seen == 0:
            raise DatasetError.of_file(self._files[0].uri, "holds no record")
        return gathered

    def _jobs(self, folder: Path, layout: Layout) -> Iterator[PieceJob]:
        by = self._request.dataset.split.stratify_by
        shaper = ShaperSpec(self._request.task, layout, self._declared, by, self._limits)
        number = 0
        for file in self._files:
            side = 0 if file.split == "train" else SIDES[file.split]
            pieces = cut(file.size, self._limits.piece_bytes) if file.kind is FileKind.JSONL else [None]
            for piece in pieces:
                part = folder / f"part-{number:05}.arrow"
                yield PieceJob(file, piece, part, side, shaper, self._special_tokens, self._limits)
                number += 1

    def _check_strata(self, gathered: Gathered) -> None:
        by = self._request.dataset.split.stratify_by
        if by not in {None, "length"} and not gathered.strata.names:
            raise DatasetError(
                f"spec.dataset.split.stratifyBy: no answer has a field {by!r}", path="spec.dataset.split.stratifyBy"
            )

    def _measure_all(self, stored: StoredRecords, codes: U8, gathered: Gathered) -> tuple[list[int], int]:
        """Count tokens where there is a tokenizer, and drop what is too long."""
        if self._measure is None:
            return count_lengths(gathered.buckets, codes)
        most = self._request.training.max_length
        counts = np.zeros(33, np.int64)
        longest = 0
        for seq in np.flatnonzero(codes <= TEST):
            record = stored.record(int(seq))
            tokens = self._measure.tokens(record)
            if tokens > most:
                codes[seq] = DROPPED
                gathered.bad += 1
                if len(gathered.problems) < MAX_EXAMPLES:
                    reason = f"{tokens} tokens; spec.training.maxLength is {most}, and records are never cut"
                    gathered.problems.append(Problem(record.source, record.line, reason))
                continue
            longest = max(longest, tokens)
            counts[max(tokens, 1).bit_length() - 1] += 1
        check_bad_records(self._request.dataset, gathered.problems, gathered.bad, gathered.seen)
        return list(map(int, np.trim_zeros(counts, "b"))), longest

    def _labels(self, gathered: Gathered, codes: U8) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """Return the closed set and its counts, in one order."""
        if not self._is_classification:
            return (), np.zeros((0, 4), np.int64)
        seen = gathered.labels.names
        labels = self._declared or tuple(sorted(seen))
        by_code = count_labels(gathered.buckets, codes, len(seen))
        counts = np.zeros((len(labels), 4), np.int64)
        for i, name in enumerate(labels):
            if name in seen:
                counts[i] = by_code[seen.index(name)]
        check_labels(self._request.task, labels, counts, is_closed=bool(self._declared))
        return labels, counts


def _given_sides(gathered: Gathered) -> U8:
    """Return the assignment before the split: given splits, 0 elsewhere."""
    sides = np.array([side for _, side in gathered.sides], np.uint8)
    return np.repeat(sides, [rows for rows, _ in gathered.sides])


def _label_counts(labels: tuple[str, ...], counts: npt.NDArray[np.int64]) -> dict[str, dict[SplitName, int]]:
    return {
        label: {name: int(row[SIDES[name]]) for name in SplitNames} for label, row in zip(labels, counts, strict=True)
    }
