"""Which interval a series of times has, and where it has gaps.

Markets close at night, at lunch, at weekends and on holidays, so the interval is the most frequent difference, checked
against the rest: longer differences are breaks, shorter ones must be rare, and parts of the series must agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.errors import DataError
from kronos.intervals import Interval
from kronos.typing import BoolArray

DAY = 86_400
_HANDFUL = 8  # differences among which one is the interval itself, even where idle candles are left out
_SHORT = 0.2  # share of differences that may be shorter than the interval (a session's last bar often is)
_USUALLY = 0.9  # share of days with a candle at some clock time, from which on its absence is no habit
_LONGEST_CLOSING = 11 * DAY  # of exchanges in holidays, such as those of the Spring Festival
_MEND = "say it with interval=, or give one series with one interval"


def wall(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The index as its own wall clock shows it, without a timezone, in nanoseconds."""
    naive = index if index.tz is None else index.tz_localize(None)
    return naive.as_unit("ns")


def _seconds(index: pd.DatetimeIndex) -> npt.NDArray[np.float64]:
    return np.asarray(np.diff(index.as_unit("ns").asi8) / 1e9, dtype=np.float64)


def infer_interval(index: pd.DatetimeIndex) -> Interval:
    """The interval of strictly increasing times, robust to nights, lunch breaks, weekends, holidays and gaps.

    Args:
        index: Times in increasing order, naive or with a timezone.

    Returns:
        The interval, months and weeks included.

    Raises:
        DataError: If there are fewer than two times, or the times follow no single interval.
    """
    if len(index) < 2:
        raise DataError("The interval cannot be told from fewer than 2 times; give more rows or say interval=.")
    steps = _seconds(index)
    if np.median(steps) > 0.9 * DAY:
        # Days are days of the wall clock: a change of summer time makes them 23 or 25 hours long.
        steps = _seconds(wall(index))
    if np.any(steps <= 0):
        raise DataError("The times are not strictly increasing; sort them and drop duplicates first.")
    mode = _mode(steps)
    if mode >= 27 * DAY:
        return _months(steps)
    _verify(steps, mode)
    return Interval.from_seconds(round(mode))


def _mode(steps: npt.NDArray[np.float64]) -> float:
    counts = Counter(np.round(steps, 3).tolist())
    best = max(counts.values())
    # Of equally frequent differences the shortest: the others are breaks between sessions.
    return float(min(step for step, n in counts.items() if n == best))


def _months(steps: npt.NDArray[np.float64]) -> Interval:
    days = steps / DAY
    count = max(1, round(float(np.median(days)) / 30.44))
    fits = np.abs(days - count * 30.44) <= 4 + 0.6 * count
    longer = days > count * 30.44
    if np.mean(fits | longer) < 1 - _SHORT or np.mean(fits) < 0.3:
        raise DataError(f"The times are {days.min():.0f} to {days.max():.0f} days apart, no single interval; {_MEND}.")
    return Interval(count, "mo")


def _verify(steps: npt.NDArray[np.float64], mode: float) -> None:
    if mode < 1 or abs(mode - round(mode)) > 1e-3:
        raise DataError(f"The times are {mode:g} seconds apart, but candles last whole seconds; {_MEND}.")
    spread = f"(from {spacing_text(steps.min())} to {spacing_text(steps.max())} apart, most often {spacing_text(mode)})"
    whole = DAY % round(mode) == 0 or round(mode) % DAY == 0
    short = float(np.mean(steps < mode * 0.999))
    if not whole or short > _SHORT or np.mean(np.abs(steps - mode) < 1e-3) < 0.15:
        raise DataError(f"The times follow no single interval {spread}; {_MEND}.")
    modes = (
        [_mode(part) for part in np.array_split(steps, min(8, len(steps) // 8)) if len(part)]
        if len(steps) >= 16
        else []
    )
    other = [m for m in modes if abs(m - mode) > 1e-3]
    if len(other) > len(modes) / 4:
        raise DataError(f"The times mix intervals, {spacing_text(mode)} and {spacing_text(other[0])}; {_MEND}.")


def spacing_text(seconds: float) -> str:
    """``1h``: how far apart times are, as intervals are written."""
    return str(Interval.from_seconds(round(seconds))) if seconds >= 1 else f"{seconds:g}s"


def agrees(index: pd.DatetimeIndex, interval: Interval) -> bool:
    """Whether times can be candles of this interval: few are closer than it, and some are as close as it."""
    if len(index) < 2:
        return True
    steps = _seconds(wall(index))
    # Session ends cut bars short and months vary, so an interval is contradicted only by a majority of closer times.
    if float(np.mean(steps < 0.85 * interval.seconds)) > 0.5:
        return False
    return len(steps) < _HANDFUL or bool(steps.min() < 1.5 * interval.seconds)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Breaks that are no habit of the market: where (position of the row after), and the longest, in seconds."""

    positions: npt.NDArray[np.int64]
    longest: float


def find_gaps(index: pd.DatetimeIndex, interval: Interval) -> Gaps:
    """Breaks that don't recur: neither nights, lunch breaks nor weekends.

    Within a day a break is a habit when the same two clock times bound a break on at least one day in
    fifty, and twice, unless candles are there at all its times on nine days in ten; between days weekends are
    habits, and so are holidays of up to three weekdays.
    """
    steps = _seconds(wall(index))
    if interval.intraday:
        broken = steps > interval.seconds * 1.001
        odd = broken & ~_habitual(index, broken, interval.seconds)
    elif interval.unit == "d":
        odd = _missing_days(index, interval) > (0 if _weekends(index) else 3)
    else:
        odd = steps > interval.seconds * 1.6
    positions = np.flatnonzero(odd) + 1
    return Gaps(positions, float(steps[odd].max()) if odd.any() else 0.0)


def _habitual(index: pd.DatetimeIndex, broken: npt.NDArray[np.bool_], length: int) -> npt.NDArray[np.bool_]:
    """Of the breaks, those that recur and hold a time at which the market is usually closed."""
    stamps = wall(index).asi8 // 10**9
    clock = stamps % DAY
    pair = clock[:-1] * DAY + clock[1:]
    habit = np.zeros(len(pair), dtype=np.bool_)
    if not broken.any():
        return habit
    values, inverse, counts = np.unique(pair[broken], return_inverse=True, return_counts=True)
    days = len(np.unique(stamps // DAY))
    recurs = counts >= max(2, 0.02 * days)
    shortest = np.full(len(values), np.iinfo(np.int64).max)
    np.minimum.at(shortest, inverse, np.diff(stamps)[broken])
    times, present = np.unique(clock, return_counts=True)
    open_times = times[present >= _USUALLY * days]
    for i in np.flatnonzero(recurs & (shortest < DAY)):
        inside = np.arange(values[i] // DAY + length, values[i] // DAY + shortest[i], length) % DAY
        recurs[i] = not np.isin(inside, open_times).all()
    habit[broken] = recurs[inverse]
    return habit


def find_weekday_gaps(index: pd.DatetimeIndex, interval: Interval) -> npt.NDArray[np.int64]:
    """Gaps at which prices are missing: those of `find_gaps` that cannot be closings of the market.

    A gap of up to eleven days is taken for a closing (a holiday, a half day, a late opening) where it begins or ends as
    the market's usual breaks on that weekday do; between days, where the market keeps weekends. A market that never
    closes has no closings. What is missing at the very edge of a session can't be told from a closing.

    Returns:
        Positions of the candles after the holes.
    """
    steps = _seconds(wall(index))
    positions = find_gaps(index, interval).positions
    brief = steps[positions - 1] - interval.seconds <= _LONGEST_CLOSING
    if interval.intraday:
        usual = steps > interval.seconds * 1.001
        usual[positions - 1] = False
        week = (wall(index).asi8 // 10**9) % (7 * DAY)
        at_edge = np.isin(week[positions - 1], week[:-1][usual]) | np.isin(week[positions], week[1:][usual])
        return positions[~(brief & at_edge)]
    return positions[~brief] if interval.unit != "d" or not _weekends(index) else positions


def _weekends(index: pd.DatetimeIndex) -> bool:
    # Saturdays tell: days of the FX week, and those of the Gulf's exchanges, may begin on Sundays.
    return bool(np.mean(np.asarray(index.day_of_week) == 5) > 0.1)


def _missing_days(index: pd.DatetimeIndex, interval: Interval) -> npt.NDArray[np.int64]:
    dates = wall(index).values.astype("datetime64[D]")
    count = np.diff(dates).astype(np.int64) if _weekends(index) else np.busday_count(dates[:-1], dates[1:])
    return np.asarray(count - interval.count, dtype=np.int64)


Stamps = npt.NDArray[np.int64]  # nanoseconds since 1970 of a wall clock

_DAY = DAY * 10**9
_NEIGHBOURS = 4  # days of the same weekday before, and as many after
_FEW = 3  # days of one weekday below which all days tell


def usual_trading_times(begin: Stamps, length: int, since: int, until: int) -> tuple[BoolArray, Stamps]:
    """Which candles come at usual times, and at which usual times there is none.

    A time is usual if at least half of the days around have a candle then. Days without any candle are taken for
    holidays, except before the first candle and after the last, where nothing is known.

    Args:
        begin: When each candle opens, in increasing order. [n]
        length: Of a candle, in nanoseconds; at most a day.
        since: Where to begin looking for what is missing, at or before the first candle.
        until: Where to end.

    Returns:
        Whether each candle comes at a usual time [n], and the usual times that have none.
    """
    slots, slot = -(-_DAY // length), begin % _DAY // length
    days, row = np.unique(begin // _DAY, return_inverse=True)
    unknown = _unknown_days(days, since // _DAY, -(-until // _DAY))
    cells = np.unique(row * slots + slot)
    over_all = 2 * np.bincount(cells % slots, minlength=slots) >= len(days)
    usual, missing = np.zeros(len(begin), dtype=np.bool_), []
    for weekday in range(7):
        rows, ahead = np.flatnonzero(_weekday(days) == weekday), unknown[_weekday(unknown) == weekday]
        mine = np.isin(row, rows)
        place = np.searchsorted(rows, row[mine])
        present = np.zeros((len(rows), slots), dtype=np.bool_)
        present[place, slot[mine]] = True
        expected = _expected(present) if len(rows) >= _FEW else np.tile(over_all, (len(rows), 1))
        usual[mine] = expected[place, slot[mine]]
        missing.append(_times(days[rows], expected & ~present, length))
        for some, edge in ((ahead[ahead < days[0]], 0), (ahead[ahead > days[-1]], -1)):
            pattern = expected[edge] if len(rows) else over_all
            missing.append(_times(some, np.tile(pattern, (len(some), 1)), length))
    return usual, np.concatenate(missing)


def _weekday(days: Stamps) -> Stamps:
    return np.asarray((days + 3) % 7, dtype=np.int64)


def _unknown_days(days: Stamps, since: int, until: int) -> Stamps:
    """Days outside the candles on which the market may trade: weekdays on which it usually does, or never seen."""
    possible = np.bincount(_weekday(np.arange(days[0], days[-1] + 1)), minlength=7)
    trades = 2 * np.bincount(_weekday(days), minlength=7) >= possible
    outside = np.concatenate((np.arange(since, days[0]), np.arange(days[-1] + 1, until))).astype(np.int64)
    return outside[trades[_weekday(outside)]]


def _expected(present: BoolArray) -> BoolArray:
    """What at least half of the rows around each row have; itself among them. [rows, slots]."""
    rows, around = len(present), min(len(present), 2 * _NEIGHBOURS + 1)
    total = np.zeros((rows + 1, present.shape[1]), dtype=np.int32)
    np.cumsum(present, axis=0, out=total[1:])
    low = np.clip(np.arange(rows) - _NEIGHBOURS, 0, rows - around)
    return np.asarray(2 * (total[low + around] - total[low]) >= around, dtype=np.bool_)


def _times(days: Stamps, chosen: BoolArray, length: int) -> Stamps:
    """The chosen cells of a table of days and times of day, as stamps."""
    day, slot = np.nonzero(chosen)
    return np.asarray(days[day] * _DAY + slot * length, dtype=np.int64)
