"""The clock of a market: what a model reads minutes, hours, weekdays and dates from.

The same candles have the same clock however they are stamped: naive, with offsets, in UTC or as epoch numbers.

| candles | clock |
|---|---|
| of an exchange | the exchange's, with naive times taken as local or as UTC, whichever fits its sessions |
| of a market that never closes, and of FX | UTC; naive times of a market that never closes count as UTC |
| of a day or longer, stamped at midnight in some timezone | that timezone, so that a stamp keeps its date |
| others | the history's own, with a note if that is UTC or unknown |

Days of the clock are not always trading days: those of FX end at 17:00 New York, and night sessions belong to the next
day. `trading_day_times` moves times to a clock whose days are, so that candles can be aggregated by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from kronos.calendars.candidates import CalendarCandidate
from kronos.calendars.detection import detect_calendar, fit_calendar
from kronos.calendars.recurrence import HOUR
from kronos.calendars.sessions import ALWAYS, FUTURES, FX, INFERRED, ZONE_EXCHANGE, canonical_name, schedule
from kronos.calendars.timezones import DAY, NEW_YORK, Stamps, WallClock, local_clock, to_utc_clock, weekday
from kronos.intervals import Interval

UNKNOWN_ZONE = (
    "The exchange's timezone is unknown, so times of day are read as they are written{}: if its clock is another, give "
    "its timezone, for example --timezone America/New_York (timezone= in Python)."
)
READ_AS_UTC = (
    "The times have no timezone and were read as UTC, which fits the sessions of {}: if they are another clock's, give "
    "its timezone, for example --timezone America/New_York (timezone= in Python)."
)
_RECENT_DAYS = 400  # more than a year, so that changes of daylight saving time show
_WEEKENDS = 0.05  # share of candles on Saturdays, from which on a market does not close at weekends


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Conversion of the times of a history to the market's clock.

    Attributes:
        wall: The conversion.
        note: One sentence for people if the clock is uncertain; empty otherwise.
    """

    wall: WallClock
    note: str = ""

    def local(self, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The same times on the market's clock, without timezone."""
        return pd.DatetimeIndex(self.wall.to_wall(index).view("M8[ns]"))


AS_WRITTEN = MarketClock(WallClock())  # of naive times


def market_clock(history: pd.DatetimeIndex, interval: Interval, calendar: str | None = None) -> MarketClock:
    """Find the clock of the market that a history comes from.

    Args:
        history: Times in strictly increasing order, at least one. [n]
        interval: Interval of the candles.
        calendar: Name of the calendar; None detects it.

    Raises:
        CalendarError: If the calendar is unknown.
    """
    dated = _dated_clock(history, interval)
    if dated is not None:
        return dated
    if calendar is None:
        return clock_of(detect_calendar(history, interval), history, interval)
    return clock_of(fit_calendar(canonical_name(calendar), history, interval), history, interval)


def clock_of(candidate: CalendarCandidate, history: pd.DatetimeIndex, interval: Interval) -> MarketClock:
    """The clock of a history that follows a calendar; see `market_clock`."""
    dated = _dated_clock(history, interval)
    if dated is not None:
        return dated
    aware = history.tz is not None
    if candidate.name in (ALWAYS, FX):
        # Of naive times, only the intraday ones of FX show their timezone.
        known = aware or (candidate.name == FX and interval.intraday)
        return MarketClock(to_utc_clock(candidate.clock)) if known else AS_WRITTEN
    if candidate.name == INFERRED:
        return _inferred_clock(history, interval)
    if aware or candidate.clock.source is None:
        return MarketClock(candidate.clock)
    return MarketClock(candidate.clock, READ_AS_UTC.format(candidate.name))


def _dated_clock(history: pd.DatetimeIndex, interval: Interval) -> MarketClock | None:
    """The clock by which candles of a day or longer are all stamped at midnight; None if there is none.

    All clocks by which they are midnight show the same dates, so the first one found is as good as any.
    """
    if interval.intraday:
        return None
    recent = history[-_RECENT_DAYS:]
    for zone in dict.fromkeys((None, "UTC", *ZONE_EXCHANGE) if history.tz is not None else (None,)):
        clock = WallClock(index_zone=history.tz, market=zone)
        if not np.any(clock.to_wall(recent) % DAY):
            return MarketClock(clock)
    return None


def _inferred_clock(history: pd.DatetimeIndex, interval: Interval) -> MarketClock:
    """The clock of a history that follows no known calendar."""
    own = local_clock(history)
    if not interval.intraday:
        return MarketClock(own)
    if bool(np.mean(weekday(own.to_wall(history)) == 5) > _WEEKENDS):
        return MarketClock(own if history.tz is None else to_utc_clock(own))
    if history.tz is None:
        return MarketClock(own, UNKNOWN_ZONE.format(""))
    given = isinstance(history.tz, ZoneInfo) and history.tz.key != "UTC"
    return MarketClock(own, "" if given else UNKNOWN_ZONE.format(f" ({history.tz})"))


_FX_SHIFT = 7 * HOUR  # from 17:00 New York to midnight
_NIGHT, _MORNING = 20 * HOUR, 6 * HOUR  # night sessions open after the first and close before the second


def trading_day_times(
    history: pd.DatetimeIndex, interval: Interval, calendar: str | None = None
) -> pd.DatetimeIndex | None:
    """Move times to a clock whose days are the trading days of their market.

    Args:
        history: Opening or closing times of intraday candles, strictly increasing. [n]
        interval: Interval of the candles.
        calendar: Name of the calendar; None detects it.

    Returns:
        Naive times in the same order; None if trading days are those of the history's own clock. [n]

    Raises:
        CalendarError: If the calendar is unknown.
    """
    if calendar is None:
        candidate = detect_calendar(history, interval)
    else:
        candidate = fit_calendar(canonical_name(calendar), history, interval)
    if candidate.name == FX:
        utc = clock_of(candidate, history, interval).local(history).tz_localize("UTC")
        return utc.tz_convert(NEW_YORK).tz_localize(None).as_unit("ns") + pd.Timedelta(_FX_SHIFT, "ns")
    if not candidate.name.startswith(FUTURES):
        return None
    moved = _next_trading_day(candidate.name, candidate.clock.to_wall(history))
    return None if moved is None else pd.DatetimeIndex(moved.view("M8[ns]"))


def _next_trading_day(name: str, wall: Stamps) -> Stamps | None:
    """Move the bars of night sessions to the early hours of the next trading day; None if there are none."""
    day, clock = wall // DAY, wall % DAY
    evening, morning = clock >= _NIGHT, clock < _MORNING
    if not (evening | morning).any():
        return None
    began = np.where(morning, day - 1, day)  # evening of the night session
    dates = schedule(name, _date(int(began[0])), _date(int(day[-1]) + 31)).dates.astype(np.int64)
    following = dates[np.searchsorted(dates, began, side="right")]
    into_night = wall - began * DAY - _NIGHT
    return np.where(evening | morning, following * DAY + into_night, wall)


def _date(day: int) -> np.datetime64:
    return np.datetime64(day, "D")
