"""Trading days that are not days of the wall clock: those of FX end at 17:00 New York, nights belong to the next day.

`trading_day_times` moves times to a clock whose days are trading days, so that candles can be aggregated by them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.calendars.detection import detect_calendar, fit_calendar
from kronos.calendars.market_clock import clock_of
from kronos.calendars.recurrence import HOUR
from kronos.calendars.sessions import FUTURES, FX, canonical_name, schedule
from kronos.calendars.timezones import DAY, NEW_YORK, Stamps
from kronos.intervals import Interval

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
