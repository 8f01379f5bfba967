"""Trading days of a market with the hours it is open on each, in its own wall clock.

`exchange_calendars` knows the exchanges; it is imported only here, when first needed (it takes over a
second). Chinese futures trade on Shanghai's days: three day sessions, and a night session on the evening
before the next trading day, which is left out when a holiday lies between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.calendars.clocks import DAY, SECOND
from kronos.calendars.names import FUTURES
from kronos.calendars.projection import project_sessions
from kronos.errors import CalendarError

Dates = npt.NDArray[np.datetime64]
Hours = tuple[tuple[int, int], ...]  # open and close of each segment, nanoseconds after the date's midnight
LAST_YEAR = 2200
_HOUR = 3600 * SECOND
_MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Schedule:
    """Trading days and hours.

    Attributes:
        name: The calendar's name.
        zone: The market's timezone.
        dates: Trading days, increasing.
        hours: Distinct opening hours.
        kind: For each date the position of its opening hours in ``hours``.
        published: The last date that the exchange (or its rules) has published; later dates are projected.
    """

    name: str
    zone: str
    dates: Dates
    hours: tuple[Hours, ...]
    kind: npt.NDArray[np.int64]
    published: np.datetime64


def schedule(name: str, first: np.datetime64, last: np.datetime64) -> Schedule:
    """Trading days of a calendar that cover ``first`` to ``last`` (whole decades are built, and kept).

    Raises:
        CalendarError: If the dates lie beyond 2200, or exchange_calendars cannot build them.
    """
    start, end = int(str(first)[:4]), int(str(last)[:4])
    if end > LAST_YEAR:
        raise CalendarError(f"The horizon reaches beyond {LAST_YEAR}; ask for fewer steps.")
    span = (min(start // 10 * 10, 2010), max(end // 10 * 10 + 9, 2029))
    if name.startswith(FUTURES):
        return _futures(name, *span)
    return _exchange(name, *span)


@lru_cache(maxsize=64)
def _exchange(name: str, first_year: int, last_year: int) -> Schedule:
    calendar = _build(name, first_year, last_year)
    zone = str(calendar.tz)
    table = calendar.schedule
    dates = pd.DatetimeIndex(table.index).to_numpy().astype("datetime64[D]")
    walls = {c: _wall(table[c], zone) for c in ("open", "break_start", "break_end", "close")}
    midnight = dates.astype("datetime64[ns]").astype(np.int64)
    rows = np.stack([np.where(w == _NONE, _NONE, w - midnight) for w in walls.values()], axis=1)  # [days, 4]
    distinct, kind = np.unique(rows, axis=0, return_inverse=True)
    hours = tuple(_segments(row) for row in distinct.tolist())
    bound = type(calendar).bound_max()
    end = np.datetime64(f"{last_year}-12-31")
    published = end if bound is None else min(end, pd.Timestamp(bound).to_datetime64().astype("datetime64[D]"))
    kind = np.asarray(kind, dtype=np.int64).ravel()
    if published < end:
        extra = project_sessions(name, dates, published + np.timedelta64(1, "D"), end)
        usual = np.bincount(kind[-250:]).argmax()
        dates, kind = np.concatenate([dates, extra]), np.concatenate([kind, np.full(len(extra), usual)])
    return Schedule(name, zone, dates, hours, kind, published)


_NONE = np.iinfo(np.int64).min


def _wall(column: pd.Series, zone: str) -> npt.NDArray[np.int64]:
    naive = column.dt.tz_convert(zone).dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    return np.asarray(naive, dtype="datetime64[ns]").view(np.int64)  # NaT is _NONE


def _segments(row: list[int]) -> Hours:
    start, pause, resume, end = row
    if _NONE in (pause, resume):
        return ((start, end),)
    return ((start, pause), (resume, end))


def _build(name: str, first_year: int, last_year: int) -> Any:
    import exchange_calendars as xc

    kind = type(xc.get_calendar(name))
    low, high = kind.bound_min(), kind.bound_max()
    start = pd.Timestamp(f"{first_year}-01-01")
    end = pd.Timestamp(f"{last_year}-12-31")
    try:
        return xc.get_calendar(
            name, start=start if low is None else max(start, low), end=end if high is None else min(end, high)
        )
    except (xc.errors.CalendarError, ValueError, KeyError, OverflowError) as error:
        why = str(error).split("\n", 1)[0].rstrip(". ")[:120]
        raise CalendarError(f"The calendar {name} cannot be built for {first_year} to {last_year} ({why}).") from None


# --- Chinese futures ----------------------------------------------------------------------------------------

_CN_DAY: Hours = (
    (9 * _HOUR, 10 * _HOUR + 15 * _MINUTE),
    (10 * _HOUR + 30 * _MINUTE, 11 * _HOUR + 30 * _MINUTE),
    (13 * _HOUR + 30 * _MINUTE, 15 * _HOUR),
)
_CFFEX: Hours = ((9 * _HOUR + 30 * _MINUTE, 11 * _HOUR + 30 * _MINUTE), (13 * _HOUR, 15 * _HOUR))
_BOND: Hours = (_CFFEX[0], (13 * _HOUR, 15 * _HOUR + 15 * _MINUTE))
_NIGHT_OPEN = 21 * _HOUR


@lru_cache(maxsize=64)
def _futures(name: str, first_year: int, last_year: int) -> Schedule:
    days = _exchange("XSHG", first_year, last_year)
    variant = name.removeprefix(FUTURES).lstrip("-") or "DAY"
    by_day = {"CFFEX": _CFFEX, "CFFEX-BOND": _BOND}.get(variant, _CN_DAY)
    hours: tuple[Hours, ...] = (by_day,)
    kind = np.zeros(len(days.dates), dtype=np.int64)
    if variant.isdigit():
        end = int(variant[:2]) * _HOUR + int(variant[2:]) * _MINUTE
        night = (_NIGHT_OPEN, end if end > _NIGHT_OPEN else end + DAY)
        hours = (by_day, (*by_day, night))
        # The evening belongs to the next trading day; no weekday without trading may lie between.
        follows = np.busday_count(days.dates[:-1], days.dates[1:]) == 1
        kind[:-1] = follows
    return Schedule(name, days.zone, days.dates, hours, kind, days.published)
