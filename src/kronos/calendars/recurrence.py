"""Recurrences: the next stamps of a market after a given one, in wall-clock nanoseconds.

`SessionRecurrence` follows the sessions of an exchange, `WeekRecurrence` the FX week, `DayRecurrence` and
`PeriodRecurrence` days, weeks and months with or without the trading days of an exchange; `PatternRecurrence` repeats a
history's own times of the week, and `StepRecurrence` adds a fixed step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from kronos.calendars.bar_grids import BarGrid, grid_stamps
from kronos.calendars.holidays import Dates, is_fx_holiday
from kronos.calendars.sessions import LAST_YEAR, TradingSchedule, schedule
from kronos.calendars.timezones import DAY, Stamps, utc_to_new_york, weekday
from kronos.errors import CalendarError
from kronos.intervals import Interval
from kronos.typing import BoolArray, IntArray

HOUR = DAY // 24
WEEK = 7 * DAY
_MONDAY = 4 * DAY  # 1970-01-05
_NEVER = np.iinfo(np.int64).min
_LIMIT = int(np.datetime64(f"{LAST_YEAR}-12-31", "ns").astype(np.int64))


class Recurrence(Protocol):
    """The rhythm of a market's stamps."""

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """The next ``count`` stamps after ``last``, and whether any lies beyond the published calendar.

        Raises:
            CalendarError: If they lie after 2200.
        """
        ...


def nanoseconds(interval: Interval) -> int:
    """Nominal length of an interval in nanoseconds."""
    return interval.seconds * 10**9


def _collect(stamps_within: Callable[[int], Stamps], span: int, count: int, last: int) -> Stamps:
    """Double the span after ``last`` until it contains enough stamps."""
    span = max(span, DAY)
    while True:
        if last + span > _LIMIT:
            span = max(DAY, _LIMIT - last)
        found = stamps_within(span)
        if len(found) >= count:
            return found[:count]
        if last + span >= _LIMIT:
            raise _beyond_limit(count)
        span *= 2


def _check_reach(last: int, count: int, step: int) -> None:
    if last + count * step > _LIMIT:
        raise _beyond_limit(count)


def _beyond_limit(count: int) -> CalendarError:
    return CalendarError(f"The horizon of {count} steps reaches beyond {LAST_YEAR}; choose fewer steps.")


def _dates(days: TradingSchedule, first: int, last: int) -> Dates:
    low, high = np.searchsorted(days.dates, np.array([first // DAY, last // DAY + 1]).view("M8[D]"))
    return days.dates[low:high]


def _day(wall: int) -> np.datetime64:
    return np.datetime64(int(wall // DAY), "D")


@dataclass(frozen=True, slots=True)
class StepRecurrence:
    """A stamp every ``step`` nanoseconds."""

    step: int

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Recurrence.after`."""
        _check_reach(last, count, self.step)
        return last + self.step * np.arange(1, count + 1, dtype=np.int64), False


@dataclass(frozen=True, slots=True)
class SessionRecurrence:
    """Bars within the sessions of an exchange.

    Attributes:
        name: Name of the calendar.
        step: Interval in nanoseconds.
        grid: Convention for the times of bars.
    """

    name: str
    step: int
    grid: BarGrid

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Recurrence.after`."""

        def stamps_within(span: int) -> Stamps:
            days = schedule(self.name, _day(last), _day(last + span))
            return grid_stamps(days, self.step, self.grid, last + 1, last + span)

        found = _collect(stamps_within, (count * self.step // (3 * HOUR) + 12) * DAY, count, last)
        return found, _is_projected(self.name, found, last)


def _is_projected(name: str, stamps: Stamps, last: int) -> bool:
    """Whether the last of the stamps lies after the published trading days."""
    final = int(stamps[-1])
    return bool(_day(final) > schedule(name, _day(last), _day(final)).published)


@dataclass(frozen=True, slots=True)
class DayRecurrence:
    """Every ``every``-th trading day at one time of day.

    Attributes:
        name: Calendar of the trading days; None uses ``weekdays``.
        every: Trading days from one bar to the next.
        clock: Time of day in nanoseconds after midnight.
        weekdays: Weekdays of trading if there is no calendar.
        fx_holidays: Whether the market closes on the holidays of FX.
    """

    name: str | None
    every: int
    clock: int
    weekdays: tuple[int, ...] = tuple(range(7))
    fx_holidays: bool = False

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Recurrence.after`."""
        name = self.name

        def stamps_within(span: int) -> Stamps:
            if name is not None:
                days = schedule(name, _day(last), _day(last + span))
                midnight = _dates(days, last, last + span).astype("datetime64[ns]").astype(np.int64)
            else:
                midnight = (last // DAY + np.arange(span // DAY + 1, dtype=np.int64)) * DAY
                midnight = midnight[np.isin(weekday(midnight), self.weekdays)]
                if self.fx_holidays:
                    midnight = midnight[~is_fx_holiday(trading_day(midnight + self.clock))]
            later = midnight[midnight // DAY > last // DAY]
            return np.asarray((later + self.clock)[self.every - 1 :: self.every], dtype=np.int64)

        found = _collect(stamps_within, (count * self.every * 2 + 14) * DAY, count, last)
        return found, name is not None and _is_projected(name, found, last)


Anchor = Literal["fixed", "first-session", "last-session", "month-end"]


@dataclass(frozen=True, slots=True)
class PeriodRecurrence:
    """Weekly or monthly bars.

    Attributes:
        name: Calendar of the session anchors, if any.
        unit: ``w`` or ``mo``.
        every: Periods from one bar to the next.
        anchor: Day of the period on which a bar is stamped.
        day: For the anchor ``fixed``: the weekday (Monday is 0), or the day of the month from 1.
        clock: Time of day in nanoseconds after midnight.
    """

    name: str | None
    unit: Literal["w", "mo"]
    every: int
    anchor: Anchor
    day: int
    clock: int

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Recurrence.after`."""
        _check_reach(last, (count + count // 8 + 6) * self.every, WEEK if self.unit == "w" else 31 * DAY)
        period = int(self.period(np.array([last], dtype=np.int64))[0])
        # More than needed: weeks without a session, as during the Spring Festival, have no stamp.
        periods = period + self.every * np.arange(1, count + count // 8 + 6, dtype=np.int64)
        found = self.stamp(periods)
        found = found[found > last][:count]
        sessions = self.name is not None and self.anchor.endswith("session")
        return found, sessions and _is_projected(str(self.name), found, last)

    def period(self, wall: Stamps) -> IntArray:
        """Number of weeks (from Monday) or months since 1970 of wall-clock stamps. [n]."""
        if self.unit == "w":
            return np.asarray((wall - _MONDAY) // WEEK, dtype=np.int64)
        return (wall // DAY).view("M8[D]").astype("datetime64[M]").astype(np.int64)

    def bounds(self, period: IntArray) -> tuple[Stamps, Stamps]:
        """Midnights of the first and last day of each period. [n] each."""
        if self.unit == "w":
            first = period * WEEK + _MONDAY
            return first, first + 6 * DAY
        months = period.view("M8[M]")
        first = months.astype("datetime64[ns]").astype(np.int64)
        last = (months + np.timedelta64(1, "M")).astype("datetime64[ns]").astype(np.int64) - DAY
        return first, last

    def stamp(self, period: IntArray) -> Stamps:
        """Stamp of each period; the smallest integer if a period has no session. [n]."""
        first, last = self.bounds(period)
        if self.anchor == "month-end":
            return last + self.clock
        if self.anchor == "fixed" or self.name is None:
            offset = self.day if self.unit == "w" else self.day - 1
            return np.minimum(first + offset * DAY, last) + self.clock
        trading_days = schedule(self.name, _day(int(first[0])), _day(int(last[-1])))
        days = trading_days.dates.astype("datetime64[ns]").astype(np.int64)
        if self.anchor == "first-session":
            at = np.minimum(np.searchsorted(days, first), len(days) - 1)
            return np.where(days[at] <= last, days[at] + self.clock, _NEVER)
        at = np.maximum(np.searchsorted(days, last, side="right") - 1, 0)
        return np.where(days[at] >= first, days[at] + self.clock, _NEVER)


@dataclass(frozen=True, slots=True)
class WeekRecurrence:
    """A market that is open from Sunday to Friday 17:00 New York, such as FX.

    Attributes:
        step: Interval in nanoseconds.
        side: Whether bars are stamped at their start or end.
        pause: Whether the market closes for an hour at 17:00 each day, as for metals.
        utc: Whether stamps are in UTC instead of New York's wall clock.
        holidays: Whether it closes on the holidays of FX.
    """

    step: int
    side: Literal["start", "end"]
    pause: bool = False
    utc: bool = False
    holidays: bool = True

    def open_at(self, wall: Stamps) -> BoolArray:
        """Whether the bar of each stamp overlaps the trading hours. [n]."""
        begin = self._session_clock(wall)
        clock = begin - _MONDAY
        into_day, day = clock % DAY, clock // DAY % 7
        closed_until = np.where(day == 5, 2 * DAY, np.where(day == 6, DAY, 0))
        if self.pause:
            # The pause is the first hour of each day, also after the weekend.
            closed_until = np.where(closed_until > 0, closed_until + HOUR, np.where(into_day < HOUR, HOUR, 0))
        is_open = into_day + self.step > closed_until
        if self.holidays:
            is_open &= ~is_fx_holiday(begin // DAY)
        return np.asarray(is_open, dtype=np.bool_)

    def holiday_bars(self, wall: Stamps) -> int:
        """Number of stamps on holidays of FX."""
        return int(is_fx_holiday(self._session_clock(wall) // DAY).sum())

    def _session_clock(self, wall: Stamps) -> Stamps:
        """Beginning of each bar on a clock whose days begin at 17:00 New York, so that Sunday evening is Monday."""
        begin = wall if self.side == "start" else wall - self.step
        return (utc_to_new_york(begin) if self.utc else begin) + 7 * HOUR

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Recurrence.after`."""

        def stamps_within(span: int) -> Stamps:
            steps = np.arange(last + self.step, last + span + 1, self.step, dtype=np.int64)
            return steps[self.open_at(steps)]

        return _collect(stamps_within, (count + 4) * self.step * 3 // 2 + 4 * DAY, count, last), False


@dataclass(frozen=True, slots=True)
class PatternRecurrence:
    """The times of the week at which a history has bars.

    Attributes:
        slots: Nanoseconds after Monday's midnight, increasing; at least one.
    """

    slots: tuple[int, ...]

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Recurrence.after`."""
        slots = np.array(self.slots, dtype=np.int64)
        weeks = count // len(slots) + 3
        _check_reach(last, weeks, WEEK)
        monday = (last - _MONDAY) // WEEK * WEEK + _MONDAY
        stamps = (monday + WEEK * np.arange(weeks, dtype=np.int64)[:, None] + slots[None, :]).ravel()
        return stamps[stamps > last][:count], False


def trading_day(wall: Stamps) -> IntArray:
    """Day since 1970 that daily stamps belong to: stamps in the afternoon open the next day. [n]."""
    return np.asarray((wall + 12 * HOUR) // DAY, dtype=np.int64)


def week_slot(wall: Stamps) -> Stamps:
    """Nanoseconds after Monday's midnight of wall-clock stamps. [n]."""
    return np.asarray((wall - _MONDAY) % WEEK, dtype=np.int64)
