"""Pieces through processes, results in the pieces' order.

Processes are spawned, not forked: the parent may hold threads and an accelerator. A worker ends by itself when its parent does,
even by SIGKILL: it would wait for work for ever otherwise.
"""

import gc
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection

from graft_core.errors import Unavailable
from graft_trainer.data.scan import PieceJob, PieceResult, scan_piece

__all__ = ["scan_all"]

_AHEAD = 2
"""Pieces in flight per process: enough to keep it busy, few enough to bound the results that wait."""


def scan_all(jobs: Sequence[PieceJob], *, threads: int | None) -> Iterator[PieceResult]:
    """Check all pieces.

    The DatasetError of the first piece that cannot be read comes through.

    Args:
        jobs: In the order in which results are wanted.
        threads: Processes at most; None: one a core.

    Yields:
        A result for each job, in their order.

    Raises:
        Unavailable: A process was killed, most often for want of memory.
    """
    workers = min(threads or os.cpu_count() or 1, len(jobs))
    size = sum(job.size for job in jobs)
    if workers < 2 or size < jobs[0].limits.parallel_bytes:
        yield from map(scan_piece, jobs)
        return
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start)
    waiting: deque[Future[PieceResult]] = deque()
    try:
        for job in jobs:
            waiting.append(executor.submit(scan_piece, job))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as err:
        # The executor asks the others by SIGTERM and waits for them, however long: one was seen that did not hear.
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise Unavailable("a process that checked the data set was killed; was there too little memory?") from err
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    # Records hold no cycles, and a process ends with its data set: looking for garbage is a tenth of the parser's time.
    gc.disable()
    _follow_parent()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="follow-parent", daemon=True).start()
