"""Trading days and hours of markets, in their own wall clock.

Exchanges come from `exchange_calendars`, which is imported when first needed (the import takes over a second). Chinese
futures trade on the days of the Shanghai exchange, in three day sessions and a night session on the evening before the
next trading day; there is no night session before a holiday.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from kronos.calendars.holidays import Dates, project_sessions
from kronos.calendars.timezones import DAY, SECOND
from kronos.errors import CalendarError
from kronos.typing import IntArray

ALWAYS = "24/7"
FX = "FX"
FUTURES = "CN-FUTURES"
INFERRED = "inferred"
LAST_YEAR = 2200

Hours = tuple[tuple[int, int], ...]  # open and close of each segment, in nanoseconds after the date's midnight

_HOUR = 3600 * SECOND
_MINUTE = 60 * SECOND
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


def _calendar_type(name: str) -> Any:
    """The class of a calendar, which knows its bounds; asked of the registry, since a calendar takes long to build."""
    import exchange_calendars as xc

    registered = getattr(xc.calendar_utils.global_calendar_dispatcher, "_calendar_factories", {})
    return registered.get(name) or type(xc.get_calendar(name))


def _build(name: str, first_year: int, last_year: int) -> Any:
    import exchange_calendars as xc

    kind = _calendar_type(name)
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
