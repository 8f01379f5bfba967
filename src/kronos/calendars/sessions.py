"""Trading days and hours of markets, in their own wall clock.

Exchanges come from `exchange_calendars`, which is imported when first needed (the import takes over a second). Chinese
futures trade on the days of the Shanghai exchange, in three day sessions and a night session on the evening before the
next trading day; there is no night session before a holiday.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.calendars.timezones import DAY, SECOND
from kronos.errors import CalendarError
from kronos.typing import IntArray

ALWAYS = "24/7"
FX = "FX"
FUTURES = "CN-FUTURES"
INFERRED = "inferred"
LAST_YEAR = 2200

Dates = npt.NDArray[np.datetime64]
Hours = tuple[tuple[int, int], ...]  # open and close of each segment, in nanoseconds after the date's midnight

_HOUR = 3600 * SECOND
_MINUTE = 60 * SECOND
_HOLIDAY_YEARS = 10  # published years in which recurring holidays are looked for
_NONE = np.iinfo(np.int64).min

# Chinese futures; variants differ in the end of the night session. CFFEX trades index and bond futures by day only.
FUTURES_VARIANTS = (
    "CN-FUTURES-DAY",
    "CN-FUTURES-2300",
    "CN-FUTURES-2330",
    "CN-FUTURES-0100",
    "CN-FUTURES-0230",
    "CN-FUTURES-CFFEX",
    "CN-FUTURES-CFFEX-BOND",
)
# Exchange that a history in this timezone probably follows.
ZONE_EXCHANGE = {
    "America/New_York": "XNYS", "US/Eastern": "XNYS", "Asia/Shanghai": "XSHG", "Asia/Hong_Kong": "XHKG",
    "Asia/Tokyo": "XTKS", "Europe/London": "XLON", "Europe/Paris": "XPAR", "Europe/Berlin": "XETR",
    "Asia/Seoul": "XKRX", "Asia/Taipei": "XTAI", "Asia/Kolkata": "XBOM", "Asia/Singapore": "XSES",
    "Australia/Sydney": "XASX", "America/Toronto": "XTSE", "America/Sao_Paulo": "BVMF", "Europe/Zurich": "XSWX",
}  # fmt: skip
_COMMON = {
    "CRYPTO": ALWAYS, "24X7": ALWAYS, "247": ALWAYS, "ALWAYS": ALWAYS, "FOREX": FX, "24/5": FX, "US": "XNYS",
    "SZSE": "XSHG", "XSHE": "XSHG", "CN": "XSHG", "ASHARE": "XSHG", "A-SHARE": "XSHG", "HK": "XHKG", "SEHK": "XHKG",
    "CNFUTURES": FUTURES, "INFER": INFERRED, "AUTO": INFERRED,
}  # fmt: skip


@cache
def _exchange_names() -> dict[str, str]:
    """Names of exchange_calendars by their upper-case name or alias."""
    import exchange_calendars as xc

    return {name.upper(): name for name in xc.get_calendar_names(include_aliases=True)}


def calendar_names() -> tuple[str, ...]:
    """Names of all calendars: Kronos' own first, then exchanges by their ISO 10383 codes."""
    import exchange_calendars as xc

    exchanges = [n for n in xc.get_calendar_names(include_aliases=False) if n.upper() not in (ALWAYS, "24/5")]
    return (ALWAYS, FX, FUTURES, *FUTURES_VARIANTS, INFERRED, *sorted(exchanges))


def canonical_name(name: str) -> str:
    """The canonical name of a calendar or alias in any case, such as ``nyse``, ``crypto`` or ``xshg``.

    Raises:
        CalendarError: If there is no such calendar.
    """
    key = str(name).strip().upper()
    if key in (ALWAYS, FX, FUTURES, *FUTURES_VARIANTS):
        return key
    if key == INFERRED.upper():
        return INFERRED
    if key in _COMMON:
        return _COMMON[key]
    exchanges = _exchange_names()
    if key in exchanges:
        import exchange_calendars as xc

        return str(xc.resolve_alias(exchanges[key]))
    common = [ALWAYS, FX, FUTURES, "XNYS", "XSHG", "XHKG", *_COMMON]
    near = difflib.get_close_matches(key, common, 1, 0.7) or difflib.get_close_matches(key, exchanges, 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else "choose 24/7, FX, XNYS, XSHG, XHKG or CN-FUTURES."
    raise CalendarError(f"There is no calendar '{name}'; {hint}")


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


@dataclass(frozen=True, slots=True)
class TradingSchedule:
    """Trading days and hours of a market.

    Attributes:
        name: Name of the calendar.
        zone: Timezone of the market.
        dates: Trading days, increasing. [n]
        hours: Distinct trading hours.
        kind: Position of each date's trading hours in ``hours``. [n]
        published: Last date that the exchange (or its rules) has published; later dates are projected.
    """

    name: str
    zone: str
    dates: Dates
    hours: tuple[Hours, ...]
    kind: IntArray
    published: np.datetime64


def schedule(name: str, first: np.datetime64, last: np.datetime64) -> TradingSchedule:
    """Trading days of a calendar that cover ``first`` to ``last``, built and cached for whole decades.

    Raises:
        CalendarError: If the dates lie after 2200, or exchange_calendars cannot build them.
    """
    start, end = int(str(first)[:4]), int(str(last)[:4])
    if end > LAST_YEAR:
        raise CalendarError(f"The horizon reaches beyond {LAST_YEAR}; choose fewer steps.")
    span = (min(start // 10 * 10, 2010), max(end // 10 * 10 + 9, 2029))
    if name.startswith(FUTURES):
        return _futures(name, *span)
    return _exchange(name, *span)


@lru_cache(maxsize=64)
def _exchange(name: str, first_year: int, last_year: int) -> TradingSchedule:
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
    return TradingSchedule(name, zone, dates, hours, kind, published)


def _wall(column: pd.Series, zone: str) -> IntArray:
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
        reason = str(error).split("\n", 1)[0].rstrip(". ")[:120]
        raise CalendarError(
            f"The calendar {name} cannot be built for {first_year} to {last_year} ({reason}); choose another calendar."
        ) from None


_CN_DAY: Hours = (
    (9 * _HOUR, 10 * _HOUR + 15 * _MINUTE),
    (10 * _HOUR + 30 * _MINUTE, 11 * _HOUR + 30 * _MINUTE),
    (13 * _HOUR + 30 * _MINUTE, 15 * _HOUR),
)
_CFFEX: Hours = ((9 * _HOUR + 30 * _MINUTE, 11 * _HOUR + 30 * _MINUTE), (13 * _HOUR, 15 * _HOUR))
_BOND: Hours = (_CFFEX[0], (13 * _HOUR, 15 * _HOUR + 15 * _MINUTE))
_NIGHT_OPEN = 21 * _HOUR


@lru_cache(maxsize=64)
def _futures(name: str, first_year: int, last_year: int) -> TradingSchedule:
    days = _exchange("XSHG", first_year, last_year)
    variant = name.removeprefix(FUTURES).lstrip("-") or "DAY"
    by_day = {"CFFEX": _CFFEX, "CFFEX-BOND": _BOND}.get(variant, _CN_DAY)
    hours: tuple[Hours, ...] = (by_day,)
    kind = np.zeros(len(days.dates), dtype=np.int64)
    if variant.isdigit():
        end = int(variant[:2]) * _HOUR + int(variant[2:]) * _MINUTE
        night = (_NIGHT_OPEN, end if end > _NIGHT_OPEN else end + DAY)
        hours = (by_day, (*by_day, night))
        # A night session belongs to the next trading day, which has to be the next weekday.
        follows = np.busday_count(days.dates[:-1], days.dates[1:]) == 1
        kind[:-1] = follows
    return TradingSchedule(name, days.zone, days.dates, hours, kind, days.published)
