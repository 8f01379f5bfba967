"""Sharing independent jobs among processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, TypeVar

from kronos.errors import DeviceError, ParameterError

Job = TypeVar("Job")

_work: Callable[[Any], None] | None = None  # of a worker process: what it does with a job


def share(work: Callable[[Job], None], jobs: Sequence[Job], workers: int) -> Generator[Job]:
    """Do every job, and give each back when it is done.

    Args:
        work: What to do; for several workers it can be pickled.
        jobs: In the order they are begun in.
        workers: Processes, among which the threads of this one are shared; with 1 everything happens in this one.

    Raises:
        ParameterError: If there is no worker.
        DeviceError: If a process was ended, as where memory runs out.
    """
    if workers < 1:
        raise ParameterError(f"At least 1 worker is needed, not {workers}.")
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            work(job)
            yield job
        return
    import torch

    number = min(workers, len(jobs))
    threads = max(1, torch.get_num_threads() // number)
    before = set(active_children())
    pool = ProcessPoolExecutor(number, get_context("spawn"), _begin, (work, threads))
    try:
        pending: dict[Future[None], Job] = {pool.submit(_do, job): job for job in jobs}
        for future in as_completed(pending):
            future.result()
            yield pending[future]
    except BrokenProcessPool as error:
        raise DeviceError(
            "A process that shared the work was ended, perhaps because memory ran out; ask for fewer workers (what is "
            "done is kept)."
        ) from error
    except (KeyboardInterrupt, GeneratorExit):  # nobody waits for jobs that are half done
        for process in set(active_children()) - before:
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(work: Callable[[Any], None], threads: int) -> None:
    """Make this process a worker, which ends with its parent however that ends."""
    import torch

    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that the person started
    torch.set_num_threads(threads)
    _work = work
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _do(job: Any) -> None:
    assert _work is not None
    _work(job)
