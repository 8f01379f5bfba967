"""Where windows may lie: unbroken stretches of each instrument in training, validation and test.

- Training ends with the candles that have closed by the cut. What is fit to learn from is judged on them alone: nothing
  that comes later, not even a candle's absence, adds or removes a training window.
- Windows of validation and test reach back before their cut with the part that is known; what they predict begins an
  embargo after it, and ends by the next cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles.quality import QualityRules, assess, rules_for
from kronos.datasets.config import Split
from kronos.datasets.memmap_store import MemmapCandles, SeriesInfo
from kronos.datasets.splits import PARTS, SplitDates, SplitPoints, closing_times
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval

Part = Literal["train", "val", "test"]
Quality = Literal["paper", "none"]
Spans = npt.NDArray[np.int64]  # [n, 4]: series, first row, row after the last, first row that may be predicted

JUMP = 0.30  # between a close and the next open: most are splits and rolls that nobody adjusted, and no candle tells
_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class Segment:
    """An unbroken stretch of one instrument: windows lie within it.

    Attributes:
        series: The instrument's position in the store.
        start: The first row of the store that a window may hold.
        stop: The row after the last.
        future: The first row that a window may predict; those before it may only be known.
    """

    series: int
    start: int
    stop: int
    future: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, eq=False)
class SegmentsByPart:
    """Where windows may lie.

    Attributes:
        spans: By part. [n, 4]
        candles: By part, how many candles its dates hold; of validation and test without their embargoes.
    """

    spans: Mapping[str, Spans]
    candles: Mapping[str, int]


def split_points(store: MemmapCandles, split: Split | SplitDates) -> dict[int, SplitPoints]:
    """When validation and test begin, for each instrument; those of prepared datasets have parts of their own.

    Shares are those of all candles there are, fit or not: their times alone decide, and no price moves a cut.

    Args:
        store: The candles.
        split: Shares, or dates by market.

    Returns:
        By the instrument's position in the store; UTC.

    Raises:
        DataError: If there are too few different times for three parts.
        ParameterError: If a market has no dates.
    """
    own = [number for number, one in enumerate(store.series) if not one.prepared]
    if isinstance(split, SplitDates):
        return {number: _dated(store.series[number], split) for number in own}
    groups: dict[str, list[int]] = {}
    for number in own:
        groups.setdefault(store.series[number].interval if split.dates == "timeframe" else "", []).append(number)
    return {
        number: cuts
        for members in groups.values()
        for cuts in [_shared([_Closes.of(store, number) for number in members], split)]
        for number in members
    }


def _dated(one: SeriesInfo, split: SplitDates) -> SplitPoints:
    if one.market not in split.cuts:
        raise ParameterError(f"{split.name} has no dates for the market '{one.market}' of {one.unique_id}; add them.")
    return SplitPoints(*(_utc(time, one.timezone) for time in split.cuts[one.market]))


def _utc(time: pd.Timestamp, zone: str | None) -> pd.Timestamp:
    """A time in UTC; one without a timezone is the instrument's wall clock."""
    if time.tz is None:
        time = time.tz_localize(zone or "UTC", ambiguous=True, nonexistent="shift_forward")
    return time.tz_convert("UTC")


def _micros(time: pd.Timestamp) -> int:
    """Microseconds since 1970, UTC."""
    return int(time.tz_convert("UTC").asm8.astype("M8[us]").astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class _Closes:
    """When an instrument's candles close, without copying their times."""

    opens: npt.NDArray[np.int64]
    step: int

    @classmethod
    def of(cls, store: MemmapCandles, number: int) -> _Closes:
        one = store.series[number]
        opens = store.opens[one.start : one.stop]
        if one.length.unit != "mo":
            return cls(opens, one.length.seconds * 1_000_000)
        index = pd.DatetimeIndex(opens.astype(np.int64).view("M8[us]"))
        return cls(closing_times(index, one.length).as_unit("us").asi8, 0)

    def by(self, time: int) -> int:
        """How many have closed by a time."""
        return int(self.opens.searchsorted(time - self.step, side="right"))


def _shared(closes: Sequence[_Closes], split: Split) -> SplitPoints:
    """The dates that give each part its share of all candles."""
    total = sum(len(one.opens) for one in closes)
    low = min(int(one.opens[0]) + one.step for one in closes)
    high = max(int(one.opens[-1]) + one.step for one in closes)
    first, second = (
        _earliest(low, high, closes, max(1, round(share * total)))
        for share in (split.train, split.train + split.validation)
    )
    if not first < second < high:
        raise DataError(
            f"{total:,} candles have too few different times for training, validation and test; give longer histories."
        )
    return SplitPoints(*(pd.Timestamp(time, unit="us", tz="UTC") for time in (first, second)))


def _earliest(low: int, high: int, closes: Sequence[_Closes], count: int) -> int:
    """The earliest time by which so many candles have closed; no list of all times is needed to find it."""
    while low < high:
        middle = (low + high) // 2
        if sum(one.by(middle) for one in closes) >= count:
            high = middle
        else:
            low = middle + 1
    return low


def parts_of_store(
    store: MemmapCandles, cuts: Mapping[int, SplitPoints], embargo: int, quality: Quality
) -> SegmentsByPart:
    """Find the stretches of each part.

    Args:
        store: The candles.
        cuts: By the instrument's position, as `cuts_of` gives them.
        embargo: Candles after each cut that are not predicted.
        quality: ``paper`` for the paper's filters; ``none`` splits where prices are missing or jump, and keeps all.
    """
    spans: dict[str, list[Spans]] = {part: [] for part in PARTS}
    candles = dict.fromkeys(PARTS, 0)
    for number, one in enumerate(store.series):
        if one.prepared:
            found = _prepared(store, number)
        else:
            found = _split(store, number, cuts[number], embargo, _rules(one.length, quality))
        for part, (count, own) in zip(PARTS, found, strict=True):
            candles[part] += count
            spans[part].append(own)
    empty = np.empty((0, 4), dtype=np.int64)
    return SegmentsByPart({part: np.concatenate([empty, *own]) for part, own in spans.items()}, candles)


def _rules(interval: Interval, quality: Quality) -> QualityRules:
    if quality == "none":
        return QualityRules(min_length=1, price_jump=JUMP, illiquid_run=_ALL, stagnant_run=_ALL)
    rules = rules_for(interval)
    return replace(rules, price_jump=min(JUMP, rules.price_jump))


def _split(
    store: MemmapCandles, number: int, cuts: SplitPoints, embargo: int, rules: QualityRules
) -> list[tuple[int, Spans]]:
    """Of each part the candles of its dates, and its stretches."""
    one, closes = store.series[number], _Closes.of(store, number)
    opens = store.opens[one.start : one.stop]
    first, second = (_micros(time) for time in (cuts.validation, cuts.test))
    begins = [0, *(int(opens.searchsorted(time)) + embargo for time in (first, second))]
    stops = [closes.by(first), closes.by(second), one.rows]
    judged: dict[int, Spans] = {}
    found = []
    for begin, stop in zip(begins, stops, strict=True):
        if begin >= stop:
            found.append((0, np.empty((0, 4), dtype=np.int64)))
            continue
        if stop not in judged:
            judged[stop] = _segments(store, number, stop, rules)
        own = judged[stop][judged[stop][:, 2] > one.start + begin]
        future = np.maximum(own[:, 1], one.start + begin)
        found.append((stop - begin, np.column_stack((own[:, :3], future))))
    return found


def _segments(store: MemmapCandles, number: int, rows: int, rules: QualityRules) -> Spans:
    """Stretches of an instrument's earliest candles that keep the rules: series, first row, row after the last."""
    start = store.series[number].start
    kept = assess(store.read(number, rows), rules).segments
    return np.array([(number, start + a.start, start + a.stop) for a in kept], dtype=np.int64).reshape(-1, 3)


def _prepared(store: MemmapCandles, number: int) -> list[tuple[int, Spans]]:
    """The parts that a prepared dataset has, its stretches cut where prices jump."""
    pieces = store.pieces[store.pieces[:, 0] == number]
    found = []
    for part in range(len(PARTS)):
        own = [run for _, a, b, _ in pieces[pieces[:, 3] == part].tolist() for run in _between_jumps(store, a, b)]
        spans = np.array([(number, a, b, a) for a, b in own], dtype=np.int64).reshape(-1, 4)
        found.append((int((spans[:, 2] - spans[:, 1]).sum()), spans))
    return found


def _between_jumps(store: MemmapCandles, start: int, stop: int) -> Iterable[tuple[int, int]]:
    """The runs of rows in which no candle opens far from the close before it."""
    opened, close = store.candles[start + 1 : stop, 0], store.candles[start : stop - 1, 3]
    edges = [start, *(start + 1 + np.flatnonzero(np.abs(opened / close - 1) > JUMP)).tolist(), stop]
    return pairwise(edges)
