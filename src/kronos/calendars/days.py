"""Readings of daily, weekly and monthly histories: trading days of an exchange, the FX week, or plain weekdays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import pandas as pd

from kronos.calendars.clocks import DAY, Clock, Stamps, fx_readings, in_utc, own, weekday
from kronos.calendars.clocks import readings as clock_readings
from kronos.calendars.grids import Fit, measure
from kronos.calendars.names import ALWAYS, FX, INFERRED
from kronos.calendars.plans import WEEK, Anchor, DayPlan, PeriodPlan
from kronos.calendars.readings import PERFECT, Reading, best, date_of, exchanges, zone_of
from kronos.calendars.schedules import schedule
from kronos.intervals import Interval

_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def guess_daily(history: pd.DatetimeIndex, interval: Interval) -> Reading:
    """The exchange whose trading days and holidays a daily history keeps; else the FX week; else its weekdays."""
    found = []
    for name in exchanges(history):
        reading = best(exchange_days(name, history, interval))
        fits = reading.fit.on >= 0.99 and reading.fit.filled * reading.fit.days >= 0.95
        if fits and _holidays_kept(reading, history):
            found.append(reading)
    found.sort(key=lambda r: r.fit.score, reverse=True)
    local = found and history.tz is not None and found[0].name == exchanges(history)[0]
    if found and (len(found) == 1 or found[0].fit.score > found[1].fit.score or local):
        return found[0]
    fx = fx_days(history, interval)
    year = history[-1] - history[0] > pd.Timedelta(days=300)
    if fx.fit.score >= 0.98 and (year or 6 in _weekdays(own(history).to_wall(history))):
        return fx
    return weekdays_seen(history, interval)


def _holidays_kept(reading: Reading, history: pd.DatetimeIndex) -> bool:
    """Whether the span holds a weekday on which this exchange was closed: only holidays tell exchanges apart."""
    wall = reading.clock.to_wall(history)
    first, last = date_of(wall[0]), date_of(wall[-1])
    plan = schedule(reading.name, first, last)
    low, high = np.searchsorted(plan.dates, [first, last])
    return int(np.busday_count(first, last)) > int(high - low)


def exchange_days(name: str, history: pd.DatetimeIndex, interval: Interval) -> Iterator[Reading]:
    """A daily history under an exchange's trading days, its stamps being dates or instants."""
    clocks = [own(history), *clock_readings(history, zone_of(name, history))]
    for clock in steadiest_first(clocks, history):
        wall = clock.to_wall(history)
        plan = schedule(name, date_of(wall[0]), date_of(wall[-1]))
        low, high = np.searchsorted(plan.dates, [date_of(wall[0]), date_of(wall[-1] + DAY)])
        midnight = plan.dates[low:high].astype("datetime64[ns]").astype(np.int64)
        if interval.count > 1:
            midnight = midnight[np.isin(midnight // DAY, wall // DAY)]
        fit = measure(np.unique(wall // DAY * DAY), midnight)
        yield Reading(name, clock, DayPlan(name, interval.count, usual_clock(wall)), fit, clock.words)


def fx_days(history: pd.DatetimeIndex, interval: Interval) -> Reading:
    """Days of the FX week: Monday to Friday, with Sundays if the history has them, or Sunday to Thursday."""
    return best(_fx_days(clock, history, interval) for clock in (own(history), *fx_readings(history)))


def _fx_days(clock: Clock, history: pd.DatetimeIndex, interval: Interval) -> Reading:
    wall = clock.to_wall(history)
    seen = _weekdays(wall)
    week: tuple[int, ...] = (0, 1, 2, 3, 4)
    if 6 in seen:
        week = (*week, 6) if 4 in seen else (0, 1, 2, 3, 6)
    midnight = np.arange(wall[0] // DAY, wall[-1] // DAY + 1, dtype=np.int64) * DAY
    fit = measure(np.unique(wall // DAY * DAY), midnight[np.isin(weekday(midnight), week)])
    plan = DayPlan(None, interval.count, usual_clock(wall), week)
    return Reading(FX, clock, plan, Fit(fit.on * _steadiness(wall), fit.filled, fit.days), clock.words)


def steadiest_first(clocks: Iterable[Clock], history: pd.DatetimeIndex) -> list[Clock]:
    """Clocks that explain the same days, the steadiest first, and then one that shows midnight.

    Days that begin at 04:00 UTC in summer and 05:00 UTC in winter begin at New York's midnight.
    """

    def order(clock: Clock) -> tuple[float, bool]:
        wall = clock.to_wall(history)
        return -_steadiness(wall), usual_clock(wall) != 0

    return sorted(clocks, key=order)


def own_or_utc(history: pd.DatetimeIndex) -> Clock:
    """The history's own clock or UTC's: data that begin at UTC's midnight may be told in any timezone."""
    clock = own(history)
    return clock if history.tz is None else steadiest_first((clock, in_utc(clock)), history)[0]


def _steadiness(wall: Stamps) -> float:
    """Share of bars at the usual time of day; by the right clock bars keep it through summer and winter."""
    return float(np.mean(wall % DAY == usual_clock(wall)))


def weekdays_seen(history: pd.DatetimeIndex, interval: Interval) -> Reading:
    """The weekdays that a daily history has."""
    clock = own(history)
    wall = clock.to_wall(history)
    days = _weekdays(wall) or tuple(int(d) for d in np.unique(weekday(wall)))
    if len(wall) < 5 and not any(d > 4 for d in days):
        days = (0, 1, 2, 3, 4)
    plan = DayPlan(None, interval.count, usual_clock(wall), days)
    return Reading(INFERRED, clock, plan, PERFECT, "weekdays seen in the history")


def _weekdays(wall: Stamps) -> tuple[int, ...]:
    """Weekdays that a daily history has in at least half of its recent weeks."""
    recent = wall[wall > wall[-1] - 52 * WEEK]
    midnight = np.arange(recent[0] // DAY, recent[-1] // DAY + 1, dtype=np.int64) * DAY
    possible = np.bincount(weekday(midnight), minlength=7)
    seen = np.bincount(weekday(recent), minlength=7)
    return tuple(int(d) for d in range(7) if possible[d] and seen[d] >= 0.5 * possible[d])


def usual_clock(wall: Stamps) -> int:
    """The time of day of late, nanoseconds after midnight: that of the last two bars, else the most frequent."""
    if len(wall) > 1 and (wall[-1] - wall[-2]) % DAY == 0:
        return int(wall[-1] % DAY)
    values, counts = np.unique(wall[-60:] % DAY, return_counts=True)
    return int(values[counts.argmax()])


def periods(history: pd.DatetimeIndex, interval: Interval, name: str | None) -> Reading:
    """The anchor within the week or month that explains most stamps; an exchange adds first and last sessions."""
    clock = own_or_utc(history)
    wall = clock.to_wall(history)[-260:]
    unit: Literal["w", "mo"] = "w" if interval.unit == "w" else "mo"
    calendars = [] if name == ALWAYS else [name] if name else exchanges(history)
    found: list[tuple[float, PeriodPlan]] = []
    for anchor, day, calendar in _anchors(wall, unit, calendars):
        plan = PeriodPlan(calendar, unit, interval.count, anchor, day, usual_clock(wall))
        found.append((float(np.mean(plan.stamp(plan.period(wall)) // DAY == wall // DAY)), plan))
    share, plan = max(found, key=lambda pair: pair[0])
    words = f"stamped at {_anchor_words(plan)}"
    return Reading(name or plan.name or INFERRED, clock, plan, Fit(share, 1.0, 1.0), words)


def _anchors(wall: Stamps, unit: Literal["w", "mo"], calendars: list[str]) -> Iterator[tuple[Anchor, int, str | None]]:
    if unit == "w":
        yield "fixed", int(np.bincount(weekday(wall), minlength=7).argmax()), None
    else:
        days = (wall // DAY).view("M8[D]")
        of_month = (days - days.astype("datetime64[M]")).astype(np.int64) + 1
        yield "fixed", int(np.bincount(of_month).argmax()), None
        yield "month-end", 31, None
    for calendar in calendars:
        yield "first-session", 0, calendar
        yield "last-session", 0, calendar


def _anchor_words(plan: PeriodPlan) -> str:
    if plan.anchor != "fixed":
        return "the " + plan.anchor.replace("-", " ")
    return _WEEKDAYS[plan.day] if plan.unit == "w" else f"day {plan.day} of the month"
