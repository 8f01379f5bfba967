"""Segments: unbroken stretches of each instrument in training, validation and test, within which windows lie.

- Training consists of the candles that have closed by the split point, and quality is assessed on them alone: no later
  candle, not even a missing one, adds or removes a training window.
- Windows of validation and test may use history from before their part. What they predict begins an embargo after the
  split point, and ends by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles.quality_filters import QualityRules, assess, rules_for
from kronos.datasets.config import Split
from kronos.datasets.memmap_store import MemmapCandles, SeriesInfo
from kronos.datasets.splits import (
    PARTS,
    ClosingTimes,
    SplitDates,
    SplitPoints,
    choose_split_points,
    group_by_dates,
    split_rows,
)
from kronos.errors import ParameterError
from kronos.intervals import Interval

Part = Literal["train", "val", "test"]
QualityFilter = Literal["paper", "none"]
Spans = npt.NDArray[np.int64]  # [n, 4]: series, first row, row after the last, first row that may be predicted

PRICE_JUMP = 0.30  # relative, from a close to the next open; most are unadjusted splits and rolls
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Segment:
    """An unbroken stretch of one instrument, within which windows lie.

    Attributes:
        series: The instrument's index in the store.
        start: First row of the store.
        stop: Row after the last.
        future: First row that may be predicted; earlier rows may only serve as history.
    """

    series: int
    start: int
    stop: int
    future: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, eq=False)
class SegmentsByPart:
    """The segments of each part.

    Attributes:
        spans: Segments as numbers, by part. [n, 4]
        candles: Number of candles in the dates of each part, without embargoes.
    """

    spans: Mapping[str, Spans]
    candles: Mapping[str, int]


def split_points(store: MemmapCandles, split: Split | SplitDates) -> dict[int, SplitPoints]:
    """Split points of each instrument, except those of prepared datasets, which have parts already.

    Shares are shares of all candles, whatever their quality: only times matter, so no price moves a split point.

    Args:
        store: The candles.
        split: Shares, or dates by market.

    Returns:
        Split points by the instrument's index in the store.

    Raises:
        DataError: If there are too few distinct times for three parts.
        ParameterError: If a market has no dates.
    """
    numbers = [number for number, info in enumerate(store.series) if not info.prepared]
    if isinstance(split, SplitDates):
        return {number: _dates_of(store.series[number], split) for number in numbers}
    points: dict[int, SplitPoints] = {}
    for group in group_by_dates([store.series[number].interval for number in numbers], split):
        members = [numbers[i] for i in group]
        closes = [ClosingTimes.of(_opens(store, number), store.series[number].length) for number in members]
        points |= dict.fromkeys(members, choose_split_points(closes, split))
    return points


def _opens(store: MemmapCandles, number: int) -> npt.NDArray[np.int64]:
    return store.opens[store.series[number].start : store.series[number].stop]


def _dates_of(info: SeriesInfo, split: SplitDates) -> SplitPoints:
    cuts = split.of(info.group, info.market)
    if cuts is None:
        raise ParameterError(f"{split.name} has no dates for the market '{info.market}' of {info.unique_id}: add them.")
    return SplitPoints(*(_to_utc(time, info.timezone) for time in cuts))


def _to_utc(time: pd.Timestamp, zone: str | None) -> pd.Timestamp:
    """A time in UTC; without a timezone it is on the instrument's wall clock."""
    if time.tz is None:
        time = time.tz_localize(zone or "UTC", ambiguous=True, nonexistent="shift_forward")
    return time.tz_convert("UTC")


def find_segments(
    store: MemmapCandles, points: Mapping[int, SplitPoints], embargo: int, quality: QualityFilter
) -> SegmentsByPart:
    """Find the segments of each part.

    Args:
        store: The candles.
        points: Split points by the instrument's index, from `split_points`.
        embargo: Candles after each split point that are not predicted.
        quality: ``paper`` for the paper's filters; ``none`` only splits at missing prices and price jumps.
    """
    spans: dict[str, list[Spans]] = {part: [] for part in PARTS}
    candles = dict.fromkeys(PARTS, 0)
    for number, info in enumerate(store.series):
        if info.prepared:
            by_part = _prepared_segments(store, number)
        else:
            by_part = _split_segments(store, number, points[number], embargo, _rules(info.length, quality))
        for part, (count, found) in zip(PARTS, by_part, strict=True):
            candles[part] += count
            spans[part].append(found)
    empty = np.empty((0, 4), dtype=np.int64)
    return SegmentsByPart({part: np.concatenate([empty, *found]) for part, found in spans.items()}, candles)


def _rules(interval: Interval, quality: QualityFilter) -> QualityRules:
    if quality == "none":
        return QualityRules(min_length=1, price_jump=PRICE_JUMP, illiquid_run=_UNLIMITED, stagnant_run=_UNLIMITED)
    rules = rules_for(interval)
    return replace(rules, price_jump=min(PRICE_JUMP, rules.price_jump))


def _split_segments(
    store: MemmapCandles, number: int, points: SplitPoints, embargo: int, rules: QualityRules
) -> list[tuple[int, Spans]]:
    """Number of candles and segments of one instrument in each part."""
    info = store.series[number]
    assessed: dict[int, Spans] = {}
    by_part = []
    for begin, stop in split_rows(_opens(store, number), info.length, points, embargo):
        if begin >= stop:
            by_part.append((0, np.empty((0, 4), dtype=np.int64)))
            continue
        if stop not in assessed:
            assessed[stop] = _assess(store, number, stop, rules)
        found = assessed[stop][assessed[stop][:, 2] > info.start + begin]
        future = np.maximum(found[:, 1], info.start + begin)
        by_part.append((stop - begin, np.column_stack((found[:, :3], future))))
    return by_part


def _assess(store: MemmapCandles, number: int, rows: int, rules: QualityRules) -> Spans:
    """Stretches of an instrument's first ``rows`` candles that meet the rules, ``[n, 3]``."""
    start = store.series[number].start
    stretches = assess(store.read(number, rows), rules).segments
    return np.array([(number, start + a.start, start + a.stop) for a in stretches], dtype=np.int64).reshape(-1, 3)


def _prepared_segments(store: MemmapCandles, number: int) -> list[tuple[int, Spans]]:
    """Number of candles and segments of a prepared dataset in its own parts, split at price jumps."""
    pieces = store.pieces[store.pieces[:, 0] == number]
    by_part = []
    for part in range(len(PARTS)):
        runs = [run for _, a, b, _ in pieces[pieces[:, 3] == part].tolist() for run in _runs_between_jumps(store, a, b)]
        spans = np.array([(number, a, b, a) for a, b in runs], dtype=np.int64).reshape(-1, 4)
        by_part.append((int((spans[:, 2] - spans[:, 1]).sum()), spans))
    return by_part


def _runs_between_jumps(store: MemmapCandles, start: int, stop: int) -> Iterable[tuple[int, int]]:
    opened, close = store.candles[start + 1 : stop, 0], store.candles[start : stop - 1, 3]
    edges = [start, *(start + 1 + np.flatnonzero(np.abs(opened / close - 1) > PRICE_JUMP)).tolist(), stop]
    return pairwise(edges)
