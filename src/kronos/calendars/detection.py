"""Which calendar a history follows, told from the history alone.

The best-fitting reading wins, and a named calendar is only guessed if the history really keeps it: clock times,
breaks and holidays. Otherwise the history's own pattern of weekdays and clock times is taken, and called inferred.
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
    exchange_days,
    exchanges,
    futures,
    fx_days,
    fx_week,
    guess_daily,
    own_hours,
    own_or_utc,
    pattern,
    periods,
    sessions,
    usual_clock,
    weekdays_seen,
)
from kronos.calendars.recurrence import HOUR, WEEK, DayRecurrence, SessionRecurrence, StepRecurrence, step_of
from kronos.calendars.sessions import ALWAYS, FUTURES, FX, INFERRED, ZONE_EXCHANGE
from kronos.calendars.timezones import DAY, WallClock, local_clock, weekday
from kronos.intervals import Interval

_RECENT = 4_000  # stamps looked at


def guess_calendar(history: pd.DatetimeIndex, interval: Interval) -> str:
    """The calendar that a history follows: a name, or ``inferred`` if it fits none.

    Args:
        history: Times in increasing order, naive or with a timezone.
        interval: The candles' interval.
    """
    return detect_calendar(history, interval).name


def detect_calendar(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The best reading of a history among all calendars; see `guess_calendar`."""
    recent = _recent(history, interval)
    if interval.unit in ("w", "mo"):
        return periods(recent, interval, None)
    if _round_the_clock(recent, interval):
        return _always(recent, interval)
    return _guess_intraday(recent, interval) if interval.intraday else guess_daily(recent, interval)


def read_as(name: str, history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The best reading of a history under a calendar that the caller has named."""
    recent = _recent(history, interval)
    if name == ALWAYS:
        return replace(_always(recent, interval), note="")  # what the caller knows needs no proof
    if interval.unit in ("w", "mo"):
        return periods(recent, interval, {FX: ALWAYS, INFERRED: None}.get(name, name))
    if name == INFERRED:
        return pattern(recent) if interval.intraday else weekdays_seen(recent, interval)
    if name == FX:
        return best(fx_week(recent, interval)) if interval.intraday else fx_days(recent, interval)
    if not interval.intraday:
        return best(exchange_days(name, recent, interval))
    found = list(futures(recent, interval) if name == FUTURES else sessions(name, recent, interval))
    reading = best(found) if found else own_hours(name, recent, interval)
    if reading.fit.on >= 0.9 and reading.fit.filled >= 0.6:
        return reading
    return own_hours(name, recent, interval)


def _recent(history: pd.DatetimeIndex, interval: Interval) -> pd.DatetimeIndex:
    recent = history[-_RECENT:]
    if interval.intraday:
        recent = recent[recent > recent[-1] - pd.Timedelta(days=RECENT_DAYS)]
    return recent


def _guess_intraday(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    fitting = []
    for reading in _candidates(history, interval):
        fit = reading.fit
        if fit.score == 1 and reading.name != FX:
            return reading
        if fit.on >= 0.99 and fit.filled >= 0.9 and fit.days >= 0.8:
            fitting.append(reading)
    if not fitting:
        return pattern(history)
    chosen, own_pattern = best(fitting), pattern(history)
    long = history[-1] - history[0] >= pd.Timedelta(WEEK * 3)
    # Over weeks of data a market with hours of its own (a later Sunday opening, say) shows them.
    if chosen.name == FX and long and own_pattern.fit.score > chosen.fit.score + 0.003:
        return own_pattern
    return chosen


def _candidates(history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    if history[-1] - history[0] > pd.Timedelta(days=2):
        yield from fx_week(history, interval)
    for name in exchanges(history):
        yield from sessions(name, history, interval)
    yield from futures(history, interval)


def _round_the_clock(history: pd.DatetimeIndex, interval: Interval) -> bool:
    """Whether most possible stamps are there, weekends included if the history is long enough to have one."""
    wall = local_clock(history).to_wall(history)
    step = step_of(interval)
    every = np.arange(wall[0], wall[-1] + 1, step, dtype=np.int64)
    if len(every) == len(wall) and str(history.tz) not in ZONE_EXCHANGE and interval.intraday:
        return True  # no break at all, and no timezone that hints at an exchange
    if len(every) < 2 or len(wall) < 0.6 * len(every):
        return False
    saturdays = int((weekday(every) == 5).sum())
    if saturdays * step >= 12 * HOUR:
        return int((weekday(wall) == 5).sum()) > 0.5 * saturdays
    # Less than a weekend was seen: an unbroken run longer than any session.
    return interval.intraday and len(every) * step > 20 * HOUR and len(wall) > 0.9 * len(every)


def _always(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """A market that never closes."""
    clock = local_clock(history)
    if interval.unit in ("w", "mo"):
        return periods(history, interval, ALWAYS)
    if not interval.intraday:
        clock = own_or_utc(history)
        return CalendarCandidate(
            ALWAYS, clock, DayRecurrence(None, interval.count, usual_clock(clock.to_wall(history))), PERFECT
        )
    wall = clock.to_wall(history)
    # Intraday steps are steps of absolute time, whatever summer time does to the wall clock.
    absolute = clock if history.tz is None else WallClock(index_zone=history.tz, market="UTC")
    seen = bool((weekday(wall) == 5).any()) or wall[-1] - wall[0] > 7 * DAY
    note = "" if seen else "no weekend in the history"
    return CalendarCandidate(ALWAYS, absolute, StepRecurrence(step_of(interval)), PERFECT, note)


def detect_stamp_side(history: pd.DatetimeIndex, interval: Interval) -> Literal["open", "close"]:
    """Tell from a history's clock times whether stamps name the opening or the close.

    Only sessions tell: a first stamp at 09:45 of a market that opens at 09:30 is the close of a 15-minute candle. Where
    nothing tells, stamps are taken for openings, as exchanges that trade around the clock write them.

    Args:
        history: Times in increasing order, naive or with a timezone.
        interval: The candles' interval.
    """
    if not interval.intraday or len(history) < 2:
        return "open"
    plan = detect_calendar(history, interval).plan
    return "close" if isinstance(plan, SessionRecurrence) and plan.grid.side == "end" else "open"
