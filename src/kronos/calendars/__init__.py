"""Future timestamps: 24/7 markets, exchange sessions, Chinese futures' nights, FX weeks, or a history's own pattern."""

from kronos.calendars.future import FutureTimes, future_times
from kronos.calendars.guess import guess_calendar
from kronos.calendars.names import calendar_names

__all__ = ["FutureTimes", "calendar_names", "future_times", "guess_calendar"]
