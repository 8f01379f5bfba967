"""Holidays of markets: those that exchanges will probably have after the published years, and those of FX.

Exchanges publish their holidays a year or two ahead; later ones follow from the rules of 2025 (China) or from dates
that were closed year after year. FX and CFDs on metals and indices close on Christmas Day and New Year's Day, from the
evening before at 17:00 New York on.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from kronos.typing import BoolArray, IntArray

Dates = npt.NDArray[np.datetime64]
FX_HOLIDAYS = ("01-01", "12-25")  # month and day

_HOLIDAY_YEARS = 10  # published years in which recurring holidays are looked for


def is_fx_holiday(days: IntArray) -> BoolArray:
    """Whether FX is closed on trading days, given as days since 1970. [n]."""
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    month = months.astype(np.int64) % 12
    day = days - months.astype("datetime64[D]").astype(np.int64)
    result = np.zeros(days.shape, dtype=np.bool_)
    for text in FX_HOLIDAYS:
        result |= (month == int(text[:2]) - 1) & (day == int(text[3:]) - 1)
    return result


def project_sessions(name: str, published: Dates, first: np.datetime64, last: np.datetime64) -> Dates:
    """Expected trading days from ``first`` to ``last`` inclusive, given the published ones before."""
    days = np.arange(first, last + np.timedelta64(1, "D"), dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    if not len(days):
        return days
    years = range(int(str(days[0])[:4]) - 1, int(str(days[-1])[:4]) + 1)
    closed = chinese_holidays(years) if name == "XSHG" else _recurring_holidays(published, years)
    return days[~np.isin(days, closed)]


def chinese_holidays(years: range) -> Dates:
    """Days on which mainland exchanges are expected to close, by the State Council's rules of 2025."""
    from exchange_calendars import lunisolar_holidays as lunar

    out: list[np.datetime64] = []
    for year in years:
        out += _span(f"{year}-01-01", 0, 0) + _span(f"{year}-05-01", 0, 4) + _span(f"{year}-10-01", 0, 6)
        # The Spring Festival lasts from New Year's Eve to the seventh day.
        out += _lunar(lunar.chinese_lunar_new_year_dates, year, -1, 6)
        for table in (lunar.qingming_festival_dates, lunar.dragon_boat_festival_dates, lunar.mid_autumn_festival_dates):
            out += _lunar(table, year)
    return np.array(sorted(out), dtype="datetime64[D]")


def _span(day: str, before: int, after: int) -> list[np.datetime64]:
    middle = np.datetime64(day, "D")
    return [middle + np.timedelta64(i, "D") for i in range(before, after + 1)]


def _bridged(day: str) -> list[np.datetime64]:
    """A one-day holiday, and the Monday after if it falls on a weekend."""
    date = np.datetime64(day, "D")
    return [date, np.busday_offset(date, 0, roll="forward")]


def _lunar(table: object, year: int, before: int | None = None, after: int = 0) -> list[np.datetime64]:
    for day in np.asarray(table, dtype="datetime64[D]").ravel():
        if str(day).startswith(str(year)):
            return _bridged(str(day)) if before is None else _span(str(day), before, after)
    return []


def _recurring_holidays(published: Dates, years: range) -> Dates:
    """Dates that were closed on all weekdays they fell on in the last ten published years, at least four of them."""
    if not len(published):
        return np.array([], dtype="datetime64[D]")
    first = max(published[0], published[-1] - np.timedelta64(366 * _HOLIDAY_YEARS, "D"))
    days = np.arange(first, published[-1] + np.timedelta64(1, "D"), dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    weekdays = Counter(str(d)[5:] for d in days)
    closed = Counter(str(d)[5:] for d in days[~np.isin(days, published)])
    holidays = [md for md, n in closed.items() if n == weekdays[md] and n >= 4 and md != "02-29"]
    return np.array([f"{year}-{md}" for year in years for md in holidays], dtype="datetime64[D]")
