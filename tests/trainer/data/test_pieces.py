import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_core.errors import InvalidInput, Unavailable
from graft_trainer.config import DataLimits
from graft_trainer.data import pool, prepare
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.lines import LineReader, cut
from graft_trainer.data.scan import PieceJob, PieceResult
from graft_trainer.data.sources import open_sources
from tests.trainer.data.builders import a_request, lines, rows, write


@pytest.mark.timeout(20)
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 64), st.booleans())
def test_pieces_of_any_size_hold_each_line_once(sizes: list[int], piece_bytes: int, ends: bool) -> None:
    import tempfile

    records = ["" if size == 0 else json.dumps("x" * size) for size in sizes]
    text = "\n".join(records) + ("\n" if ends and records else "")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text(text)
        base, found = 0, []
        for piece in cut(len(text), piece_bytes):
            reader = LineReader(path, piece, DataLimits())
            found += [(base + line, value) for line, value, fault in reader.rows() if fault is None]
            base += reader.lines
    assert found == [(i + 1, "x" * size) for i, size in enumerate(sizes) if size]


def test_objects_of_a_store_are_fetched_once_each_under_names_of_their_own(tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(uri: str, path: Path) -> None:
        fetched.append(uri)
        path.write_text(lines(rows(2)))

    uris = ["s3://bucket/one/a.jsonl", "s3://bucket/two/a.jsonl"]
    files = open_sources(a_request(tmp_path, train=uris).dataset, tmp_path / "inputs", fetch)
    assert fetched == uris
    assert len({file.path for file in files}) == 2
    assert [file.uri for file in files] == uris


def test_an_object_that_is_not_there_is_told_by_its_field(tmp_path: Path) -> None:
    def fetch(uri: str, path: Path) -> None:
        raise InvalidInput(f"{uri}: there is no such object", reason="NotFound")

    with pytest.raises(DatasetError, match=r"spec.dataset.train\[0\]: s3://bucket/a.jsonl: there is no such object"):
        open_sources(a_request(tmp_path, train=["s3://bucket/a.jsonl"]).dataset, tmp_path, fetch)
    with pytest.raises(DatasetError, match=r"must not contain '\.\.'"):
        open_sources(a_request(tmp_path, train=["s3://bucket/%2e%2e/a.jsonl"]).dataset, tmp_path, fetch)


def die(job: PieceJob) -> PieceResult:
    os._exit(9)


def stay_or_die(job: PieceJob) -> PieceResult:
    """One process stays and does not hear SIGTERM; the other dies once it does."""
    ready = job.part.with_name("ready")
    try:
        job.part.with_name("taken").touch(exist_ok=False)
    except FileExistsError:
        while not ready.exists():
            threading.Event().wait(0.01)
        os._exit(9)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.touch()
    threading.Event().wait()
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("at_work", [die, stay_or_die])
def test_a_killed_process_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_work: Callable[[PieceJob], PieceResult]
) -> None:
    write(tmp_path, "a.jsonl", lines(rows(10)))
    monkeypatch.setattr(pool, "scan_piece", at_work)
    jobs = _jobs(tmp_path)
    with pytest.raises(Unavailable, match="was there too little memory"):
        list(pool.scan_all(jobs, threads=2))


def _jobs(folder: Path) -> list[PieceJob]:
    from graft_core.api.v1alpha1.dataset import DatasetFormat
    from graft_trainer.data.formats import choose_layout
    from graft_trainer.data.shape import ShaperSpec

    request = a_request(folder, train=["a.jsonl"])
    limits = DataLimits(parallel_bytes=0)
    (file,) = open_sources(request.dataset, folder, lambda uri, path: None)
    shaper = ShaperSpec(
        request.task, choose_layout(request.task, DatasetFormat.AUTO, [("input", "output")]), (), None, limits
    )
    return [
        PieceJob(file, piece, folder / f"{i}.arrow", 0, shaper, (), limits)
        for i, piece in enumerate(cut(file.size, 200))
    ]


def test_a_process_without_a_parent_of_ours_follows_nobody() -> None:
    assert multiprocessing.parent_process() is None
    pool._follow_parent()


def test_a_store_is_read_through_the_storage_room(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(3)))
    prepare._fetch(f"file://{tmp_path}/a.jsonl", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == lines(rows(3))
