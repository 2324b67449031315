"""One thread that works for the event loop: jobs in, chunks out.

Model code blocks and is not safe to run twice at once, so each engine has exactly one thread. Jobs that wait are taken together,
up to `max_batch`: that is all there is to micro-batching, and a lone request never waits for company.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from graft_predictor.engines.base import Chunk, EngineFailed, GenerateRequest

__all__ = ["BatchWorker", "Job"]


class Job:
    """A request on its way through the thread. Only the loop reads; the thread emits, or fails it once."""

    def __init__(self, request: GenerateRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.request: Final = request
        self.cancelled: Final = threading.Event()
        self._loop = loop
        self._out: asyncio.Queue[Chunk | Exception] = asyncio.Queue()

    def emit(self, chunk: Chunk) -> None:
        """Hand a chunk to the reader; called in the thread."""
        self._post(chunk)

    def fail(self, err: Exception) -> None:
        """End the job with an error; called in the thread."""
        self._post(err)

    async def chunks(self) -> AsyncGenerator[Chunk]:
        """Yield the chunks up to the last; whoever stops reading cancels the job."""
        try:
            while True:
                item = await self._out.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            self.cancelled.set()

    def _post(self, item: Chunk | Exception) -> None:
        try:
            self._loop.call_soon_threadsafe(self._out.put_nowait, item)
        except RuntimeError:  # the loop is closed: the process is going down
            self.cancelled.set()


class BatchWorker:
    """The thread and its queue."""

    def __init__(self, handle: Callable[[Sequence[Job]], None], *, max_batch: int, name: str) -> None:
        self._handle = handle
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_stopped = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job; raises EngineFailed where the thread has ended, or was told to."""
        if self._is_stopped or not self._thread.is_alive():
            raise EngineFailed("the engine has stopped")
        self._queue.put(job)

    def is_alive(self) -> bool:
        """True while jobs are taken."""
        return self._thread.is_alive() and not self._is_stopped

    def stop(self, timeout_s: float = 5.0) -> None:
        """Take no more jobs, and wait for the one at work; those that wait fail."""
        self._is_stopped = True
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [job for job in self._with_waiting(first) if not job.cancelled.is_set()]
            if batch:
                self._handle_safely(batch)
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    job.fail(EngineFailed("the engine has stopped"))

    def _with_waiting(self, first: Job) -> list[Job]:
        batch = [first]
        while len(batch) < self._max_batch:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._queue.put(None)
                break
            batch.append(job)
        return batch

    def _handle_safely(self, batch: Sequence[Job]) -> None:
        try:
            self._handle(batch)
        except Exception as err:  # noqa: BLE001  # a thread's edge: the requests fail, the thread lives
            # The cause may quote a prompt (a tokenizer's message does), so only its type travels.
            failure = EngineFailed(f"the engine failed on this request ({type(err).__name__})")
            failure.__cause__ = err
            for job in batch:
                job.fail(failure)
