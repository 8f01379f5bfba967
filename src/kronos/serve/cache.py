"""Answers that are kept until they expire, each made once however many ask for it at the same moment."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from kronos.serve.errors import ApiError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MOST = 4096
_FAILED = 5.0  # seconds for which a failure is remembered, so that a crowd does not repeat it one by one


@dataclass(frozen=True, slots=True)
class Expiring(Generic[V]):
    """A value and the seconds for which it holds."""

    value: V
    seconds: float


class AsyncTTLCache(Generic[K, V]):
    """A cache in front of something slow; all of it belongs to one event loop."""

    def __init__(self, most: int = _MOST) -> None:
        """Keep at most so many answers, the least recently used leaving first."""
        self._most = most
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._failed: dict[K, tuple[Exception, float]] = {}
        self._making: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: K) -> tuple[V, float] | None:
        """An answer that still holds, and for how many seconds more; None if there is none."""
        found = self._entries.get(key)
        if found is None:
            return None
        left = found[1] - time.monotonic()
        return (found[0], left) if left > 0 else None

    def has(self, key: K) -> bool:
        """Whether an answer is there, or on its way."""
        return key in self._making or self.peek(key) is not None

    async def get(self, key: K, make: Callable[[], Awaitable[Expiring[V]]]) -> V:
        """The answer, made if there is none that holds. Whoever comes while it is made waits for the same one.

        What making raises is every waiter's, and is remembered for a few seconds. A waiter that is cancelled leaves the
        others what they wait for.
        """
        found = self.peek(key)
        if found is not None:
            self._entries.move_to_end(key)
            return found[0]
        error, until = self._failed.get(key, (None, 0.0))
        if error is not None and until > time.monotonic():
            raise error.with_traceback(None)
        task = self._making.get(key)
        if task is None:
            task = asyncio.create_task(self._make(key, make))
            self._making[key] = task
            task.add_done_callback(lambda done: self._made(key, done))
        return await asyncio.shield(task)

    async def _make(self, key: K, make: Callable[[], Awaitable[Expiring[V]]]) -> V:
        fresh = await make()
        now = time.monotonic()
        for old in [one for one, (_, until) in self._entries.items() if until <= now]:
            del self._entries[old]
        self._entries[key] = fresh.value, time.monotonic() + fresh.seconds
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
        return fresh.value

    def _made(self, key: K, task: asyncio.Task[V]) -> None:
        self._making.pop(key, None)
        self._failed.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()  # looked at, so that asyncio does not complain where every waiter has left
        if isinstance(error, Exception) and not _passing(error):
            if len(self._failed) >= self._most:
                self._failed.clear()
            self._failed[key] = error, time.monotonic() + _FAILED


def _passing(error: Exception) -> bool:
    """Whether an error may be over at once, as a full queue is."""
    return isinstance(error, ApiError) and error.status in (429, 503)
