"""Trading calendars and future timestamps: 24/7 markets, exchange sessions, night sessions, FX weeks, or a pattern."""

from kronos.calendars.detection import guess_calendar
from kronos.calendars.future import FutureTimes, future_times
from kronos.calendars.markets import MARKETS, market_of
from kronos.calendars.sessions import calendar_names

__all__ = ["MARKETS", "FutureTimes", "calendar_names", "future_times", "guess_calendar", "market_of"]
