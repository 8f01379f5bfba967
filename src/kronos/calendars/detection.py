"""Detection of the calendar that a history follows, from its times alone.

The candidate that fits best is selected. A named calendar is only detected if the history has its times of day, breaks
and holidays; otherwise the history's own pattern of weekdays and times of day is used, which is called ``inferred``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from kronos.calendars.candidates import (
    PERFECT,
    RECENT_DAYS,
    CalendarCandidate,
    best,
    candidate_exchanges,
    detect_daily,
    exchange_day_candidates,
    futures_candidates,
    fx_day_candidate,
    fx_week_candidates,
    local_or_utc_clock,
    observed_hours,
    pattern_candidate,
    period_candidate,
    session_candidates,
    usual_time_of_day,
    weekday_candidate,
)
from kronos.calendars.recurrence import (
    HOUR,
    WEEK,
    DayRecurrence,
    SessionRecurrence,
    StepRecurrence,
    WeekRecurrence,
    nanoseconds,
)
from kronos.calendars.sessions import ALWAYS, FUTURES, FX, INFERRED, ZONE_EXCHANGE
from kronos.calendars.timezones import DAY, WallClock, local_clock, weekday
from kronos.intervals import Interval

_RECENT = 4_000  # stamps of a history that are examined
_LUNCH_EXCHANGES = ("XSHG", "XHKG", "XTKS")
_SESSION_INTERVALS = ("2h", "90m", "1h", "4h")
_MIN_SESSION_BARS = 8


def infer_calendar(history: pd.DatetimeIndex, interval: Interval) -> str:
    """Name of the calendar that a history follows, or ``inferred`` if it follows none.

    Args:
        history: Times in increasing order, naive or with a timezone. [n]
        interval: Interval of the candles.
    """
    return detect_calendar(history, interval).name


def detect_calendar(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The candidate of all calendars that fits a history best; see `infer_calendar`."""
    recent = _recent(history, interval)
    if interval.unit in ("w", "mo"):
        return period_candidate(recent, interval, None)
    if _trades_round_the_clock(recent, interval):
        return _always_open(recent, interval)
    return _detect_intraday(recent, interval) if interval.intraday else detect_daily(recent, interval)


def fit_calendar(name: str, history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The candidate of one calendar that fits a history best."""
    recent = _recent(history, interval)
    if name == ALWAYS:
        return replace(_always_open(recent, interval), note="")  # no evidence needed if the caller names the calendar
    if interval.unit in ("w", "mo"):
        return period_candidate(recent, interval, {FX: ALWAYS, INFERRED: None}.get(name, name))
    if name == INFERRED:
        return pattern_candidate(recent) if interval.intraday else weekday_candidate(recent, interval)
    if name == FX:
        return best(fx_week_candidates(recent, interval)) if interval.intraday else fx_day_candidate(recent, interval)
    if not interval.intraday:
        return best(exchange_day_candidates(name, recent, interval))
    is_futures = name == FUTURES
    found = list(futures_candidates(recent, interval) if is_futures else session_candidates(name, recent, interval))
    candidate = best(found) if found else observed_hours(name, recent, interval)
    if candidate.fit.on >= 0.9 and candidate.fit.filled >= 0.6:
        return candidate
    return observed_hours(name, recent, interval)


def _recent(history: pd.DatetimeIndex, interval: Interval) -> pd.DatetimeIndex:
    recent = history[-_RECENT:]
    if interval.intraday:
        recent = recent[recent > recent[-1] - pd.Timedelta(days=RECENT_DAYS)]
    return recent


def _detect_intraday(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    fitting = []
    for candidate in _intraday_candidates(history, interval):
        fit = candidate.fit
        if fit.score == 1 and candidate.name != FX:
            return candidate
        if fit.on >= 0.99 and fit.filled >= 0.9 and fit.days >= 0.8:
            fitting.append(candidate)
    if not fitting:
        return pattern_candidate(history)
    selected, pattern = best(fitting), pattern_candidate(history)
    weeks = history[-1] - history[0] >= pd.Timedelta(WEEK * 3)
    # Markets with hours of their own, such as a later opening on Sundays, show them within a few weeks.
    if selected.name == FX and weeks and pattern.fit.score > selected.fit.score + 0.003:
        return pattern
    return selected


def _intraday_candidates(history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    if history[-1] - history[0] > pd.Timedelta(days=2) and _trades_at_most_hours(history, interval):
        yield from fx_week_candidates(history, interval)
    for name in candidate_exchanges(history):
        yield from session_candidates(name, history, interval)
    yield from futures_candidates(history, interval)


def _trades_at_most_hours(history: pd.DatetimeIndex, interval: Interval) -> bool:
    """Whether a history has most times of day, without which it cannot be FX."""
    clock = np.unique(local_clock(history).to_wall(history) % DAY)
    return len(clock) >= 0.8 * DAY / nanoseconds(interval)


def _trades_round_the_clock(history: pd.DatetimeIndex, interval: Interval) -> bool:
    """Whether most possible stamps exist, including a weekend if the history is long enough to have one."""
    wall = local_clock(history).to_wall(history)
    step = nanoseconds(interval)
    possible = np.arange(wall[0], wall[-1] + 1, step, dtype=np.int64)
    if len(possible) == len(wall) and str(history.tz) not in ZONE_EXCHANGE and interval.intraday:
        return True  # no break at all, and not the timezone of an exchange
    if len(possible) < 2 or len(wall) < 0.6 * len(possible):
        return False
    saturdays = int((weekday(possible) == 5).sum())
    if saturdays * step >= 12 * HOUR:
        return int((weekday(wall) == 5).sum()) > 0.5 * saturdays
    # Shorter than to the weekend: an unbroken run that is longer than any session.
    return interval.intraday and len(possible) * step > 20 * HOUR and len(wall) > 0.9 * len(possible)


def _always_open(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """A market that never closes."""
    if interval.unit in ("w", "mo"):
        return period_candidate(history, interval, ALWAYS)
    if not interval.intraday:
        clock = local_or_utc_clock(history)
        recurrence = DayRecurrence(None, interval.count, usual_time_of_day(clock.to_wall(history)))
        return CalendarCandidate(ALWAYS, clock, recurrence, PERFECT)
    clock = local_clock(history)
    wall = clock.to_wall(history)
    # Intraday steps are steps of absolute time, unaffected by daylight saving time.
    absolute = clock if history.tz is None else WallClock(index_zone=history.tz, market="UTC")
    weekend = bool((weekday(wall) == 5).any()) or wall[-1] - wall[0] > 7 * DAY
    note = "" if weekend else "no weekend in the history"
    return CalendarCandidate(ALWAYS, absolute, StepRecurrence(nanoseconds(interval)), PERFECT, note)


def session_interval(history: pd.DatetimeIndex) -> Interval | None:
    """Interval of the bars of an exchange with a lunch break, if it cannot be read from the distances of the times.

    Bars of 2 hours of Shanghai end at 11:30 and 15:00, 3.5 hours apart.

    Args:
        history: Times in increasing order, naive or with a timezone. [n]

    Returns:
        The interval; None if no exchange with a lunch break has these times.
    """
    if len(history) < _MIN_SESSION_BARS:
        return None
    for text in _SESSION_INTERVALS:
        interval = Interval.parse(text)
        recent = _recent(history, interval)
        for name in _LUNCH_EXCHANGES:
            fits = [candidate.fit for candidate in session_candidates(name, recent, interval)]
            if any(fit.on >= 0.99 and fit.filled >= 0.95 and fit.days >= 0.8 for fit in fits):
                return interval
    return None


def detect_stamp_side(history: pd.DatetimeIndex, interval: Interval) -> Literal["open", "close"]:
    """Detect whether the times of a history are those of a candle's open or close.

    Only closings of the market show it: a first time of 09:45 where trading begins at 09:30 is the close of a 15-minute
    candle, and so is a last one of Friday 17:00 New York in FX. Otherwise times are assumed to be opens, as on
    exchanges that trade around the clock.

    Args:
        history: Times in increasing order, naive or with a timezone. [n]
        interval: Interval of the candles.
    """
    if not interval.intraday or len(history) < 2:
        return "open"
    recurrence = detect_calendar(history, interval).recurrence
    if isinstance(recurrence, SessionRecurrence):
        return "close" if recurrence.grid.side == "end" else "open"
    return "close" if isinstance(recurrence, WeekRecurrence) and recurrence.side == "end" else "open"
