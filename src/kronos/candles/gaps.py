"""Inference of the interval of a series of times, its gaps, and the usual trading times.

Markets close at night, at lunch, at weekends and on holidays, so the interval is the most frequent difference between
times. It is checked against the others: longer ones are breaks, shorter ones must be rare, and all parts of the series
must agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.calendars.detection import session_interval
from kronos.calendars.holidays import is_fx_holiday
from kronos.errors import DataError
from kronos.formatting import Message
from kronos.intervals import Interval
from kronos.typing import BoolArray, FloatArray, IntArray

Stamps = IntArray  # nanoseconds since 1970 of a wall clock

DAY = 86_400  # seconds
_DAY_NS = DAY * 10**9
_MIN_DIFFERENCES = 8  # from which on one of them equals the interval, even if idle candles are left out
_MAX_SHORT = 0.2  # share of differences that may be shorter than the interval (the last bar of a session often is)
_REGULAR = 0.9  # share of days with a candle at some time of day, above which its absence is not a break
_LONGEST_CLOSING = 11 * DAY  # of exchanges on holidays such as the Spring Festival
_NEIGHBOURS = 4  # days of the same weekday before a day, and after it
_MIN_DAYS = 3  # of one weekday; below it the pattern of all days is used
_FIX = "pass interval=, or a series with a single interval"


def wall_clock(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The wall-clock times of an index, without timezone, in nanoseconds."""
    naive = index if index.tz is None else index.tz_localize(None)
    return naive.as_unit("ns")


def _seconds(index: pd.DatetimeIndex) -> FloatArray:
    return np.asarray(np.diff(index.as_unit("ns").asi8) / 1e9, dtype=np.float64)


def infer_interval(index: pd.DatetimeIndex) -> Interval:
    """Infer the interval of strictly increasing times with nights, lunch breaks, weekends, holidays and gaps.

    Args:
        index: Times in increasing order, naive or with a timezone. [n]

    Raises:
        DataError: If there are fewer than two times, or they have no single interval.
    """
    if len(index) < 2:
        raise DataError(
            Message(
                "few-times-for-interval",
                "The interval cannot be inferred from fewer than 2 times; add rows or pass interval=.",
            )
        )
    steps = _seconds(index)
    if np.median(steps) > 0.9 * DAY:
        # Days of the wall clock: changes of daylight saving time make them 23 or 25 hours long.
        steps = _seconds(wall_clock(index))
    if np.any(steps <= 0):
        raise DataError(
            Message("unordered-times", "The times are not strictly increasing; sort them and drop duplicates.")
        )
    mode = _mode(steps)
    if mode >= 27 * DAY:
        return _infer_months(steps)
    try:
        _check_mode(index, steps, mode)
    except DataError:
        found = session_interval(index)
        if found is None:
            raise
        return found
    return Interval.from_seconds(round(mode))


def _mode(steps: FloatArray) -> float:
    counts = Counter(np.round(steps, 3).tolist())
    best = max(counts.values())
    # The shortest of equally frequent differences: the others are breaks between sessions.
    return float(min(step for step, n in counts.items() if n == best))


def _infer_months(steps: FloatArray) -> Interval:
    days = steps / DAY
    count = max(1, round(float(np.median(days)) / 30.44))
    fits = np.abs(days - count * 30.44) <= 4 + 0.6 * count
    longer = days > count * 30.44
    if np.mean(fits | longer) < 1 - _MAX_SHORT or np.mean(fits) < 0.3:
        raise DataError(
            Message(
                "months-apart",
                "The times are {low} to {high} days apart, not a single interval; {advice}.",
                low=f"{days.min():.0f}",
                high=f"{days.max():.0f}",
                advice=_FIX,
            )
        )
    return Interval(count, "mo")


def _check_mode(index: pd.DatetimeIndex, steps: FloatArray, mode: float) -> None:
    if mode < 1 or abs(mode - round(mode)) > 1e-3:
        raise DataError(
            Message(
                "fractional-interval",
                "The times are {seconds} seconds apart, but candles last whole seconds; {advice}.",
                seconds=f"{mode:g}",
                advice=_FIX,
            )
        )
    low, high, usual = (format_spacing(seconds) for seconds in (steps.min(), steps.max(), mode))
    whole = DAY % round(mode) == 0 or round(mode) % DAY == 0 or _restarts_daily(index, mode)
    short = float(np.mean(steps < mode * 0.999))
    if not whole or short > _MAX_SHORT or np.mean(np.abs(steps - mode) < 1e-3) < 0.15:
        raise DataError(
            Message(
                "no-single-interval",
                "The times have no single interval (from {low} to {high} apart, most often {usual}); {advice}.",
                low=low,
                high=high,
                usual=usual,
                advice=_FIX,
            )
        )
    modes = (
        [_mode(part) for part in np.array_split(steps, min(8, len(steps) // 8)) if len(part)]
        if len(steps) >= 16
        else []
    )
    other = [m for m in modes if abs(m - mode) > 1e-3]
    if len(other) > len(modes) / 4:
        raise DataError(
            Message(
                "mixed-intervals",
                "The times mix the intervals {first} and {second}; {advice}.",
                first=usual,
                second=format_spacing(other[0]),
                advice=_FIX,
            )
        )


def _restarts_daily(index: pd.DatetimeIndex, mode: float) -> bool:
    """Whether candles begin anew each day: then their length need not divide the day, as 130 minutes of US stocks."""
    stamps = wall_clock(index).asi8 // 10**9
    days = stamps // DAY
    within = np.diff(stamps)[np.diff(days) == 0]
    first = stamps[np.append(True, np.diff(days) != 0)] % DAY
    if len(first) < 3 or len(within) < 1.5 * len(first):  # two candles a day do not show a length
        return False
    _, counts = np.unique(first, return_counts=True)
    usual = np.sort(counts)[-3:].sum()  # daylight saving time moves the first time of day by an hour
    return bool(np.mean(np.abs(within - mode) < 1e-3) >= _REGULAR and usual >= _REGULAR * len(first))


def format_spacing(seconds: float) -> str:
    """A distance between times in the notation of intervals: ``1h``."""
    return str(Interval.from_seconds(round(seconds))) if seconds >= 1 else f"{seconds:g}s"


def fits_interval(index: pd.DatetimeIndex, interval: Interval) -> bool:
    """Whether times can belong to candles of this interval: few are closer, and some are as close.

    Candles of sessions with a lunch break need not be as close: those of 2 hours in Shanghai end at 11:30 and 15:00.
    """
    if len(index) < 2:
        return True
    steps = _seconds(wall_clock(index))
    # The ends of sessions cut bars short and months vary, so only a majority of closer times is a contradiction.
    if float(np.mean(steps < 0.85 * interval.seconds)) > 0.5:
        return False
    if len(steps) < _MIN_DIFFERENCES or bool(steps.min() < 1.5 * interval.seconds):
        return True
    return interval.intraday and session_interval(index) == interval


def is_off_grid(index: pd.DatetimeIndex) -> bool:
    """Whether the last time comes before its turn, at a time of day or weekday where no other candle is.

    Sources that are still trading add such a row, stamped with the time of the request.
    """
    if len(index) < _MIN_DIFFERENCES + 2:
        return False
    stamps = wall_clock(index).asi8 // 10**9
    steps = np.diff(stamps)
    usual = int(_mode(steps[:-1].astype(np.float64)))
    if usual < 60 or steps[-1] >= usual or np.mean(steps[:-1] < usual) > 0.02:
        return False
    # Days begin on Thursday 1970-01-01; the phase of months is not fixed.
    phase = stamps % min(usual, 7 * DAY) if usual <= 7 * DAY else stamps % DAY
    return not bool(np.isin(phase[-1], phase[:-1])) or (usual > 7 * DAY and steps[-1] < 27 * DAY)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Breaks that do not recur.

    Attributes:
        positions: Positions of the candles after the breaks.
        longest: Length of the longest, in seconds.
    """

    positions: IntArray
    longest: float


def find_gaps(index: pd.DatetimeIndex, interval: Interval) -> Gaps:
    """Find breaks that do not recur, so that nights, lunch breaks and weekends are no gaps.

    Within a day, a break recurs if the same two times of day bound a break on at least two days and on one day in
    fifty, unless candles exist at all its times on nine days in ten. Between days, weekends and holidays of up to three
    weekdays count as recurring.
    """
    steps = _seconds(wall_clock(index))
    if interval.intraday:
        broken = steps > interval.seconds * 1.001
        odd = broken & ~_recurring(index, broken, interval.seconds)
        odd &= ~_fx_holidays(index, odd, interval.seconds)
    elif interval.unit == "d":
        odd = _missing_days(index, interval) > (0 if _weekends(index) else 3)
    else:
        odd = steps > interval.seconds * 1.6
    positions = np.flatnonzero(odd) + 1
    return Gaps(positions, float(steps[odd].max()) if odd.any() else 0.0)


def _fx_holidays(index: pd.DatetimeIndex, broken: BoolArray, length: int) -> BoolArray:
    """Which breaks are holidays of a market that otherwise closes at weekends only, such as FX. [n - 1]."""
    result = np.zeros(len(broken), dtype=np.bool_)
    stamps = wall_clock(index).asi8 // 10**9
    if not broken.any() or _weekends(index) or len(np.unique(stamps % DAY)) < _REGULAR * DAY / length - 1:
        return result
    # A holiday closes the market for most of a day; a few missing hours at noon are a gap.
    for i in np.flatnonzero(broken & (np.diff(stamps) > DAY // 2)).tolist():
        # Days whose noon lies in the break.
        noons = np.arange((stamps[i] + DAY // 2) // DAY, (stamps[i + 1] + DAY // 2) // DAY)
        weekdays = noons[(noons + 3) % 7 < 5]
        result[i] = 0 < len(weekdays) <= 1 and bool(is_fx_holiday(weekdays).all())
    return result


def _recurring(index: pd.DatetimeIndex, broken: BoolArray, length: int) -> BoolArray:
    """Which breaks recur and include a time at which the market is usually closed. [n - 1]."""
    stamps = wall_clock(index).asi8 // 10**9
    clock = stamps % DAY
    pair = clock[:-1] * DAY + clock[1:]
    result = np.zeros(len(pair), dtype=np.bool_)
    if not broken.any():
        return result
    values, inverse, counts = np.unique(pair[broken], return_inverse=True, return_counts=True)
    days = len(np.unique(stamps // DAY))
    recurs = counts >= max(2, 0.02 * days)
    shortest = np.full(len(values), np.iinfo(np.int64).max)
    np.minimum.at(shortest, inverse, np.diff(stamps)[broken])
    times, present = np.unique(clock, return_counts=True)
    open_times = times[present >= _REGULAR * days]
    for i in np.flatnonzero(recurs & (shortest < DAY)):
        inside = np.arange(values[i] // DAY + length, values[i] // DAY + shortest[i], length) % DAY
        recurs[i] = not np.isin(inside, open_times).all()
    result[broken] = recurs[inverse]
    return result


def find_weekday_gaps(index: pd.DatetimeIndex, interval: Interval) -> IntArray:
    """Find gaps with missing prices: those of `find_gaps` that cannot be closings of the market.

    A gap of up to eleven days counts as a closing (a holiday, a half day, a late opening) if it begins or ends like the
    market's usual breaks on that weekday; between days, if the market closes at weekends. A market that never closes
    has no closings. Missing candles at the edge of a session cannot be distinguished from a closing.

    Returns:
        Positions of the candles after the gaps.
    """
    steps = _seconds(wall_clock(index))
    positions = find_gaps(index, interval).positions
    brief = steps[positions - 1] - interval.seconds <= _LONGEST_CLOSING
    if interval.intraday:
        usual = steps > interval.seconds * 1.001
        usual[positions - 1] = False
        week = (wall_clock(index).asi8 // 10**9) % (7 * DAY)
        at_edge = np.isin(week[positions - 1], week[:-1][usual]) | np.isin(week[positions], week[1:][usual])
        return positions[~(brief & at_edge)]
    return positions[~brief] if interval.unit != "d" or not _weekends(index) else positions


def _weekends(index: pd.DatetimeIndex) -> bool:
    # Not Sundays: the FX week and the trading week of the Gulf's exchanges may begin on them.
    return bool(np.mean(np.asarray(index.day_of_week) == 5) > 0.1)


def _missing_days(index: pd.DatetimeIndex, interval: Interval) -> IntArray:
    dates = wall_clock(index).values.astype("datetime64[D]")
    count = np.diff(dates).astype(np.int64) if _weekends(index) else np.busday_count(dates[:-1], dates[1:])
    return np.asarray(count - interval.count, dtype=np.int64)


def usual_trading_times(begin: Stamps, length: int, since: int, until: int) -> tuple[BoolArray, Stamps]:
    """Find out which candles are at usual trading times, and which usual times have no candle.

    A time is usual if at least half of the neighbouring days have a candle at it. Days without candles count as
    holidays, except before the first and after the last candle.

    Args:
        begin: Opening times of the candles, increasing. [n]
        length: Length of a candle in nanoseconds, <= one day.
        since: Start of the search for missing times, at or before the first candle.
        until: End of the search.

    Returns:
        Whether each candle is at a usual time [n], and the usual times without a candle.
    """
    slots, slot = -(-_DAY_NS // length), begin % _DAY_NS // length
    days, row = np.unique(begin // _DAY_NS, return_inverse=True)
    unknown = _unknown_days(days, since // _DAY_NS, -(-until // _DAY_NS))
    cells = np.unique(row * slots + slot)
    on_all_days = 2 * np.bincount(cells % slots, minlength=slots) >= len(days)
    usual, missing = np.zeros(len(begin), dtype=np.bool_), []
    for weekday in range(7):
        rows, ahead = np.flatnonzero(_weekday(days) == weekday), unknown[_weekday(unknown) == weekday]
        on_weekday = np.isin(row, rows)
        place = np.searchsorted(rows, row[on_weekday])
        present = np.zeros((len(rows), slots), dtype=np.bool_)
        present[place, slot[on_weekday]] = True
        expected = _usual_slots(present) if len(rows) >= _MIN_DAYS else np.tile(on_all_days, (len(rows), 1))
        usual[on_weekday] = expected[place, slot[on_weekday]]
        missing.append(_slot_times(days[rows], expected & ~present, length))
        for outside, edge in ((ahead[ahead < days[0]], 0), (ahead[ahead > days[-1]], -1)):
            pattern = expected[edge] if len(rows) else on_all_days
            missing.append(_slot_times(outside, np.tile(pattern, (len(outside), 1)), length))
    return usual, np.concatenate(missing)


def _weekday(days: Stamps) -> Stamps:
    return np.asarray((days + 3) % 7, dtype=np.int64)


def _unknown_days(days: Stamps, since: int, until: int) -> Stamps:
    """Days outside the candles on which the market may trade: weekdays that it usually trades on, or unseen ones."""
    possible = np.bincount(_weekday(np.arange(days[0], days[-1] + 1)), minlength=7)
    trades = 2 * np.bincount(_weekday(days), minlength=7) >= possible
    outside = np.concatenate((np.arange(since, days[0]), np.arange(days[-1] + 1, until))).astype(np.int64)
    return outside[trades[_weekday(outside)]]


def _usual_slots(present: BoolArray) -> BoolArray:
    """Slots that at least half of the rows around each row have, the row included. [rows, slots]."""
    rows, around = len(present), min(len(present), 2 * _NEIGHBOURS + 1)
    total = np.zeros((rows + 1, present.shape[1]), dtype=np.int32)
    np.cumsum(present, axis=0, out=total[1:])
    low = np.clip(np.arange(rows) - _NEIGHBOURS, 0, rows - around)
    return np.asarray(2 * (total[low + around] - total[low]) >= around, dtype=np.bool_)


def _slot_times(days: Stamps, selected: BoolArray, length: int) -> Stamps:
    """Stamps of the selected cells of a table of days and times of day."""
    day, slot = np.nonzero(selected)
    return np.asarray(days[day] * _DAY_NS + slot * length, dtype=np.int64)
