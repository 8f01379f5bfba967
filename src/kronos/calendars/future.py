"""Future timestamps of a market, the time axis of a forecast, and the market that a calendar belongs to.

Future times depend only on the history and on published calendars, and the result states which of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.calendars.candidates import CalendarCandidate
from kronos.calendars.detection import detect_calendar, fit_calendar
from kronos.calendars.market_clock import AS_WRITTEN, MarketClock, clock_of
from kronos.calendars.recurrence import SessionRecurrence
from kronos.calendars.sessions import ALWAYS, FUTURES, FX, INFERRED, canonical_name
from kronos.calendars.timezones import Stamps, WallClock
from kronos.errors import CalendarError, DataError, ParameterError
from kronos.intervals import Interval

Basis = Literal["calendar", "projected", "inferred", "given"]
MAX_HORIZON = 1_000_000
MARKETS = {ALWAYS: "crypto", FX: "fx", "XNYS": "us_equity", "XSHG": "cn_ashare", FUTURES: "cn_futures"}


@dataclass(frozen=True, eq=False)
class FutureTimes:
    """Future times and their basis.

    Attributes:
        times: Strictly increasing, after the last time of the history, in its timezone. [horizon]
        calendar: Name of the calendar, or ``inferred``.
        basis: ``calendar`` for published trading days and hours; ``projected`` if some times lie after the published
            years; ``inferred`` if they repeat the history's own pattern, or its times of day on a calendar's days;
            ``given`` if the caller passed them.
        note: One sentence for people.
        clock: Conversion of the history's times, and of these, to the clock of the market.
    """

    times: pd.DatetimeIndex
    calendar: str
    basis: Basis
    note: str
    clock: MarketClock = AS_WRITTEN


def future_times(
    history: pd.DatetimeIndex, interval: Interval, horizon: int, calendar: str | None = None
) -> FutureTimes:
    """Compute the ``horizon`` times that follow a history.

    The times continue the history: stamped at a candle's open or close, with its times of day, lunch breaks, night
    sessions and timezone. A naive index is taken as the exchange's wall clock or as UTC, whichever fits.

    Args:
        history: Times in strictly increasing order, at least one. [n]
        interval: Interval of the candles.
        horizon: Number of times, >= 1.
        calendar: A name of `calendar_names` or a common alias; None detects it from the history.

    Raises:
        CalendarError: If the calendar is unknown, or the horizon reaches beyond 2200.
        DataError: If the history is empty, unsorted, or has missing times.
        ParameterError: If the horizon is below 1 or above a million.
    """
    _check(history, horizon)
    if calendar is None:
        candidate = detect_calendar(history, interval)
    else:
        candidate = fit_calendar(canonical_name(calendar), history, interval)
    times, projected = _next_times(candidate, history[-1], horizon)
    note = _note(candidate, projected, detected=calendar is None)
    clock = clock_of(candidate, history, interval)
    return FutureTimes(times, candidate.name, _basis(candidate, projected), note, clock)


def _check(history: pd.DatetimeIndex, horizon: int) -> None:
    if not isinstance(horizon, int | np.integer) or isinstance(horizon, bool) or horizon < 1:
        raise ParameterError(f"Invalid horizon {horizon!r}: choose a whole number of at least 1 step.")
    if horizon > MAX_HORIZON:
        raise ParameterError(f"Invalid horizon {horizon}: choose at most {MAX_HORIZON} steps.")
    if not isinstance(history, pd.DatetimeIndex):
        raise DataError(f"The times of the history must be a pandas DatetimeIndex, not {type(history).__name__}.")
    if not len(history):
        raise DataError("The history is empty; pass at least one time.")
    if bool(history.isna().any()):
        raise DataError("The history has missing times (NaT); drop those rows.")
    if not (history.is_monotonic_increasing and history.is_unique):
        raise DataError("The times of the history are not strictly increasing; sort them and drop duplicates.")
    if not (history[0].year >= 1800 and history[-1].year < 2200):
        raise DataError(
            f"The times of the history run from {history[0]} to {history[-1]}; they must lie in the years 1800 to 2199."
        )


def _next_times(candidate: CalendarCandidate, last: pd.Timestamp, horizon: int) -> tuple[pd.DatetimeIndex, bool]:
    """The next times in the history's timezone, and whether any is projected."""
    end = pd.DatetimeIndex([last])
    wall = int(candidate.clock.to_wall(end)[0])
    extra = 0  # changes of daylight saving time can merge two stamps into one
    while True:
        stamps, projected = candidate.recurrence.after(wall, horizon + extra)
        times = _strictly_after(candidate.clock, stamps, end)
        if len(times) >= horizon:
            return times[:horizon], projected
        extra = 2 * extra + 8
        if extra > horizon + 10_000:
            raise CalendarError(f"No {horizon} times follow {last} in this calendar; pass another with calendar=.")


def _strictly_after(clock: WallClock, stamps: Stamps, end: pd.DatetimeIndex) -> pd.DatetimeIndex:
    times = clock.from_wall(stamps).unique()
    times = times[times > end[0]]
    increasing = np.maximum.accumulate(times.asi8) == times.asi8
    return pd.DatetimeIndex(times[increasing]).as_unit(end.unit if end.unit in ("ns", "us") else "us")


def _basis(candidate: CalendarCandidate, projected: bool) -> Basis:
    if candidate.name == INFERRED or (candidate.name == ALWAYS and candidate.note):
        return "inferred"
    recurrence = candidate.recurrence
    if isinstance(recurrence, SessionRecurrence) and recurrence.grid.align == "observed":
        return "inferred"  # the calendar's days but not its hours: another timezone, or extended trading
    return "projected" if projected else "calendar"


def _note(candidate: CalendarCandidate, projected: bool, *, detected: bool) -> str:
    details = f" ({candidate.note})" if candidate.note else ""
    if candidate.name == INFERRED:
        return f"Future times repeat the history's own pattern{details}; holidays are not known."
    how = "detected from the history" if detected else "as given"
    beyond = "; some lie after its published trading days and are projected" if projected else ""
    return f"Future times follow the calendar {candidate.name}, {how}{details}{beyond}."


def market_of(index: pd.DatetimeIndex, interval: Interval, calendar: str | None = None) -> str | None:
    """Infer the market (asset class) of a history from its calendar.

    Calibrations have factors for each market and interval (a *group*, such as ``crypto 1h``). If no market is given, it
    follows from the calendar:

    | calendar | market |
    |---|---|
    | ``24/7`` | ``crypto`` |
    | ``FX`` | ``fx`` |
    | ``XNYS``, and ``XNAS``, which has the same sessions | ``us_equity`` |
    | ``XSHG``, and ``XSHE``, which has the same sessions | ``cn_ashare`` |
    | ``CN-FUTURES`` and its variants | ``cn_futures`` |

    The result can be wrong: metals trade in the hours of foreign exchange, and daily candles of Chinese futures have
    the days of the Shanghai exchange. Intraday histories without gaps count as crypto only if they include a weekend.

    Args:
        index: Times of the candles, at least one. [n]
        interval: Interval of the candles.
        calendar: Name of the calendar; None detects it.

    Returns:
        A market of `MARKETS`, or None if the calendar belongs to none.

    Raises:
        CalendarError: If ``calendar`` is unknown.
    """
    future = future_times(index, interval, 1, calendar)
    if future.calendar == ALWAYS and future.basis == "inferred":  # no weekend in the history
        return None
    return MARKETS.get(FUTURES if future.calendar.startswith(FUTURES) else future.calendar)
