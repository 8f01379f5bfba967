"""The next timestamps of a market: what `Forecast` puts on its time axis.

Only the history given is looked at, and the calendars that are published; the answer says which of the two it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.calendars.candidates import CalendarCandidate
from kronos.calendars.detection import detect_calendar, read_as
from kronos.calendars.recurrence import Recurrence, SessionRecurrence
from kronos.calendars.sessions import ALWAYS, INFERRED, canonical_name
from kronos.calendars.timezones import Stamps, WallClock
from kronos.errors import CalendarError, DataError, ParameterError
from kronos.intervals import Interval

Basis = Literal["calendar", "projected", "inferred", "given"]
MAX_HORIZON = 1_000_000


@dataclass(frozen=True, eq=False)
class FutureTimes:
    """Future stamps and what they rest on.

    Attributes:
        times: Strictly increasing, after the last stamp of the history, in its timezone.
        calendar: The calendar's name, or ``inferred``.
        basis: ``calendar`` if published trading days and hours tell them; ``projected`` if some lie beyond
            the published years; ``inferred`` if they repeat the history's own pattern, or its clock times on
            a calendar's days; ``given`` if a caller supplied them.
        note: One sentence for people.
    """

    times: pd.DatetimeIndex
    calendar: str
    basis: Basis
    note: str


def future_times(
    history: pd.DatetimeIndex, interval: Interval, horizon: int, calendar: str | None = None
) -> FutureTimes:
    """The ``horizon`` stamps that follow a history.

    Bars stamped at their open stay so, those stamped at their close too; clock times, lunch breaks, night sessions and
    timezone are continued as the history has them. A naive index is taken as the exchange's wall clock, or
    UTC, whichever fits.

    Args:
        history: Times in strictly increasing order; at least one.
        interval: The candles' interval.
        horizon: How many stamps; at least 1.
        calendar: A name of `calendar_names` or a usual alias; None guesses from the history.

    Returns:
        The stamps, the calendar's name, and what they rest on.

    Raises:
        CalendarError: If the calendar is unknown, or the horizon reaches beyond 2200.
        DataError: If the history is empty, unsorted, or holds missing times.
        ParameterError: If the horizon is below 1 or above a million.
    """
    _check(history, horizon)
    reading = (
        detect_calendar(history, interval) if calendar is None else read_as(canonical_name(calendar), history, interval)
    )
    times, projected = _continue(reading.plan, reading.clock, history[-1], horizon)
    return FutureTimes(times, reading.name, _basis(reading, projected), _note(reading, projected, calendar is None))


def _check(history: pd.DatetimeIndex, horizon: int) -> None:
    if not isinstance(horizon, int | np.integer) or isinstance(horizon, bool) or horizon < 1:
        raise ParameterError(f"The horizon must be a whole number of at least 1 step, not {horizon!r}.")
    if horizon > MAX_HORIZON:
        raise ParameterError(f"The horizon of {horizon} steps is longer than {MAX_HORIZON}; ask for fewer.")
    if not isinstance(history, pd.DatetimeIndex):
        raise DataError(f"The history's times must be a pandas DatetimeIndex, not {type(history).__name__}.")
    if not len(history):
        raise DataError("The history is empty, so nothing can follow it; give at least one time.")
    if bool(history.isna().any()):
        raise DataError("The history has missing times (NaT); drop those rows.")
    if not (history.is_monotonic_increasing and history.is_unique):
        raise DataError("The history's times are not strictly increasing; sort them and drop duplicates.")
    if not (history[0].year >= 1800 and history[-1].year < 2200):
        raise DataError(f"The history's times run from {history[0]} to {history[-1]}, outside the years 1800 to 2199.")


def _continue(plan: Recurrence, clock: WallClock, last: pd.Timestamp, horizon: int) -> tuple[pd.DatetimeIndex, bool]:
    """Ask a plan for stamps and put them into the history's terms; changes of summer time may merge two of them."""
    end = pd.DatetimeIndex([last])
    wall = int(clock.to_wall(end)[0])
    spare = 0
    while True:
        found, projected = plan.after(wall, horizon + spare)
        times = _strictly_after(clock, found, end)
        if len(times) >= horizon:
            return times[:horizon], projected
        spare = 2 * spare + 8
        if spare > horizon + 10_000:
            raise CalendarError(f"No {horizon} stamps follow {last} in this calendar; name another with calendar=.")


def _strictly_after(clock: WallClock, found: Stamps, end: pd.DatetimeIndex) -> pd.DatetimeIndex:
    times = clock.from_wall(found).unique()
    times = times[times > end[0]]
    increasing = np.maximum.accumulate(times.asi8) == times.asi8
    return pd.DatetimeIndex(times[increasing]).as_unit(end.unit if end.unit in ("ns", "us") else "us")


def _basis(reading: CalendarCandidate, projected: bool) -> Basis:
    if reading.name == INFERRED or (reading.name == ALWAYS and reading.note):
        return "inferred"
    if isinstance(reading.plan, SessionRecurrence) and reading.plan.grid.align == "observed":
        return "inferred"  # the calendar's days, but not its hours: another timezone, or extended trading
    return "projected" if projected else "calendar"


def _note(reading: CalendarCandidate, projected: bool, guessed: bool) -> str:
    details = f" ({reading.note})" if reading.note else ""
    if reading.name == INFERRED:
        return f"Future times repeat the history's own pattern{details}; holidays are not known."
    how = "guessed from the history" if guessed else "as asked for"
    beyond = "; some lie beyond its published trading days and are projected" if projected else ""
    return f"Future times follow the calendar {reading.name}, {how}{details}{beyond}."
