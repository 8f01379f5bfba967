"""Readings: a calendar, a clock and a plan that together may explain a history, and how well they do.

This module makes the intraday ones; `days` makes those of days, weeks and months, `guess` chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.calendars.clocks import DAY, Clock, Stamps, fx_readings, in_utc, own, weekday
from kronos.calendars.clocks import readings as clock_readings
from kronos.calendars.grids import GRIDS, Fit, Grid, measure, measure_all, observed, stamps
from kronos.calendars.names import FUTURES, FUTURES_VARIANTS, FX, INFERRED, ZONE_EXCHANGE
from kronos.calendars.plans import WEEK, PatternPlan, Plan, SessionPlan, WeekPlan, step_of, week_slot
from kronos.calendars.schedules import schedule
from kronos.intervals import Interval

RECENT_DAYS = 120  # how much of an intraday history is looked at
_NIGHTS = 3  # trading days that decide whether, and until when, a futures product trades at night
_FAMILIES = (("CN-FUTURES-0230", FUTURES_VARIANTS[:5]), ("CN-FUTURES-CFFEX-BOND", FUTURES_VARIANTS[5:]))
PERFECT = Fit(1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """A calendar, a clock and a plan, and how well they explain the history."""

    name: str
    clock: Clock
    plan: Plan
    fit: Fit
    note: str = ""


def best(found: Iterable[Reading]) -> Reading:
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


def sessions(name: str, history: pd.DatetimeIndex, interval: Interval) -> Iterator[Reading]:
    """Every clock and stamping convention under an exchange's sessions."""
    for clock in clock_readings(history, zone_of(name, history)):
        yield from _grids(name, clock, clock.to_wall(history), step_of(interval), GRIDS)


def _grids(name: str, clock: Clock, wall: Stamps, step: int, grids: Iterable[Grid]) -> Iterator[Reading]:
    days = schedule(name, date_of(wall[0]), date_of(wall[-1]))
    for grid in grids:
        fit = measure(wall, stamps(days, step, grid, int(wall[0]), int(wall[-1])))
        yield Reading(name, clock, SessionPlan(name, step, grid), fit, joined(grid.words, clock.words))


def own_hours(name: str, history: pd.DatetimeIndex, interval: Interval) -> Reading:
    """The calendar's days with the history's clock times: extended hours, odd vendors."""
    clock = clock_readings(history, zone_of(name, history))[0]
    grid = observed(clock.to_wall(history))
    return Reading(name, clock, SessionPlan(name, step_of(interval), grid), PERFECT, grid.words)


def futures(history: pd.DatetimeIndex, interval: Interval) -> Iterator[Reading]:
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


def fx_week(history: pd.DatetimeIndex, interval: Interval) -> Iterator[Reading]:
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
                yield Reading(FX, used, plan, fit, words)


def _alignments(clock: Clock, history: pd.DatetimeIndex, interval: Interval) -> tuple[Clock, ...]:
    """Up to an hour the two alignments are one; longer bars shift against each other with summer time."""
    if interval.seconds <= 3600:
        return (clock,)
    utc = in_utc(clock)
    by_utc = bool((utc.to_wall(history) % step_of(interval) == 0).all())
    return (utc, clock) if by_utc else (clock, utc)


def week_plans(step: int, utc: bool) -> tuple[WeekPlan, ...]:
    """The forms of the FX week, most usual first."""
    return (
        WeekPlan(step, "start", utc=utc),
        WeekPlan(step, "start", pause=True, utc=utc),
        WeekPlan(step, "end", utc=utc),
        WeekPlan(step, "end", pause=True, utc=utc),
    )


def pattern(history: pd.DatetimeIndex) -> Reading:
    """The weekdays and clock times that an intraday history itself has, by its own clock or New York's."""
    clocks = [own(history), fx_readings(history)[0]]
    return best(_pattern(clock, history) for clock in clocks)


def _pattern(clock: Clock, history: pd.DatetimeIndex) -> Reading:
    wall = clock.to_wall(history)
    slots = active_slots(wall[wall > wall[-1] - 8 * WEEK])
    monday = np.arange(wall[0] // WEEK - 1, wall[-1] // WEEK + 2, dtype=np.int64) * WEEK
    every = np.unique((monday[:, None] + 4 * DAY + slots[None, :]).ravel())
    fit = measure_all(wall, every[(every >= wall[0]) & (every <= wall[-1])])
    words = joined("weekdays and clock times seen in the history", clock.words)
    return Reading(INFERRED, clock, PatternPlan(tuple(int(s) for s in slots)), fit, words)


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
