"""Results kept for a while, each made once however many ask for it at the same time.

- Who comes while another makes the same result waits for it, and shares its error; errors are not kept.
- What was used least recently goes first, when there are too many results or too many rows in them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from kronos.candles import Candles
from kronos.serve.files.requests import ReadOptions

Key = tuple[str, str, ReadOptions]


class Keep:
    """Candles by content, name and options; safe in threads.

    Args:
        entries: How many results are kept.
        rows: How many rows they may have in all; a row takes 56 bytes.
    """

    def __init__(self, entries: int = 16, rows: int = 2_000_000) -> None:
        self._entries, self._rows = entries, rows
        self._kept: OrderedDict[Key, Candles] = OrderedDict()
        self._making: dict[Key, Future[Candles]] = {}
        self._lock = Lock()

    def get(self, key: Key, make: Callable[[], Candles]) -> Candles:
        """The kept result, or the one that ``make`` gives."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            waiting = self._making.get(key)
            if waiting is None:
                mine = self._making[key] = Future()
        return self._made(key, make, mine) if waiting is None else waiting.result()

    def forget(self, digest: str) -> None:
        """Keep no result of that content any longer."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == digest]:
                del self._kept[key]

    def _made(self, key: Key, make: Callable[[], Candles], promise: Future[Candles]) -> Candles:
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            promise.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._kept[key] = made
            while len(self._kept) > self._entries or sum(map(len, self._kept.values())) > self._rows:
                self._kept.popitem(last=False)
        promise.set_result(made)
        return made
