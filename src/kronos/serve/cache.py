"""A cache for async functions: values expire, and concurrent requests for one key share one computation."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import TLRUCache, TTLCache

from kronos.serve.errors import ApiError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MAX_ENTRIES = 4096
_ERROR_SECONDS = 5.0  # so that many waiting clients do not repeat a failure one after another


def clock() -> float:
    """Return the seconds of a clock that is never set and, unlike Python's, also runs while the machine is suspended.

    A prediction cached before a laptop was closed must not be the current one after it has been opened.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Expiring(Generic[V]):
    """A value and the seconds for which it is valid."""

    value: V
    seconds: float


class AsyncTTLCache(Generic[K, V]):
    """An LRU cache with a time to live per value, and single flight; it belongs to one event loop."""

    def __init__(self, maxsize: int = _MAX_ENTRIES) -> None:
        self._values: TLRUCache[K, tuple[V, float]] = TLRUCache(maxsize, lambda _, entry, __: entry[1], clock)
        self._errors: TTLCache[K, Exception] = TTLCache(maxsize, _ERROR_SECONDS, clock)
        self._tasks: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def peek(self, key: K) -> tuple[V, float] | None:
        """Return a valid value and its remaining seconds; None if there is none."""
        try:
            value, until = self._values[key]
        except KeyError:
            return None
        return value, until - clock()

    def __contains__(self, key: K) -> bool:
        """Whether a value is cached or being computed."""
        return key in self._tasks or key in self._values

    def discard(self, key: K) -> None:
        """Remove a value."""
        self._values.pop(key, None)

    async def get(self, key: K, compute: Callable[[], Awaitable[Expiring[V]]]) -> V:
        """Return the cached value, or compute it; concurrent calls for one key share the computation.

        Its exception is raised in all of them, and again for a few seconds. Cancelling one caller does not cancel the
        computation.
        """
        entry = self._values.get(key)
        if entry is not None:
            return entry[0]
        error = self._errors.get(key)
        if error is not None:
            raise error.with_traceback(None)
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(self._compute(key, compute))
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        return await asyncio.shield(task)

    async def _compute(self, key: K, compute: Callable[[], Awaitable[Expiring[V]]]) -> V:
        computed = await compute()
        self._values[key] = computed.value, clock() + computed.seconds
        return computed.value

    def _finish(self, key: K, task: asyncio.Task[V]) -> None:
        self._tasks.pop(key, None)
        self._errors.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()  # also marks it as retrieved, if all callers have left
        if isinstance(error, Exception) and not _is_temporary(error):
            self._errors[key] = error


def _is_temporary(error: Exception) -> bool:
    """Whether an immediate retry may succeed, as after a full queue."""
    return isinstance(error, ApiError) and error.status in (429, 503)
