"""Scores of the record, computed again from the stored paths and candles, many forecasts at a time."""

from __future__ import annotations

import math
import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kronos.live.entries import UNIT, ForecastEntry, ScoreEntry, decode_paths
from kronos.live.scoring import Event, cumulative_returns, score_many, settle_events
from kronos.typing import FloatArray

TOLERANCE = 1e-9  # absolute and relative: what another processor or version may change
_BATCH = 128  # forecasts of one shape: some tens of megabytes
_EVENTS: tuple[Event, ...] = ("upside", "amplification")

Settled = tuple[int, ForecastEntry, ScoreEntry]


class ScoreAudit:
    """Compares stored with recomputed scores, in batches of forecasts of the same shape.

    Args:
        executor: Where the batches are computed.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._batches: dict[tuple[Any, ...], list[Settled]] = defaultdict(list)
        self._running: list[Future[list[tuple[int, str]]]] = []

    def add(self, seq: int, forecast: ForecastEntry, score: ScoreEntry) -> None:
        """Add the score in row ``seq`` with the forecast that it belongs to."""
        contenders = tuple((name, len(text)) for name, text in forecast.paths.items())
        chances = tuple((event, *by_contender) for event, by_contender in forecast.probabilities.items())
        key = (len(forecast.times), contenders, chances)
        batch = self._batches[key]
        batch.append((seq, forecast, score))
        if len(batch) == _BATCH:
            self._submit(self._batches.pop(key))

    def problems(self) -> Iterator[tuple[int, str]]:
        """Yield the rows whose scores differ, once everything is computed."""
        for batch in self._batches.values():
            self._submit(batch)
        self._batches.clear()
        for running in self._running:
            yield from running.result()

    def _submit(self, batch: list[Settled]) -> None:
        self._running.append(self._executor.submit(_compare, batch))


def _compare(batch: Sequence[Settled]) -> list[tuple[int, str]]:
    """Rows of a batch whose scores differ; one that cannot be computed does not hide the others."""
    try:
        with np.errstate(all="ignore"):  # a price that is not positive: its scores are NaN, and differ
            return list(_differences(batch))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        if len(batch) == 1:
            return [(batch[0][0], "its scores cannot be computed from the forecast and the candles")]
        return [problem for settled in batch for problem in _compare([settled])]


def _differences(batch: Sequence[Settled]) -> Iterator[tuple[int, str]]:
    first = batch[0][1]
    horizon = len(first.times)
    paths = {name: _decode_many([forecast.paths[name] for _, forecast, _ in batch], horizon) for name in first.paths}
    closes = np.array([[candle[4] for candle in score.candles] for _, _, score in batch], dtype=np.float64)
    last = np.array([forecast.last_close for _, forecast, _ in batch])
    recent = np.array([forecast.recent_volatility for _, forecast, _ in batch])
    probabilities: dict[Event, dict[str, FloatArray]] = {
        event: {
            name: np.array([forecast.probabilities[event][name][0] for _, forecast, _ in batch], dtype=np.float64)
            for name in first.probabilities.get(event, ())
        }
        for event in _EVENTS
    }
    returns = cumulative_returns(closes, last)
    happened = settle_events(returns, recent)
    computed = score_many(paths, returns, recent, probabilities)
    for i, ((seq, _, score), expected) in enumerate(zip(batch, computed, strict=True)):
        if score.outcome != {event: bool(flags[i]) for event, flags in happened.items()}:
            yield seq, "its outcome does not follow from the candles"
        # Equality is decided without looking at each number, and is the rule.
        if score.scores != expected and not _close(score.scores, expected):
            yield seq, "its scores do not follow from the forecast and the candles"


def _decode_many(texts: Sequence[str], horizon: int) -> FloatArray:
    """Read the paths `[N, S, H]` of one contender, as `decode_paths` reads each.

    Without padding, base64 of all texts is decoded as one: two letters at a time are 12 bits by a table. That takes
    half the time of the library's decoder, which moreover stops all other threads.

    Raises:
        ValueError: If a text is not base64, or not a whole number of paths.
    """
    if texts[0].endswith("=") or len(texts[0]) % 4:
        return np.stack([decode_paths(text, horizon) for text in texts])
    halves = np.take(_PAIRS, np.frombuffer("".join(texts).encode("ascii"), dtype="<u2")).reshape(-1, 2)
    if halves.max(initial=0) > 0xFFF:
        raise ValueError("the paths are not base64")
    groups = (halves[:, 0].astype("<u4") << 12) | halves[:, 1]
    whole = groups.view(np.uint8).reshape(-1, 4)[:, 2::-1].tobytes()
    return np.frombuffer(whole, dtype="<i4").reshape(len(texts), -1, horizon) * UNIT


def _pair_table() -> NDArray[np.uint16]:
    """The 12 bits that each two letters of base64 stand for, the first in the lower byte; 0xFFFF for other bytes."""
    letters = np.full(256, 64, dtype=np.uint16)
    letters[list(string.ascii_uppercase.encode() + string.ascii_lowercase.encode() + b"0123456789+/")] = range(64)
    pairs = np.arange(1 << 16)
    first, second = letters[pairs & 0xFF], letters[pairs >> 8]
    return np.where((first < 64) & (second < 64), first << 6 | second, 0xFFFF).astype(np.uint16)


_PAIRS = _pair_table()


def _close(stored: Any, computed: Any) -> bool:
    """Whether two nested values are equal within `TOLERANCE`."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        return stored.keys() == computed.keys() and all(_close(stored[key], computed[key]) for key in stored)
    if isinstance(stored, list) and isinstance(computed, list):
        return len(stored) == len(computed) and all(map(_close, stored, computed))
    if isinstance(stored, float | int) and isinstance(computed, float | int):
        return math.isclose(stored, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(stored == computed)
