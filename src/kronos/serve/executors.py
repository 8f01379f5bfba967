"""Threads that never keep the process alive: what they still wait for at the end has nothing to lose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool(Executor):
    """An executor of daemon threads.

    The standard library joins its threads when the interpreter ends, so that one slow answer of an exchange would hold
    a server that was told to stop.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Prepare; threads start when there is work for them.

        Args:
            threads: At most so many.
            name: What they are called.
        """
        self._most, self._name = threads, name
        self._todo: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in one of the threads."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 (it is the waiter's, whatever it is)
                future.set_exception(wrap_exception(error))

        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._started < self._most:
                self._started += 1
                threading.Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
        self._todo.put(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to do: the threads end with the process."""

    def _run(self) -> None:
        while True:
            work: Any = self._todo.get()
            work()
            with self._lock:
                self._idle += 1


def wrap_exception(error: BaseException) -> Exception:
    """An error that an event loop can be handed: what would end it, or what its futures refuse, becomes a cause."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    tamed = RuntimeError(f"{type(error).__name__} in a thread")
    tamed.__cause__ = error
    return tamed
