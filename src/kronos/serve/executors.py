"""A thread pool whose threads do not keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool(Executor):
    """An executor of daemon threads.

    `ThreadPoolExecutor` joins its threads at interpreter exit, so one slow response of an exchange would delay the
    shutdown of the server.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Create the pool; its threads start on demand.

        Args:
            threads: Largest number of threads.
            name: Prefix of the threads' names.
        """
        self._max_threads, self._name = threads, name
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in one of the threads."""
        future: Future[T] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 (the caller receives it)
                future.set_exception(wrap_exception(error))

        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._started < self._max_threads:
                self._started += 1
                threading.Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
        self._tasks.put(task)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads end with the process."""

    def _run(self) -> None:
        while True:
            self._tasks.get()()
            with self._lock:
                self._idle += 1


def wrap_exception(error: BaseException) -> Exception:
    """Return an exception that a future accepts and that does not end an event loop.

    `SystemExit`, `StopIteration` and the like become the cause of a `RuntimeError`.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} in a thread")
    wrapped.__cause__ = error
    return wrapped
