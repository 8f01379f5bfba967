"""Trading calendars and future timestamps: 24/7 markets, exchange and night sessions, FX weeks, inferred patterns."""

from kronos.calendars.detection import infer_calendar
from kronos.calendars.future import MARKETS, FutureTimes, future_times, market_of
from kronos.calendars.market_clock import MarketClock, market_clock
from kronos.calendars.sessions import calendar_names

__all__ = [
    "MARKETS",
    "FutureTimes",
    "MarketClock",
    "calendar_names",
    "future_times",
    "infer_calendar",
    "market_clock",
    "market_of",
]
