"""Conventions for the times of bars within a trading day, and how well each fits a history.

Bars restart with each segment of a session (``open``), lie on whole multiples of the interval (``clock``: hourly bars
of US stocks from 09:00 in Lean), or count trading time only and run through breaks (``running``: hourly bars of Chinese
stocks end at 10:00, 11:15, 14:15, 15:00). They are stamped at their start, at their end, or at both ends (if an auction
has its own bar). Night sessions always restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kronos.calendars.sessions import Hours, TradingSchedule
from kronos.calendars.timezones import DAY, SECOND, Stamps
from kronos.typing import IntArray

Align = Literal["open", "clock", "running", "observed"]
Side = Literal["start", "end", "both"]
_NIGHT = 20 * 3600 * SECOND


@dataclass(frozen=True, slots=True)
class BarGrid:
    """A convention for the times of bars.

    Attributes:
        align: Alignment of the bars.
        side: End of a bar at which it is stamped.
        clock: For ``observed``: times of day in the history, in nanoseconds after midnight.
    """

    align: Align
    side: Side
    clock: tuple[int, ...] = ()

    @property
    def description(self) -> str:
        """Description for people."""
        if self.align == "observed":
            return "with the history's own times of day, which differ from the trading hours"
        return {"start": "bars stamped at their start", "end": "bars stamped at their end"}.get(
            self.side, "bars stamped at both ends of a session"
        )


GRIDS = tuple(
    BarGrid(align, side)
    for side in ("start", "end", "both")
    for align in ("open", "clock", "running")
    if not (side == "both" and align == "clock")
)  # fmt: skip


def day_stamps(hours: Hours, step: int, grid: BarGrid) -> Stamps:
    """Stamps of one trading day, in nanoseconds after its midnight."""
    if grid.align == "observed":
        return np.array(grid.clock, dtype=np.int64)
    if grid.align == "running":
        day = tuple(s for s in hours if s[0] < _NIGHT)
        groups = [day, *((s,) for s in hours if s[0] >= _NIGHT)]
        parts = [_running(group, step, grid.side) for group in groups if group]
    else:
        parts = [_edges(opens, closes, step, grid) for opens, closes in hours]
    return np.unique(np.concatenate(parts)) if parts else np.array([], dtype=np.int64)


def _edges(opens: int, closes: int, step: int, grid: BarGrid) -> Stamps:
    begin = opens // step * step if grid.align == "clock" else opens
    starts = np.arange(begin, closes, step, dtype=np.int64)
    ends = starts + step if grid.align == "clock" else np.minimum(starts + step, closes)
    return _sided(starts, ends, grid.side)


def _running(segments: Hours, step: int, side: Side) -> Stamps:
    lengths = np.array([closes - opens for opens, closes in segments], dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(lengths)])  # trading time passed at each segment's opening
    total = int(before[-1])
    starts = np.arange(0, total, step, dtype=np.int64)
    ends = np.minimum(starts + step, total)
    opens = np.array([s[0] for s in segments], dtype=np.int64)
    at_start = np.searchsorted(before, starts, side="right") - 1
    at_end = np.searchsorted(before, ends, side="left") - 1  # a bar ending with a segment ends before the break
    return _sided(opens[at_start] + starts - before[at_start], opens[at_end] + ends - before[at_end], side)


def _sided(starts: Stamps, ends: Stamps, side: Side) -> Stamps:
    if side == "both":
        return np.union1d(starts, ends)
    return starts if side == "start" else ends


def grid_stamps(schedule: TradingSchedule, step: int, grid: BarGrid, first: int, last: int) -> Stamps:
    """All stamps of a schedule from ``first`` to ``last`` inclusive, increasing.

    Args:
        schedule: Trading days and hours.
        step: Interval in nanoseconds.
        grid: Convention for the times of bars.
        first: Wall-clock nanoseconds.
        last: Wall-clock nanoseconds.
    """
    bounds = np.array([first // DAY - 1, last // DAY + 1]).view("M8[D]")
    low, high = np.searchsorted(schedule.dates, bounds, side="left")
    dates, kind = schedule.dates[low : high + 1], schedule.kind[low : high + 1]
    midnight = dates.astype("datetime64[ns]").astype(np.int64)
    parts = [
        (midnight[kind == k, None] + day_stamps(schedule.hours[k], step, grid)[None, :]).ravel()
        for k in np.unique(kind)
    ]
    stamps = np.unique(np.concatenate(parts)) if parts else np.array([], dtype=np.int64)
    return stamps[(stamps >= first) & (stamps <= last)]


@dataclass(frozen=True, slots=True)
class GridFit:
    """How well a grid fits a history, as shares from 0 to 1.

    Attributes:
        on: Share of the history's stamps that are on the grid.
        filled: Share of the grid's stamps, on days with data, that are in the history.
        days: Share of the grid's days that have data.
    """

    on: float
    filled: float
    days: float

    @property
    def score(self) -> float:
        """Product of the three shares."""
        return self.on * self.filled * self.days


def fit_days(history: Stamps, expected: Stamps) -> GridFit:
    """Compare a history with the stamps that a grid expects over the same span, day by day."""
    if not len(expected) or not len(history):
        return GridFit(0.0, 0.0, 0.0)
    hit = np.isin(history, expected, assume_unique=True)
    expected_day = expected // DAY
    seen = np.isin(expected_day, np.unique(history // DAY))
    filled = float(hit.sum()) / max(1, int(seen.sum()))
    days = len(np.unique(expected_day[seen])) / len(np.unique(expected_day))
    return GridFit(float(hit.mean()), min(1.0, filled), days)


def fit_stamps(history: Stamps, expected: Stamps) -> GridFit:
    """Compare a history with the expected stamps of a market that hardly closes, where days are not a unit."""
    if not len(expected) or not len(history):
        return GridFit(0.0, 0.0, 0.0)
    hits = float(np.isin(history, expected, assume_unique=True).sum())
    return GridFit(hits / len(history), hits / len(expected), 1.0)


def observed_grid(history: Stamps) -> BarGrid:
    """The times of day that at least half of a history's days have."""
    clock, counts = np.unique(history % DAY, return_counts=True)
    usual: IntArray = clock[counts >= 0.5 * np.median(counts)]
    return BarGrid("observed", "start", tuple(int(c) for c in usual))
