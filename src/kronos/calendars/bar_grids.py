"""Where bars are stamped within a trading day: every convention in use, and which one a history follows.

Bars may restart with each session segment (``open``), sit on whole multiples of the interval (``clock``:
Lean's US hours begin at 09:00), or run through breaks counting only trading time (``running``: Chinese
hours end at 10:00, 11:15, 14:15, 15:00). They are stamped at their start, at their end, or at both ends (an
auction has a bar of its own). A night session starts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from kronos.calendars.sessions import Hours, TradingSchedule
from kronos.calendars.timezones import DAY, SECOND, Stamps

Align = Literal["open", "clock", "running", "observed"]
Side = Literal["start", "end", "both"]
_NIGHT = 20 * 3600 * SECOND


@dataclass(frozen=True, slots=True)
class BarGrid:
    """A stamping convention.

    Attributes:
        align: What bars are aligned to.
        side: Which end of a bar its stamp names.
        clock: Only for ``observed``: the clock times seen, nanoseconds after midnight.
    """

    align: Align
    side: Side
    clock: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """How a note says it."""
        if self.align == "observed":
            return "whose hours the history does not keep, so bars come at the clock times seen there"
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
    """Stamps of one trading day, nanoseconds after its midnight."""
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


def stamps(plan: TradingSchedule, step: int, grid: BarGrid, first: int, last: int) -> Stamps:
    """All stamps of a schedule from ``first`` to ``last`` inclusive, increasing.

    Args:
        plan: Trading days and hours.
        step: The interval, nanoseconds.
        grid: The stamping convention.
        first: Wall-clock nanoseconds.
        last: Wall-clock nanoseconds.
    """
    low, high = np.searchsorted(plan.dates, np.array([first // DAY - 1, last // DAY + 1]).view("M8[D]"), side="left")
    dates, kind = plan.dates[low : high + 1], plan.kind[low : high + 1]
    midnight = dates.astype("datetime64[ns]").astype(np.int64)
    parts = [
        (midnight[kind == k, None] + day_stamps(plan.hours[k], step, grid)[None, :]).ravel() for k in np.unique(kind)
    ]
    every = np.unique(np.concatenate(parts)) if parts else np.array([], dtype=np.int64)
    return every[(every >= first) & (every <= last)]


@dataclass(frozen=True, slots=True)
class GridFit:
    """How well a grid explains a history: shares between 0 and 1.

    Attributes:
        on: Of the history's stamps, those on the grid.
        filled: Of the grid's stamps on days with any data, those in the history.
        days: Of the grid's days, those with any data.
    """

    on: float
    filled: float
    days: float

    @property
    def score(self) -> float:
        """One number to compare grids by."""
        return self.on * self.filled * self.days


def measure(history: Stamps, expected: Stamps) -> GridFit:
    """Compare a history with the stamps that a grid expects between its first and last one."""
    if not len(expected) or not len(history):
        return GridFit(0.0, 0.0, 0.0)
    hit = np.isin(history, expected, assume_unique=True)
    expected_day = expected // DAY
    seen = np.isin(expected_day, np.unique(history // DAY))
    filled = float(hit.sum()) / max(1, int(seen.sum()))
    days = len(np.unique(expected_day[seen])) / len(np.unique(expected_day))
    return GridFit(float(hit.mean()), min(1.0, filled), days)


def measure_all(history: Stamps, expected: Stamps) -> GridFit:
    """The same for markets that hardly close, where days are no units: all expected stamps count alike."""
    if not len(expected) or not len(history):
        return GridFit(0.0, 0.0, 0.0)
    hits = float(np.isin(history, expected, assume_unique=True).sum())
    return GridFit(hits / len(history), hits / len(expected), 1.0)


def observed(history: Stamps) -> BarGrid:
    """The clock times that at least half of a history's recent days have."""
    clock, counts = np.unique(history % DAY, return_counts=True)
    usual: npt.NDArray[np.int64] = clock[counts >= 0.5 * np.median(counts)]
    return BarGrid("observed", "start", tuple(int(c) for c in usual))
