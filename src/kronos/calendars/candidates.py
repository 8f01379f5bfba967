"""Calendar candidates: a calendar, a clock and a recurrence that may explain a history, and how well they fit.

Candidates of intraday histories come first, those of days, weeks and months after them; `detection` selects the best.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.calendars.bar_grids import GRIDS, BarGrid, GridFit, fit_days, fit_stamps, grid_stamps, observed_grid
from kronos.calendars.holidays import is_fx_holiday
from kronos.calendars.recurrence import (
    WEEK,
    Anchor,
    DayRecurrence,
    PatternRecurrence,
    PeriodRecurrence,
    Recurrence,
    SessionRecurrence,
    WeekRecurrence,
    nanoseconds,
    trading_day,
    week_slot,
)
from kronos.calendars.sessions import ALWAYS, FUTURES, FUTURES_VARIANTS, FX, INFERRED, ZONE_EXCHANGE, schedule
from kronos.calendars.timezones import (
    DAY,
    Stamps,
    WallClock,
    clock_candidates,
    fx_clock_candidates,
    local_clock,
    to_utc_clock,
    weekday,
)
from kronos.intervals import Interval

RECENT_DAYS = 120  # days of an intraday history that are examined
PERFECT = GridFit(1.0, 1.0, 1.0)

_LEAST_INSIDE = 0.8  # share of the stamps within a calendar's hours, below which it cannot fit
_FX_VARIANTS: tuple[tuple[Literal["start", "end"], bool], ...] = (  # side of the stamps, daily pause
    ("start", False), ("start", True), ("end", False), ("end", True)
)  # fmt: skip
_NIGHTS = 3  # trading days that decide whether, and until when, a futures product trades at night
_FUTURES_FAMILIES = (("CN-FUTURES-0230", FUTURES_VARIANTS[:5]), ("CN-FUTURES-CFFEX-BOND", FUTURES_VARIANTS[5:]))
_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


@dataclass(frozen=True, slots=True)
class CalendarCandidate:
    """A possible explanation of a history's times.

    Attributes:
        name: Name of the calendar, or ``inferred``.
        clock: Conversion between the history's times and the market's wall clock.
        recurrence: How the times continue.
        fit: How well the candidate fits the history.
        note: Description for people.
    """

    name: str
    clock: WallClock
    recurrence: Recurrence
    fit: GridFit
    note: str = ""


def best(candidates: Iterable[CalendarCandidate]) -> CalendarCandidate:
    """The candidate with the highest score, the first one of several."""
    return max(candidates, key=lambda candidate: candidate.fit.score)


def candidate_exchanges(history: pd.DatetimeIndex) -> list[str]:
    """Exchanges to try, beginning with that of the history's timezone."""
    names = ["XNYS", "XSHG", "XHKG"]
    local = ZONE_EXCHANGE.get(str(history.tz))
    return names if local is None else [local, *(name for name in names if name != local)]


def _zone_of(name: str, history: pd.DatetimeIndex) -> str:
    day = history[-1].to_datetime64().astype("datetime64[D]")
    return schedule(name, day, day).zone


def _date_of(wall: int) -> np.datetime64:
    return np.datetime64(int(wall // DAY), "D")


def session_candidates(name: str, history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """An exchange's sessions with each clock and bar grid."""
    step = nanoseconds(interval)
    for clock in clock_candidates(history, _zone_of(name, history)):
        wall = clock.to_wall(history)
        if _mostly_within_hours(name, wall, step):
            yield from _grid_candidates(name, clock, wall, step, GRIDS)


def _mostly_within_hours(name: str, wall: Stamps, step: int) -> bool:
    """Whether enough stamps lie within a calendar's hours, give or take a bar, for any of its bar grids to fit."""
    clock = wall % DAY
    inside = np.zeros(len(wall), dtype=np.bool_)
    hours = schedule(name, _date_of(wall[0]), _date_of(wall[-1])).hours
    for opens, closes in {segment for segments in hours for segment in segments}:
        for later in (clock, clock + DAY):  # night sessions end on the next day
            inside |= (opens - step <= later) & (later <= closes + step)
    return float(inside.mean()) >= _LEAST_INSIDE


def _grid_candidates(
    name: str, clock: WallClock, wall: Stamps, step: int, grids: Iterable[BarGrid]
) -> Iterator[CalendarCandidate]:
    days = schedule(name, _date_of(wall[0]), _date_of(wall[-1]))
    for grid in grids:
        fit = fit_days(wall, grid_stamps(days, step, grid, int(wall[0]), int(wall[-1])))
        note = _join_notes(grid.description, clock.note)
        yield CalendarCandidate(name, clock, SessionRecurrence(name, step, grid), fit, note)


def observed_hours(name: str, history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """A calendar's trading days with the history's own times of day, for extended hours and unusual data vendors."""
    clock = clock_candidates(history, _zone_of(name, history))[0]
    grid = observed_grid(clock.to_wall(history))
    recurrence = SessionRecurrence(name, nanoseconds(interval), grid)
    return CalendarCandidate(name, clock, recurrence, PERFECT, grid.description)


def futures_candidates(history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """The best candidate of each variant of Chinese futures, by the last days, since night sessions come and go."""
    step = nanoseconds(interval)
    for clock in clock_candidates(history, _zone_of(FUTURES, history)):
        wall = clock.to_wall(history)
        since = int(np.unique(wall // DAY)[-_NIGHTS - 1 :][0]) * DAY
        recent = wall[wall >= since]
        for longest, variants in _FUTURES_FAMILIES:
            if not _mostly_within_hours(longest, recent, step):
                continue
            # Grids that do not fit even the longest hours of a family fit none of its variants.
            fits = [candidate.fit.on for candidate in _grid_candidates(longest, clock, recent, step, GRIDS)]
            grids = [grid for grid, on in zip(GRIDS, fits, strict=True) if on >= 0.8]
            for name in variants if grids else ():
                yield best(_grid_candidates(name, clock, recent, step, grids))


def fx_week_candidates(history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """The week from Sunday to Friday 17:00 New York, with bars aligned to New York's clock or to UTC."""
    step = nanoseconds(interval)
    for base_clock in fx_clock_candidates(history):
        for clock in _alignments(base_clock, history, interval):
            wall = clock.to_wall(history)
            steps = np.arange(wall[0], wall[-1] + 1, step, dtype=np.int64)
            for recurrence in _week_recurrences(wall, step, clock.market == "UTC"):
                fit = fit_stamps(wall, steps[recurrence.open_at(steps)])
                pause = "a daily pause at 17:00 New York" if recurrence.pause else ""
                note = _join_notes(f"bars stamped at their {recurrence.side}", pause, base_clock.note)
                yield CalendarCandidate(FX, clock, recurrence, fit, note)


def _alignments(clock: WallClock, history: pd.DatetimeIndex, interval: Interval) -> tuple[WallClock, ...]:
    """Clocks to which bars may be aligned; those of up to an hour are the same for both, longer ones are not."""
    if interval.seconds <= 3600:
        return (clock,)
    utc = to_utc_clock(clock)
    by_utc = bool((utc.to_wall(history) % nanoseconds(interval) == 0).all())
    return (utc, clock) if by_utc else (clock, utc)


def _week_recurrences(wall: Stamps, step: int, utc: bool) -> tuple[WeekRecurrence, ...]:
    """Variants of the FX week, the most common first; holidays are closed unless the history trades on them."""
    closed = WeekRecurrence(step, "start", utc=utc).holiday_bars(wall) <= DAY // step // 2
    return tuple(WeekRecurrence(step, side, pause=pause, utc=utc, holidays=closed) for side, pause in _FX_VARIANTS)


def pattern_candidate(history: pd.DatetimeIndex) -> CalendarCandidate:
    """The weekdays and times of day of an intraday history, by its own clock or New York's."""
    clocks = [local_clock(history), fx_clock_candidates(history)[0]]
    return best(_pattern_candidate(clock, history) for clock in clocks)


def _pattern_candidate(clock: WallClock, history: pd.DatetimeIndex) -> CalendarCandidate:
    wall = clock.to_wall(history)
    slots = _active_slots(wall[wall > wall[-1] - 8 * WEEK])
    monday = np.arange(wall[0] // WEEK - 1, wall[-1] // WEEK + 2, dtype=np.int64) * WEEK
    expected = np.unique((monday[:, None] + 4 * DAY + slots[None, :]).ravel())
    fit = fit_stamps(wall, expected[(expected >= wall[0]) & (expected <= wall[-1])])
    note = _join_notes("weekdays and times of day of the history", clock.note)
    return CalendarCandidate(INFERRED, clock, PatternRecurrence(tuple(int(s) for s in slots)), fit, note)


def _active_slots(wall: Stamps) -> Stamps:
    """Times of the week that occur in at least half of the weeks.

    Weekdays that the history does not cover from end to end also get the times of day of the others.
    """
    slots, counts = np.unique(week_slot(wall), return_counts=True)
    first, last = int(wall[0]), int(wall[-1])
    earliest = first + (slots - week_slot(wall)[0]) % WEEK
    possible = np.maximum(1, (last - earliest) // WEEK + 1)
    active = slots[counts >= 0.5 * possible]
    if not len(active):
        return slots
    whole_days = np.arange(first // DAY + 1, last // DAY, dtype=np.int64) * DAY
    covered = np.unique(weekday(whole_days))
    others = [d for d in range(5) if d not in covered]
    clock = np.unique(active[active // DAY < 5] % DAY)
    return np.unique(np.concatenate([active, *[d * DAY + clock for d in others]]))


def _join_notes(*notes: str) -> str:
    return ", ".join(filter(None, notes))


def detect_daily(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The exchange whose trading days and holidays a daily history has; else the FX week; else its own weekdays."""
    found = []
    for name in candidate_exchanges(history):
        candidate = best(exchange_day_candidates(name, history, interval))
        fits = candidate.fit.on >= 0.99 and candidate.fit.filled * candidate.fit.days >= 0.95
        if fits and _has_holiday(candidate, history):
            found.append(candidate)
    found.sort(key=lambda candidate: candidate.fit.score, reverse=True)
    local = found and history.tz is not None and found[0].name == candidate_exchanges(history)[0]
    if found and (len(found) == 1 or found[0].fit.score > found[1].fit.score or local):
        return found[0]
    fx = fx_day_candidate(history, interval)
    year = history[-1] - history[0] > pd.Timedelta(days=300)
    if fx.fit.score >= 0.98 and (year or 6 in _usual_weekdays(local_clock(history).to_wall(history))):
        return fx
    return weekday_candidate(history, interval)


def _has_holiday(candidate: CalendarCandidate, history: pd.DatetimeIndex) -> bool:
    """Whether the exchange closed on a weekday within the history: only holidays distinguish exchanges."""
    wall = candidate.clock.to_wall(history)
    first, last = _date_of(wall[0]), _date_of(wall[-1])
    days = schedule(candidate.name, first, last)
    low, high = np.searchsorted(days.dates, [first, last])
    return int(np.busday_count(first, last)) > int(high - low)


def exchange_day_candidates(name: str, history: pd.DatetimeIndex, interval: Interval) -> Iterator[CalendarCandidate]:
    """An exchange's trading days, with the times of a daily history as dates or as instants."""
    clocks = [local_clock(history), *clock_candidates(history, _zone_of(name, history))]
    for clock in _sort_by_stability(clocks, history):
        wall = clock.to_wall(history)
        days = schedule(name, _date_of(wall[0]), _date_of(wall[-1]))
        low, high = np.searchsorted(days.dates, [_date_of(wall[0]), _date_of(wall[-1] + DAY)])
        midnight = days.dates[low:high].astype("datetime64[ns]").astype(np.int64)
        if interval.count > 1:
            midnight = midnight[np.isin(midnight // DAY, wall // DAY)]
        fit = fit_days(np.unique(wall // DAY * DAY), midnight)
        recurrence = DayRecurrence(name, interval.count, usual_time_of_day(wall))
        yield CalendarCandidate(name, clock, recurrence, fit, clock.note)


def fx_day_candidate(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """Days of the FX week: Monday to Friday, with Sundays if the history has them, or Sunday to Thursday."""
    clocks = (local_clock(history), *fx_clock_candidates(history))
    return best(_fx_day_candidate(clock, history, interval) for clock in clocks)


def _fx_day_candidate(clock: WallClock, history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    wall = clock.to_wall(history)
    usual = _usual_weekdays(wall)
    week: tuple[int, ...] = (0, 1, 2, 3, 4)
    if 6 in usual:
        week = (*week, 6) if 4 in usual else (0, 1, 2, 3, 6)
    midnight = np.arange(wall[0] // DAY, wall[-1] // DAY + 1, dtype=np.int64) * DAY
    clock_of_day = usual_time_of_day(wall)
    closed = not is_fx_holiday(trading_day(wall)).any()
    expected = midnight[np.isin(weekday(midnight), week)]
    if closed:
        expected = expected[~is_fx_holiday(trading_day(expected + clock_of_day))]
    fit = fit_days(np.unique(wall // DAY * DAY), expected)
    recurrence = DayRecurrence(None, interval.count, clock_of_day, week, fx_holidays=closed)
    return CalendarCandidate(
        FX, clock, recurrence, GridFit(fit.on * _stability(wall), fit.filled, fit.days), clock.note
    )


def _sort_by_stability(clocks: Iterable[WallClock], history: pd.DatetimeIndex) -> list[WallClock]:
    """Sort clocks by how constant the time of day is, and prefer midnight.

    Days that begin at 04:00 UTC in summer and at 05:00 UTC in winter begin at midnight in New York.
    """

    def order(clock: WallClock) -> tuple[float, bool]:
        wall = clock.to_wall(history)
        return -_stability(wall), usual_time_of_day(wall) != 0

    return sorted(clocks, key=order)


def local_or_utc_clock(history: pd.DatetimeIndex) -> WallClock:
    """The history's own clock, or UTC if days begin at UTC's midnight, in whichever timezone they are stored."""
    clock = local_clock(history)
    return clock if history.tz is None else _sort_by_stability((clock, to_utc_clock(clock)), history)[0]


def _stability(wall: Stamps) -> float:
    """Share of bars at the usual time of day, which is constant through summer and winter by the right clock."""
    return float(np.mean(wall % DAY == usual_time_of_day(wall)))


def weekday_candidate(history: pd.DatetimeIndex, interval: Interval) -> CalendarCandidate:
    """The weekdays of a daily history."""
    clock = local_clock(history)
    wall = clock.to_wall(history)
    days = _usual_weekdays(wall) or tuple(int(d) for d in np.unique(weekday(wall)))
    if len(wall) < 5 and not any(d > 4 for d in days):
        days = (0, 1, 2, 3, 4)
    recurrence = DayRecurrence(None, interval.count, usual_time_of_day(wall), days)
    return CalendarCandidate(INFERRED, clock, recurrence, PERFECT, "weekdays of the history")


def _usual_weekdays(wall: Stamps) -> tuple[int, ...]:
    """Weekdays that a daily history has in at least half of its recent weeks."""
    recent = wall[wall > wall[-1] - 52 * WEEK]
    midnight = np.arange(recent[0] // DAY, recent[-1] // DAY + 1, dtype=np.int64) * DAY
    possible = np.bincount(weekday(midnight), minlength=7)
    present = np.bincount(weekday(recent), minlength=7)
    return tuple(int(d) for d in range(7) if possible[d] and present[d] >= 0.5 * possible[d])


def usual_time_of_day(wall: Stamps) -> int:
    """Time of day of the last two bars if they agree, else the most frequent recent one, in nanoseconds."""
    if len(wall) > 1 and (wall[-1] - wall[-2]) % DAY == 0:
        return int(wall[-1] % DAY)
    values, counts = np.unique(wall[-60:] % DAY, return_counts=True)
    return int(values[counts.argmax()])


def period_candidate(history: pd.DatetimeIndex, interval: Interval, name: str | None) -> CalendarCandidate:
    """The anchor within weeks or months that fits most stamps, among them first and last sessions of exchanges."""
    clock = local_or_utc_clock(history)
    wall = clock.to_wall(history)[-260:]
    unit: Literal["w", "mo"] = "w" if interval.unit == "w" else "mo"
    calendars = [] if name == ALWAYS else [name] if name else candidate_exchanges(history)
    found: list[tuple[float, PeriodRecurrence]] = []
    for anchor, day, calendar in _anchors(wall, unit, calendars):
        recurrence = PeriodRecurrence(calendar, unit, interval.count, anchor, day, usual_time_of_day(wall))
        share = float(np.mean(recurrence.stamp(recurrence.period(wall)) // DAY == wall // DAY))
        found.append((share, recurrence))
    share, recurrence = max(found, key=lambda pair: pair[0])
    note = f"stamped at {_describe_anchor(recurrence)}"
    return CalendarCandidate(name or recurrence.name or INFERRED, clock, recurrence, GridFit(share, 1.0, 1.0), note)


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


def _describe_anchor(recurrence: PeriodRecurrence) -> str:
    if recurrence.anchor != "fixed":
        return "the " + recurrence.anchor.replace("-", " ")
    return _WEEKDAYS[recurrence.day] if recurrence.unit == "w" else f"day {recurrence.day} of the month"
