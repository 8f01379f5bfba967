"""At which times of a weekday a market usually has candles, and where such candles are missing.

The days of the same weekday around a day tell: so a change of summer time, or of the market's hours, takes effect at
once, and a half day does not count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kronos.candles.spacing import DAY

Mask = npt.NDArray[np.bool_]
Stamps = npt.NDArray[np.int64]  # nanoseconds since 1970 of a wall clock

_DAY = DAY * 10**9
_NEIGHBOURS = 4  # days of the same weekday before, and as many after
_FEW = 3  # days of one weekday below which all days tell


def usual_times(begin: Stamps, length: int, since: int, until: int) -> tuple[Mask, Stamps]:
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


def _expected(present: Mask) -> Mask:
    """What at least half of the rows around each row have; itself among them. [rows, slots]."""
    rows, around = len(present), min(len(present), 2 * _NEIGHBOURS + 1)
    total = np.zeros((rows + 1, present.shape[1]), dtype=np.int32)
    np.cumsum(present, axis=0, out=total[1:])
    low = np.clip(np.arange(rows) - _NEIGHBOURS, 0, rows - around)
    return np.asarray(2 * (total[low + around] - total[low]) >= around, dtype=np.bool_)


def _times(days: Stamps, chosen: Mask, length: int) -> Stamps:
    """The chosen cells of a table of days and times of day, as stamps."""
    day, slot = np.nonzero(chosen)
    return np.asarray(days[day] * _DAY + slot * length, dtype=np.int64)
