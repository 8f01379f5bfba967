"""Trading days beyond an exchange's last published year: weekdays without the holidays that can be known.

For Shanghai: New Year, the Spring Festival, Qingming, Labour Day, Dragon Boat, Mid-Autumn and National Day,
whose lunar dates are known for decades while the State Council publishes the exact days off only each
November. For others: dates on which the exchange was closed in each of its last years. Either way the
result is a projection, and forecasts say so.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

Dates = npt.NDArray[np.datetime64]
_YEARS = 10


def project_sessions(name: str, known: Dates, first: np.datetime64, last: np.datetime64) -> Dates:
    """Trading days from ``first`` to ``last`` inclusive, given the sessions published before."""
    days = np.arange(first, last + np.timedelta64(1, "D"), dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    if not len(days):
        return days
    years = range(int(str(days[0])[:4]) - 1, int(str(days[-1])[:4]) + 1)
    closed = chinese_holidays(years) if name == "XSHG" else _recurring_holidays(known, years)
    return days[~np.isin(days, closed)]


def chinese_holidays(years: range) -> Dates:
    """Days on which mainland exchanges are expected to be closed, after the State Council's rules of 2025."""
    from exchange_calendars import lunisolar_holidays as lunar

    out: list[np.datetime64] = []
    for year in years:
        out += _span(f"{year}-01-01", 0, 0) + _span(f"{year}-05-01", 0, 4) + _span(f"{year}-10-01", 0, 6)
        # The Spring Festival runs from New Year's Eve to the seventh day.
        out += _lunar(lunar.chinese_lunar_new_year_dates, year, -1, 6)
        for table in (
            lunar.qingming_festival_dates,
            lunar.dragon_boat_festival_dates,
            lunar.mid_autumn_festival_dates,
        ):
            out += _lunar(table, year)
    return np.array(sorted(out), dtype="datetime64[D]")


def _span(day: str, before: int, after: int) -> list[np.datetime64]:
    middle = np.datetime64(day, "D")
    return [middle + np.timedelta64(i, "D") for i in range(before, after + 1)]


def _bridged(day: str) -> list[np.datetime64]:
    """A one-day holiday; on a weekend its Monday is off."""
    date = np.datetime64(day, "D")
    return [date, np.busday_offset(date, 0, roll="forward")]


def _lunar(table: object, year: int, before: int | None = None, after: int = 0) -> list[np.datetime64]:
    for day in np.asarray(table, dtype="datetime64[D]").ravel():
        if str(day).startswith(str(year)):
            return _bridged(str(day)) if before is None else _span(str(day), before, after)
    return []


def _recurring_holidays(known: Dates, years: range) -> Dates:
    """Month-days closed on every weekday they fell on in the last published years (at least four of them)."""
    if not len(known):
        return np.array([], dtype="datetime64[D]")
    first = max(known[0], known[-1] - np.timedelta64(366 * _YEARS, "D"))
    days = np.arange(first, known[-1] + np.timedelta64(1, "D"), dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    seen = Counter(str(d)[5:] for d in days)
    shut = Counter(str(d)[5:] for d in days[~np.isin(days, known)])
    always = [md for md, n in shut.items() if n == seen[md] and n >= 4 and md != "02-29"]
    return np.array([f"{year}-{md}" for year in years for md in always], dtype="datetime64[D]")
