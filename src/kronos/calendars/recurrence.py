"""Plans: what a market's next stamps are, given the last one. All in a wall clock, in nanoseconds.

`SessionPlan` steps through an exchange's bars, `WeekPlan` through an FX week, `DayPlan` and `PeriodPlan`
through days, weeks and months with or without an exchange's trading days, `PatternPlan` repeats a history's
own hours, `StepPlan` just adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from kronos.calendars.bar_grids import BarGrid, stamps
from kronos.calendars.sessions import LAST_YEAR, TradingSchedule, schedule
from kronos.calendars.timezones import DAY, Stamps, utc_to_new_york, weekday
from kronos.errors import CalendarError
from kronos.intervals import Interval

HOUR = DAY // 24
WEEK = 7 * DAY
_MONDAY = 4 * DAY  # 1970-01-05
_NEVER = np.iinfo(np.int64).min
_LIMIT = int(np.datetime64(f"{LAST_YEAR}-12-31", "ns").astype(np.int64))


class Recurrence(Protocol):
    """A market's rhythm."""

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """The next stamps after ``last``, and whether any lies beyond the published calendar.

        Raises:
            CalendarError: If they reach beyond 2200.
        """
        ...


def step_of(interval: Interval) -> int:
    """An interval's nominal length in nanoseconds."""
    return interval.seconds * 10**9


def _grow(produce: Callable[[int], Stamps], first_guess: int, count: int, last: int) -> Stamps:
    """Ask for ever longer spans until there are enough stamps."""
    span = max(first_guess, DAY)
    while True:
        if last + span > _LIMIT:
            span = max(DAY, _LIMIT - last)
        found = produce(span)
        if len(found) >= count:
            return found[:count]
        if last + span >= _LIMIT:
            raise CalendarError(f"The horizon of {count} steps reaches beyond {LAST_YEAR}; ask for fewer.")
        span *= 2


def check_reach(last: int, count: int, step: int) -> None:
    """Refuse horizons that end after 2200.

    Raises:
        CalendarError: If they do.
    """
    if last + count * step > _LIMIT:
        raise CalendarError(f"The horizon of {count} steps reaches beyond {LAST_YEAR}; ask for fewer.")


def _dates(plan: TradingSchedule, first: int, last: int) -> npt.NDArray[np.datetime64]:
    low, high = np.searchsorted(plan.dates, np.array([first // DAY, last // DAY + 1]).view("M8[D]"))
    return plan.dates[low:high]


def _day(wall: int) -> np.datetime64:
    return np.datetime64(int(wall // DAY), "D")


@dataclass(frozen=True, slots=True)
class StepRecurrence:
    """Every ``step`` nanoseconds, always."""

    step: int

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Plan`."""
        check_reach(last, count, self.step)
        return last + self.step * np.arange(1, count + 1, dtype=np.int64), False


@dataclass(frozen=True, slots=True)
class SessionRecurrence:
    """Bars within an exchange's sessions."""

    name: str
    step: int
    grid: BarGrid

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Plan`."""

        def produce(span: int) -> Stamps:
            return stamps(
                schedule(self.name, _day(last), _day(last + span)),
                self.step,
                self.grid,
                last + 1,
                last + span,
            )

        found = _grow(produce, (count * self.step // (3 * HOUR) + 12) * DAY, count, last)
        return found, _beyond(self.name, found, last)


def _beyond(name: str, found: Stamps, last: int) -> bool:
    final = int(found[-1])
    return bool(_day(final) > schedule(name, _day(last), _day(final)).published)


@dataclass(frozen=True, slots=True)
class DayRecurrence:
    """Every ``every``-th trading day at one clock time.

    Attributes:
        name: Calendar whose trading days count; None takes ``weekdays``.
        every: Days from bar to bar.
        clock: Nanoseconds after midnight.
        weekdays: Days of the week that trade, when there is no calendar.
    """

    name: str | None
    every: int
    clock: int
    weekdays: tuple[int, ...] = tuple(range(7))

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Plan`."""
        name = self.name

        def produce(span: int) -> Stamps:
            if name is not None:
                plan = schedule(name, _day(last), _day(last + span))
                midnight = _dates(plan, last, last + span).astype("datetime64[ns]").astype(np.int64)
            else:
                midnight = (last // DAY + np.arange(span // DAY + 1, dtype=np.int64)) * DAY
                midnight = midnight[np.isin(weekday(midnight), self.weekdays)]
            later = midnight[midnight // DAY > last // DAY]
            return np.asarray((later + self.clock)[self.every - 1 :: self.every], dtype=np.int64)

        found = _grow(produce, (count * self.every * 2 + 14) * DAY, count, last)
        return found, name is not None and _beyond(name, found, last)


Anchor = Literal["fixed", "first-session", "last-session", "month-end"]


@dataclass(frozen=True, slots=True)
class PeriodRecurrence:
    """Weeks or months.

    Attributes:
        name: Calendar for the session anchors; None without.
        unit: ``w`` or ``mo``.
        every: Periods from bar to bar.
        anchor: Where in its period a bar is stamped.
        day: For ``fixed``: the weekday (0 is Monday), or the day of the month from 1.
        clock: Nanoseconds after midnight.
    """

    name: str | None
    unit: Literal["w", "mo"]
    every: int
    anchor: Anchor
    day: int
    clock: int

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Plan`."""
        check_reach(last, (count + count // 8 + 6) * self.every, WEEK if self.unit == "w" else 31 * DAY)
        period = int(self.period(np.array([last], dtype=np.int64))[0])
        # Some to spare: weeks without a session, as in the Spring Festival, have no stamp.
        wanted = period + self.every * np.arange(1, count + count // 8 + 6, dtype=np.int64)
        found = self.stamp(wanted)
        found = found[found > last][:count]
        return found, self.name is not None and self.anchor.endswith("session") and _beyond(self.name, found, last)

    def period(self, wall: Stamps) -> npt.NDArray[np.int64]:
        """Weeks (from Monday) or months since 1970 of wall-clock stamps."""
        if self.unit == "w":
            return np.asarray((wall - _MONDAY) // WEEK, dtype=np.int64)
        return (wall // DAY).view("M8[D]").astype("datetime64[M]").astype(np.int64)

    def bounds(self, period: npt.NDArray[np.int64]) -> tuple[Stamps, Stamps]:
        """Midnights of the first and the last day of periods."""
        if self.unit == "w":
            first = period * WEEK + _MONDAY
            return first, first + 6 * DAY
        months = period.view("M8[M]")
        first = months.astype("datetime64[ns]").astype(np.int64)
        last = (months + np.timedelta64(1, "M")).astype("datetime64[ns]").astype(np.int64) - DAY
        return first, last

    def stamp(self, period: npt.NDArray[np.int64]) -> Stamps:
        """The stamp of each period; the earliest of all integers for a period without a session."""
        first, last = self.bounds(period)
        if self.anchor == "month-end":
            return last + self.clock
        if self.anchor == "fixed" or self.name is None:
            offset = self.day if self.unit == "w" else self.day - 1
            return np.minimum(first + offset * DAY, last) + self.clock
        plan = schedule(self.name, _day(int(first[0])), _day(int(last[-1])))
        days = plan.dates.astype("datetime64[ns]").astype(np.int64)
        if self.anchor == "first-session":
            at = np.minimum(np.searchsorted(days, first), len(days) - 1)
            return np.where(days[at] <= last, days[at] + self.clock, _NEVER)
        at = np.maximum(np.searchsorted(days, last, side="right") - 1, 0)
        return np.where(days[at] >= first, days[at] + self.clock, _NEVER)


@dataclass(frozen=True, slots=True)
class WeekRecurrence:
    """A market open from Sunday to Friday 17:00 New York, as FX is.

    Attributes:
        step: The interval, nanoseconds.
        side: Whether bars are stamped at their start or their end.
        pause: Whether there is an hour's pause from 17:00 each day, as metals have.
        utc: Whether the wall clock that stamps are told in is UTC rather than New York's.
    """

    step: int
    side: Literal["start", "end"]
    pause: bool = False
    utc: bool = False

    def open_at(self, wall: Stamps) -> npt.NDArray[np.bool_]:
        """Whether the bar of a stamp overlaps the market's open hours."""
        begin = wall if self.side == "start" else wall - self.step
        begin = utc_to_new_york(begin) if self.utc else begin
        clock = begin - _MONDAY + 7 * HOUR  # days that turn at 17:00, Sunday evening being Monday
        into_day, day = clock % DAY, clock // DAY % 7
        closed_until = np.where(day == 5, 2 * DAY, np.where(day == 6, DAY, 0))
        if self.pause:
            # The pause opens each day; after the weekend it has passed, too.
            closed_until = np.where(closed_until > 0, closed_until + HOUR, np.where(into_day < HOUR, HOUR, 0))
        return np.asarray(into_day + self.step > closed_until, dtype=np.bool_)

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Plan`."""

        def produce(span: int) -> Stamps:
            every = np.arange(last + self.step, last + span + 1, self.step, dtype=np.int64)
            return every[self.open_at(every)]

        return _grow(produce, (count + 4) * self.step * 3 // 2 + 4 * DAY, count, last), False


@dataclass(frozen=True, slots=True)
class PatternRecurrence:
    """The times within the week at which a history has bars.

    Attributes:
        slots: Nanoseconds after Monday's midnight, increasing; at least one.
    """

    slots: tuple[int, ...]

    def after(self, last: int, count: int) -> tuple[Stamps, bool]:
        """See `Plan`."""
        slots = np.array(self.slots, dtype=np.int64)
        weeks = count // len(slots) + 3
        check_reach(last, weeks, WEEK)
        monday = (last - _MONDAY) // WEEK * WEEK + _MONDAY
        every = (monday + WEEK * np.arange(weeks, dtype=np.int64)[:, None] + slots[None, :]).ravel()
        return every[every > last][:count], False


def week_slot(wall: Stamps) -> Stamps:
    """Nanoseconds since Monday's midnight."""
    return np.asarray((wall - _MONDAY) % WEEK, dtype=np.int64)
