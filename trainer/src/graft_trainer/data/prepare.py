"""The door to a data set: `prepare_dataset` checks, splits and stores; `load_prepared` opens what it stored.

files ─► pieces ─► (processes) parse, shape, hash, store ─► twins, leaks, splits over hashes ─► token lengths ─► prepared/

Nothing of a record is held in this process but 38 bytes of hashes and numbers, and those in files once they are many.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import NotReady
from graft_core.storage.objects import open_store
from graft_core.tasks.outputs import check_output_schema
from graft_core.tasks.template import check_task_template
from graft_trainer.config import DataLimits
from graft_trainer.data.check import Check, Measure, PrepareProgress
from graft_trainer.data.credentials import dataset_env
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.records import PreparedDataset
from graft_trainer.data.sources import dataset_digest, open_sources
from graft_trainer.data.store import META, DatasetMeta, open_prepared
from graft_trainer.data.verdict import check_options

__all__ = ["Measure", "PrepareProgress", "load_prepared", "prepare_dataset"]

_FOLDER = "prepared"
_VERSION = 1
"""Raised when the same files and spec would be prepared otherwise than before."""


def prepare_dataset(
    request: TrainRequest,
    work_dir: Path,
    on_progress: Callable[[PrepareProgress], None] | None = None,
    *,
    measure: Measure | None = None,
    special_tokens: tuple[str, ...] = (),
    limits: DataLimits | None = None,
) -> PreparedDataset:
    """Check, split and store the data set of a request, or open what an earlier call stored for the same bytes and spec.

    What may be wrong comes as DatasetError (bad records, an empty split, a leak; reason and path say which and where), as InvalidInput
    (template or schema), as NotSupported (a URI scheme or option that this version does not build), or as Unavailable (object storage).

    Args:
        request: Task, data set, hyper-parameters; where `pinned` is set, other bytes than those are refused.
        work_dir: The run folder; `prepared/` and `inputs/` below it are this function's.
        on_progress: Called now and then from this thread.
        measure: Records over training.maxLength tokens are bad records where this is given; without it, length is not checked.
        special_tokens: The tokenizer's control tokens: a record that spells one out could forge a turn, and is a bad record.
        limits: Bounds; the defaults unless given.

    Returns:
        The data set.
    """
    check_options(request.task, request.dataset)
    check_task_template(request.task)
    if request.task.output_schema is not None:
        check_output_schema(request.task.output_schema)
    files = open_sources(request.dataset, work_dir / "inputs", _fetch)
    folder = work_dir / _FOLDER
    with ThreadPoolExecutor(1, "dataset-digest") as thread:
        # Hashing leaves the interpreter to others: it costs no time beside the check, only before it.
        digest = thread.submit(dataset_digest, files)
        if folder.exists() or request.pinned is not None:
            key = _key(request, digest.result(), measure, special_tokens)
            _check_pinned(request, digest.result())
            kept = _open_if_same(folder, key)
            if kept is not None:
                return kept
        check = Check(
            request,
            files,
            limits=limits or DataLimits(),
            measure=measure,
            special_tokens=special_tokens,
            on_progress=on_progress,
        )
        with _building(folder) as building:
            meta = check.run(building, digest, lambda found: _key(request, found, measure, special_tokens))
            for file in files:
                file.check_unchanged()
            (building / META).write_text(meta.model_dump_json())
    return open_prepared(folder)


def load_prepared(work_dir: Path) -> PreparedDataset:
    """Open what `prepare_dataset` stored.

    NotReady is raised where nothing complete is stored.

    Args:
        work_dir: The run folder.

    Returns:
        The data set, without reading its sources again.
    """
    return open_prepared(work_dir / _FOLDER)


def _fetch(uri: str, path: Path) -> None:
    store, key = open_store(uri, dataset_env())
    store.fetch(key, path)


def _check_pinned(request: TrainRequest, digest: str) -> None:
    if request.pinned is not None and digest != request.pinned.dataset_digest:
        raise DatasetError(
            f"the data set has changed since it was checked: digest {digest}, expected {request.pinned.dataset_digest}; make a"
            " new FineTuneJob for the new data",
            path="spec.dataset.train",
            reason="DatasetChanged",
        )


def _key(request: TrainRequest, digest: str, measure: Measure | None, special_tokens: tuple[str, ...]) -> str:
    """Hash everything that the prepared records follow from."""
    parts = [
        _VERSION,
        digest,
        request.task.model_dump(mode="json"),
        request.dataset.model_dump(mode="json"),
        request.pinned.labels if request.pinned else (),
        [measure.key, request.training.max_length] if measure else None,
        special_tokens,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _open_if_same(folder: Path, key: str) -> PreparedDataset | None:
    try:
        meta = DatasetMeta.model_validate_json((folder / META).read_bytes())
        return open_prepared(folder) if meta.key == key else None
    except (NotReady, OSError, ValueError):
        # Half-written, or of another version: made again.
        return None


@contextmanager
def _building(folder: Path) -> Generator[Path]:
    """Give a new folder, and put it in place of the old one if all went well."""
    building = folder.with_name(f"{folder.name}.building-{os.getpid()}")
    for left in folder.parent.glob(f"{folder.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        yield building
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
