"""The engine's one thread."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from graft_core.tasks.messages import Message
from graft_predictor.engines.base import Chunk, EngineFailed, GenerateRequest, Usage
from graft_predictor.engines.worker import BatchWorker, Job

REQUEST = GenerateRequest((Message("user", "hello"),))


def a_job() -> Job:
    return Job(REQUEST, asyncio.get_running_loop())


async def whole(job: Job) -> str:
    return "".join([chunk.text async for chunk in job.chunks()])


async def test_jobs_that_wait_are_taken_together() -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def handle(batch: Sequence[Job]) -> None:
        gate.wait(1)
        sizes.append(len(batch))
        for job in batch:
            job.emit(Chunk("x", "stop", Usage(1, 1)))

    worker = BatchWorker(handle, max_batch=3, name="t")
    worker.start()
    jobs = [a_job() for _ in range(5)]
    for job in jobs:
        worker.put(job)
    gate.set()

    assert await asyncio.gather(*(whole(job) for job in jobs)) == ["x"] * 5
    assert sum(sizes) == 5
    assert max(sizes) <= 3
    assert len(sizes) < 5
    worker.stop()


async def test_a_fault_fails_its_jobs_and_not_the_thread() -> None:
    def handle(batch: Sequence[Job]) -> None:
        if worker_calls.pop():
            raise ValueError("a secret prompt")
        batch[0].emit(Chunk("fine", "stop", Usage(1, 1)))

    worker_calls = [False, True]
    worker = BatchWorker(handle, max_batch=1, name="t")
    worker.start()
    bad, good = a_job(), a_job()
    worker.put(bad)
    worker.put(good)

    with pytest.raises(EngineFailed, match="ValueError") as caught:
        await whole(bad)
    assert "secret" not in str(caught.value)
    assert await whole(good) == "fine"
    assert worker.is_alive()
    worker.stop()


async def test_a_job_nobody_reads_any_more_is_not_begun() -> None:
    handled: list[Job] = []
    gate = threading.Event()

    def handle(batch: Sequence[Job]) -> None:
        gate.wait(1)
        handled.extend(batch)
        for job in batch:
            job.emit(Chunk("", "stop", Usage(0, 0)))

    worker = BatchWorker(handle, max_batch=1, name="t")
    worker.start()
    first, gone, last = a_job(), a_job(), a_job()
    for job in (first, gone, last):
        worker.put(job)
    gone.cancelled.set()
    gate.set()
    await whole(last)

    assert handled == [first, last]
    worker.stop()


async def test_after_a_stop_new_jobs_fail() -> None:
    worker = BatchWorker(lambda _: None, max_batch=8, name="t")
    worker.start()
    worker.stop()

    assert not worker.is_alive()
    with pytest.raises(EngineFailed, match="stopped"):
        worker.put(a_job())


async def test_jobs_that_wait_behind_the_stop_fail() -> None:
    worker = BatchWorker(lambda _: None, max_batch=8, name="t")
    job = a_job()
    worker._queue.put(None)
    worker._queue.put(job)
    worker.start()

    with pytest.raises(EngineFailed, match="stopped"):
        await whole(job)


async def test_closing_the_reader_cancels_the_job() -> None:
    job = a_job()
    job.emit(Chunk("a"))
    chunks = job.chunks()
    await anext(chunks)
    await chunks.aclose()

    assert job.cancelled.is_set()
