"""Readings: a calendar, a clock and a plan that together may explain a history, and how well they do.

This module makes the intraday ones; `days` makes those of days, weeks and months, `guess` chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.calendars.bar_grids import GRIDS, BarGrid, GridFit, measure, measure_all, observed, stamps
from kronos.calendars.recurrence import (
    WEEK,
    Anchor,
    DayRecurrence,
    PatternRecurrence,
    PeriodRecurrence,
    Recurrence,
    SessionRecurrence,
    WeekRecurrence,
    step_of,
    week_slot,
)
from kronos.calendars.sessions import ALWAYS, FUTURES, FUTURES_VARIANTS, FX, INFERRED, ZONE_EXCHANGE, schedule
from kronos.calendars.timezones import DAY, Stamps, WallClock, fx_readings, in_utc, local_clock, weekday
from kronos.calendars.timezones import readings as clock_readings
from kronos.intervals import Interval

RECENT_DAYS = 120  # how much of an intraday history is looked at
_NIGHTS = 3  # trading days that decide whether, and until when, a futures product trades at night
_FAMILIES = (("CN-FUTURES-0230", FUTURES_VARIANTS[:5]), ("CN-FUTURES-CFFEX-BOND", FUTURES_VARIANTS[5:]))
PERFECT = GridFit(1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class CalendarCandidate:
    """A calendar, a clock and a plan, and how well they explain the history."""

    name: str
    clock: WallClock
    plan: Recurrence
    fit: GridFit
    note: str = ""


def best(found: Iterable[CalendarCandidate]) -> CalendarCandidate:
    """The reading that fits best; of equals the first."""
    return max(found, key=lambda reading: reading.fit.score)


def exchanges(history: pd.DatetimeIndex) -> list[str]:
    """Exchanges worth trying: that of the history's timezone first."""
    names = ["XNYS", "XSHG", "XHKG"]
    local = ZONE_EXCHANGE.get(str(history.tz))
    return names if local is None else [local, *(n for n in names if n != local)]


def zone_of(name: str, history: pd.DatetimeIndex) -> str:
    """A calendar's timezone."""
    day = history[-1].to_datetime64().astype("datetime64[D]")
    return schedule(name, day, day).zone


def date_of(wall: int) -> np.datetime64:
    """The date of a wall-clock stamp."""
    return np.datetime64(int(wall // DAY), "D")


def sessions(name: str, history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """Every clock and stamping convention under an exchange's sessions."""
    for clock in clock_readings(history, zone_of(name, history)):
        yield from _grids(name, clock, clock.to_wall(history), step_of(interval), GRIDS)


def _grids(
    name: str, clock: WallClock, wall: Stamps, step: int, grids: Iterable[BarGrid]
) -> Iterator[CalendarCandidate]:
    days = schedule(name, date_of(wall[0]), date_of(wall[-1]))
    for grid in grids:
        fit = measure(wall, stamps(days, step, grid, int(wall[0]), int(wall[-1])))
        yield CalendarCandidate(name, clock, SessionRecurrence(name, step, grid), fit, joined(grid.words, clock.words))


def own_hours(name: str, history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The calendar's days with the history's clock times: extended hours, odd vendors."""
    clock = clock_readings(history, zone_of(name, history))[0]
    grid = observed(clock.to_wall(history))
    return CalendarCandidate(name, clock, SessionRecurrence(name, step_of(interval), grid), PERFECT, grid.words)


def futures(history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """One reading a variant of Chinese futures; the last nights decide, for nights come and go."""
    for clock in clock_readings(history, zone_of(FUTURES, history)):
        wall = clock.to_wall(history)
        since = int(np.unique(wall // DAY)[-_NIGHTS - 1 :][0]) * DAY
        late = wall[wall >= since]
        for longest, variants in _FAMILIES:
            # Stamping conventions that even the longest hours of a family don't explain need no further look.
            tried = list(_grids(longest, clock, late, step_of(interval), GRIDS))
            grids = [grid for grid, reading in zip(GRIDS, tried, strict=True) if reading.fit.on >= 0.8]
            for name in variants if grids else ():
                yield best(_grids(name, clock, late, step_of(interval), grids))


def fx_week(history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """The week from Sunday to Friday 17:00 New York, bars aligned to New York's clock or to UTC."""
    step = step_of(interval)
    for clock in fx_readings(history):
        for used in _alignments(clock, history, interval):
            wall = used.to_wall(history)
            every = np.arange(wall[0], wall[-1] + 1, step, dtype=np.int64)
            for plan in week_plans(step, used.market == "UTC"):
                fit = measure_all(wall, every[plan.open_at(every)])
                pause = "a daily pause at 17:00 New York" if plan.pause else ""
                words = joined(f"bars stamped at their {plan.side}", pause, clock.words)
                yield CalendarCandidate(FX, used, plan, fit, words)


def _alignments(clock: WallClock, history: pd.DatetimeIndex, interval: Interval) -> tuple[WallClock, ...]:
    """Up to an hour the two alignments are one; longer bars shift against each other with summer time."""
    if interval.seconds <= 3600:
        return (clock,)
    utc = in_utc(clock)
    by_utc = bool((utc.to_wall(history) % step_of(interval) == 0).all())
    return (utc, clock) if by_utc else (clock, utc)


def week_plans(step: int, utc: bool) -> tuple[WeekRecurrence, ...]:
    """The forms of the FX week, most usual first."""
    return (
        WeekRecurrence(step, "start", utc=utc),
        WeekRecurrence(step, "start", pause=True, utc=utc),
        WeekRecurrence(step, "end", utc=utc),
        WeekRecurrence(step, "end", pause=True, utc=utc),
    )


def pattern(history: pd.DatetimeIndex) -> CalendarCandidate:
    """The weekdays and clock times that an intraday history itself has, by its own clock or New York's."""
    clocks = [local_clock(history), fx_readings(history)[0]]
    return best(_pattern(clock, history) for clock in clocks)


def _pattern(clock: WallClock, history: pd.DatetimeIndex) -> CalendarCandidate:
    wall = clock.to_wall(history)
    slots = active_slots(wall[wall > wall[-1] - 8 * WEEK])
    monday = np.arange(wall[0] // WEEK - 1, wall[-1] // WEEK + 2, dtype=np.int64) * WEEK
    every = np.unique((monday[:, None] + 4 * DAY + slots[None, :]).ravel())
    fit = measure_all(wall, every[(every >= wall[0]) & (every <= wall[-1])])
    words = joined("weekdays and clock times seen in the history", clock.words)
    return CalendarCandidate(INFERRED, clock, PatternRecurrence(tuple(int(s) for s in slots)), fit, words)


def active_slots(wall: Stamps) -> Stamps:
    """Times of the week seen on at least half of their chances.

    Weekdays that the history has not shown from end to end take the others' clock times, too.
    """
    slots, counts = np.unique(week_slot(wall), return_counts=True)
    first, last = int(wall[0]), int(wall[-1])
    earliest = first + (slots - week_slot(wall)[0]) % WEEK
    chances = np.maximum(1, (last - earliest) // WEEK + 1)
    active = slots[counts >= 0.5 * chances]
    if not len(active):
        return slots
    whole = np.arange(first // DAY + 1, last // DAY, dtype=np.int64) * DAY
    shown = np.unique(weekday(whole))
    unseen = [d for d in range(5) if d not in shown]
    clock = np.unique(active[active // DAY < 5] % DAY)
    return np.unique(np.concatenate([active, *[d * DAY + clock for d in unseen]]))


def joined(*words: str) -> str:
    """The words that there are, with commas."""
    return ", ".join(w for w in words if w)


_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def guess_daily(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
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
    if fx.fit.score >= 0.98 and (year or 6 in _weekdays(local_clock(history).to_wall(history))):
        return fx
    return weekdays_seen(history, interval)


def _holidays_kept(reading: CalendarCandidate, history: pd.DatetimeIndex) -> bool:
    """Whether the span holds a weekday on which this exchange was closed: only holidays tell exchanges apart."""
    wall = reading.clock.to_wall(history)
    first, last = date_of(wall[0]), date_of(wall[-1])
    plan = schedule(reading.name, first, last)
    low, high = np.searchsorted(plan.dates, [first, last])
    return int(np.busday_count(first, last)) > int(high - low)


def exchange_days(name: str, history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """A daily history under an exchange's trading days, its stamps being dates or instants."""
    clocks = [local_clock(history), *clock_readings(history, zone_of(name, history))]
    for clock in steadiest_first(clocks, history):
        wall = clock.to_wall(history)
        plan = schedule(name, date_of(wall[0]), date_of(wall[-1]))
        low, high = np.searchsorted(plan.dates, [date_of(wall[0]), date_of(wall[-1] + DAY)])
        midnight = plan.dates[low:high].astype("datetime64[ns]").astype(np.int64)
        if interval.count > 1:
            midnight = midnight[np.isin(midnight // DAY, wall // DAY)]
        fit = measure(np.unique(wall // DAY * DAY), midnight)
        yield CalendarCandidate(name, clock, DayRecurrence(name, interval.count, usual_clock(wall)), fit, clock.words)


def fx_days(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """Days of the FX week: Monday to Friday, with Sundays if the history has them, or Sunday to Thursday."""
    return best(_fx_days(clock, history, interval) for clock in (local_clock(history), *fx_readings(history)))


def _fx_days(clock: WallClock, history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    wall = clock.to_wall(history)
    seen = _weekdays(wall)
    week: tuple[int, ...] = (0, 1, 2, 3, 4)
    if 6 in seen:
        week = (*week, 6) if 4 in seen else (0, 1, 2, 3, 6)
    midnight = np.arange(wall[0] // DAY, wall[-1] // DAY + 1, dtype=np.int64) * DAY
    fit = measure(np.unique(wall // DAY * DAY), midnight[np.isin(weekday(midnight), week)])
    plan = DayRecurrence(None, interval.count, usual_clock(wall), week)
    return CalendarCandidate(FX, clock, plan, GridFit(fit.on * _steadiness(wall), fit.filled, fit.days), clock.words)


def steadiest_first(clocks: Iterable[WallClock], history: pd.DatetimeIndex) -> list[WallClock]:
    """Clocks that explain the same days, the steadiest first, and then one that shows midnight.

    Days that begin at 04:00 UTC in summer and 05:00 UTC in winter begin at New York's midnight.
    """

    def order(clock: WallClock) -> tuple[float, bool]:
        wall = clock.to_wall(history)
        return -_steadiness(wall), usual_clock(wall) != 0

    return sorted(clocks, key=order)


def own_or_utc(history: pd.DatetimeIndex) -> WallClock:
    """The history's own clock or UTC's: data that begin at UTC's midnight may be told in any timezone."""
    clock = local_clock(history)
    return clock if history.tz is None else steadiest_first((clock, in_utc(clock)), history)[0]


def _steadiness(wall: Stamps) -> float:
    """Share of bars at the usual time of day; by the right clock bars keep it through summer and winter."""
    return float(np.mean(wall % DAY == usual_clock(wall)))


def weekdays_seen(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The weekdays that a daily history has."""
    clock = local_clock(history)
    wall = clock.to_wall(history)
    days = _weekdays(wall) or tuple(int(d) for d in np.unique(weekday(wall)))
    if len(wall) < 5 and not any(d > 4 for d in days):
        days = (0, 1, 2, 3, 4)
    plan = DayRecurrence(None, interval.count, usual_clock(wall), days)
    return CalendarCandidate(INFERRED, clock, plan, PERFECT, "weekdays seen in the history")


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


def periods(history: pd.DatetimeIndex, interval: Interval, name: str | None) -> CalendarCandidate:
    """The anchor within the week or month that explains most stamps; an exchange adds first and last sessions."""
    clock = own_or_utc(history)
    wall = clock.to_wall(history)[-260:]
    unit: Literal["w", "mo"] = "w" if interval.unit == "w" else "mo"
    calendars = [] if name == ALWAYS else [name] if name else exchanges(history)
    found: list[tuple[float, PeriodRecurrence]] = []
    for anchor, day, calendar in _anchors(wall, unit, calendars):
        plan = PeriodRecurrence(calendar, unit, interval.count, anchor, day, usual_clock(wall))
        found.append((float(np.mean(plan.stamp(plan.period(wall)) // DAY == wall // DAY)), plan))
    share, plan = max(found, key=lambda pair: pair[0])
    words = f"stamped at {_anchor_words(plan)}"
    return CalendarCandidate(name or plan.name or INFERRED, clock, plan, GridFit(share, 1.0, 1.0), words)


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


def _anchor_words(plan: PeriodRecurrence) -> str:
    if plan.anchor != "fixed":
        return "the " + plan.anchor.replace("-", " ")
    return _WEEKDAYS[plan.day] if plan.unit == "w" else f"day {plan.day} of the month"
