"""What whole candles are compared with: distributions of each origin's own past, and its actual future.

- *Recent candles*: the last `RECENT` candles, equally likely, for range, volume, wicks and gap.
- *Time of day*: the volumes of the last `SAME_TIME` candles of the same clock time, for intraday intervals. Longer
  intervals have none: the last 64 candles of a day contain every weekday about 13 times.
- *Rolling windows*: the ranges of all windows of h candles within the last `CONTEXT` candles, or 4 h if that is longer.

All of them use candles up to the origin only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kronos.candles import Candles
from kronos.evaluation.candle_losses import MIN_STEPS, QUANTITIES, Quantity, clustering
from kronos.evaluation.origins import CONTEXT, Plan
from kronos.metrics.candle_scores import candle_quantities, empirical_crps, rolling_extreme
from kronos.typing import BoolArray, FloatArray, IntArray

Reference = Literal["recent", "time_of_day"]

RECENT = 64  # candles of the reference distributions
SAME_TIME = 20  # candles of one clock time: a month of sessions
MIN_SAME_TIME = 10  # candles with volume that the reference by time of day needs
MIN_WINDOWS = 20  # rolling windows that the reference of a range over several candles needs
_CHUNK = 2_000_000  # values scored at once, to bound memory


@dataclass(frozen=True, slots=True, eq=False)
class CandleReferences:
    """Scores of the references, and what is known of past and future, at every origin; NaN where undefined.

    Attributes:
        crps: CRPS of each quantity against each of its references. [N, K] each, K steps
        actual_known: Whether the quantity of the actual candle is defined. [N, K] each
        median_gap: Median absolute opening gap of the last `RECENT` candles. [N]
        actual_clustering: Autocorrelation at lag 1 of absolute returns and of ranges, in the actual future. [N, 2]
        past_clustering: The same, mean over the windows of one horizon within the last `CONTEXT` candles. [N, 2]
    """

    crps: Mapping[tuple[Quantity, Reference], FloatArray]
    actual_known: Mapping[Quantity, BoolArray]
    median_gap: FloatArray
    actual_clustering: FloatArray
    past_clustering: FloatArray

    @classmethod
    def of(cls, plan: Plan, steps: Sequence[int]) -> CandleReferences:
        """Score the references at every origin of a plan.

        Args:
            plan: The origins.
            steps: Steps ahead, from 1.
        """
        count, at = len(plan), np.asarray(steps, dtype=np.int64)
        keys: list[tuple[Quantity, Reference]] = [(name, "recent") for name in QUANTITIES]
        keys.append(("volume", "time_of_day"))
        crps = {key: np.full((count, len(at)), np.nan) for key in keys}
        known = {name: np.zeros((count, len(at)), dtype=np.bool_) for name in QUANTITIES}
        gap, actual, past = np.full(count, np.nan), np.full((count, 2), np.nan), np.full((count, 2), np.nan)
        for position, instrument in enumerate(plan.instruments):
            rows = np.flatnonzero(plan.series == position)
            if not len(rows):
                continue
            own = _Series(instrument.candles, plan.known[rows], plan.rolling.horizon)
            for name in QUANTITIES:
                known[name][rows] = ~np.isnan(getattr(own.future, name)[:, at - 1])
                crps[name, "recent"][rows] = own.recent(name, at)
            crps["volume", "time_of_day"][rows] = own.time_of_day(at)
            gap[rows] = np.median(np.abs(own.past.gap[own.last(RECENT)]), axis=1)
            actual[rows] = clustering(own.future.move, own.future.range)
            past[rows] = own.past_clustering()
        return cls(crps, known, gap, actual, past)


class _Series:
    """The candles of one instrument at its origins."""

    def __init__(self, candles: Candles, known: IntArray, horizon: int) -> None:
        values = candles.frame.to_numpy(dtype=np.float64)
        self._candles, self._known, self._horizon = candles, known, horizon
        self._logs = np.log(values[:, :4])
        self.past = candle_quantities(values, np.nan)  # by position in the series; the first candle has no close before
        self.future = candle_quantities(values[known[:, None] + np.arange(horizon)], values[known - 1, 3])

    def last(self, count: int) -> IntArray:
        """Positions of the last candles before each origin, `[n, count]`; negative before the series."""
        return self._known[:, None] - np.arange(count, 0, -1)

    def recent(self, name: Quantity, steps: IntArray) -> FloatArray:
        """CRPS of the reference of one quantity, `[n, K]`."""
        observed = getattr(self.future, name)[:, steps - 1]
        if name not in ("span", "close_span"):
            return _scored(getattr(self.past, name), self.last(RECENT), observed)
        columns = [
            _scored(*self._windows(name, step), observed[:, [place]], MIN_WINDOWS)
            for place, step in enumerate(steps.tolist())
        ]
        return np.concatenate(columns, axis=1)

    def _windows(self, name: Quantity, step: int) -> tuple[FloatArray, IntArray]:
        """Ranges of the windows of ``step`` candles, by the position of their first candle, and those known."""
        context = max(CONTEXT, 4 * step)
        if name == "span":
            spans = rolling_extreme(self._logs[:, 1], step) - rolling_extreme(self._logs[:, 2], step, lowest=True)
        else:  # with the close before the first candle, so the first candle of the series starts no window
            closes = self._logs[:, 3]
            known = rolling_extreme(closes, step + 1) - rolling_extreme(closes, step + 1, lowest=True)
            spans = np.concatenate([[np.nan], known])
        return spans, self.last(context)[:, : context - step + 1]

    def time_of_day(self, steps: IntArray) -> FloatArray:
        """CRPS of the log volume against candles of the same clock time, `[n, K]`."""
        observed = self.future.volume[:, steps - 1]
        if not self._candles.interval.intraday:
            return np.full(observed.shape, np.nan)
        index = self._candles.index
        clock = np.asarray(index.hour * 3600 + index.minute * 60 + index.second, dtype=np.int64)
        size = len(clock)
        order = np.argsort(clock, kind="stable")
        keys = clock[order] * size + order  # by clock time, then by position
        columns = []
        for place, step in enumerate(steps.tolist()):
            wanted = clock[self._known + step - 1]
            stop = np.searchsorted(keys, wanted * size + self._known)  # those of this clock time before the origin
            ranks = stop[:, None] - np.arange(SAME_TIME, 0, -1)
            found = order[np.maximum(ranks, 0)]
            same = (ranks >= 0) & (clock[found] == wanted[:, None])
            positions = np.where(same, found, -1)
            columns.append(_scored(self.past.volume, positions, observed[:, [place]], MIN_SAME_TIME))
        return np.concatenate(columns, axis=1)

    def past_clustering(self) -> FloatArray:
        """Mean autocorrelations over the windows of one horizon that end at each origin, `[n, 2]`."""
        horizon = self._horizon
        result = np.full((len(self._known), 2), np.nan)
        if horizon < MIN_STEPS:
            return result
        count = max(1, CONTEXT // horizon)
        rows = max(1, _CHUNK // (count * horizon))
        for first in range(0, len(result), rows):
            own = slice(first, first + rows)
            positions = self.last(count * horizon)[own].reshape(-1, count, horizon)
            moves, ranges = _taken(self.past.move, positions), _taken(self.past.range, positions)
            result[own] = clustering(moves, ranges, axis=1)
        return result


def _taken(values: FloatArray, positions: IntArray) -> FloatArray:
    """Values at positions; NaN at negative ones."""
    return np.where(positions >= 0, values[np.maximum(positions, 0)], np.nan)


def _scored(values: FloatArray, positions: IntArray, observed: FloatArray, least: int = 2) -> FloatArray:
    """CRPS `[n, K]` of the values at positions `[n, W]`; NaN where fewer than ``least`` are known."""
    result = np.full(observed.shape, np.nan)
    rows = max(1, _CHUNK // (positions.shape[1] * observed.shape[1]))
    for first in range(0, len(positions), rows):
        own = slice(first, first + rows)
        taken = _taken(values, positions[own])
        enough = np.count_nonzero(~np.isnan(taken), axis=1) >= least
        result[own] = np.where(enough[:, None], empirical_crps(taken, observed[own]), np.nan)
    return result
