"""Markets to simulate: their calendars, their half-hours, and where candles begin.

Time is cut into half-hours of trading (`Grid`). A candle of half an hour or more is made of whole ones, which restart
with every session, after a lunch break too; days begin at the market's midnight, FX days at 17:00 New York the evening
before.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from kronos.calendars.sessions import ALWAYS, FX, schedule
from kronos.errors import ParameterError
from kronos.intervals import Interval
from kronos.typing import FloatArray, IntArray

BLOCK = 30  # minutes
CHUNK = 336  # blocks that are simulated together: a week that never closes
EPOCH = np.datetime64("2018-01-01")  # a Monday, so that the first week and the first month are whole
_DAY = 1_440
_MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Market:
    """When a kind of market trades, and what its instruments are like.

    Attributes:
        name: ``crypto``, ``ashare``, ``us`` or ``fx``.
        calendar: The calendar's name, such as ``XSHG``.
        zone: The timezone that its candles are told in.
        turn: When a trading day begins, in minutes after the midnight of its date.
        days: How many trading days a year has, about.
        minutes: How many minutes a trading day has.
        intervals: What is served, ascending.
        prices: Range of an instrument's usual price.
        volatility: Range of its volatility a year, as log-returns.
        turnover: Range of the money traded in an average minute; 0 if volume is not told.
        lot: Units that a lot holds; 0 if lots are a fraction of a unit, fitting the instrument.
        ticks: Digits after the point of a price; None fits them to the price.
        overnight: Share of an open hour's variance that an hour has in which the market is closed.
    """

    name: str
    calendar: str
    zone: str
    turn: int
    days: float
    minutes: int
    intervals: tuple[Interval, ...]
    prices: tuple[float, float]
    volatility: tuple[float, float]
    turnover: tuple[float, float]
    lot: int
    ticks: int | None
    overnight: float

    @property
    def daily(self) -> int:
        """Half-hours in a day."""
        return self.minutes // BLOCK

    @property
    def yearly(self) -> float:
        """Half-hours in a year."""
        return self.days * self.daily


def _intervals(text: str) -> tuple[Interval, ...]:
    return tuple(Interval.parse(one) for one in text.split())


_MINUTES = "1m 3m 5m 10m 15m 30m 1h 2h"
_DAYS = "1d 1w 1mo"
MARKETS = {
    market.name: market
    for market in (
        Market(
            name="crypto",
            calendar=ALWAYS,
            zone="UTC",
            turn=0,
            days=365.25,
            minutes=_DAY,
            intervals=_intervals(f"{_MINUTES} 4h 6h 8h 12h {_DAYS}"),
            prices=(0.03, 1_000.0),
            volatility=(0.5, 1.1),
            turnover=(1e4, 1e6),
            lot=0,
            ticks=None,
            overnight=0.0,
        ),
        Market(
            name="ashare",
            calendar="XSHG",
            zone="Asia/Shanghai",
            turn=0,
            days=243,
            minutes=240,
            intervals=_intervals(f"{_MINUTES} {_DAYS}"),
            prices=(4.0, 150.0),
            volatility=(0.22, 0.45),
            turnover=(1e5, 3e6),
            lot=100,
            ticks=2,
            overnight=0.03,
        ),
        Market(
            name="us",
            calendar="XNYS",
            zone="America/New_York",
            turn=0,
            days=251.5,
            minutes=390,
            intervals=_intervals(f"{_MINUTES} 4h {_DAYS}"),
            prices=(15.0, 600.0),
            volatility=(0.18, 0.5),
            turnover=(1e5, 1e7),
            lot=1,
            ticks=2,
            overnight=0.04,
        ),
        Market(
            name="fx",
            calendar=FX,
            zone="America/New_York",
            turn=-7 * 60,
            days=261,
            minutes=_DAY,
            intervals=_intervals(f"{_MINUTES} 4h 6h 8h 12h {_DAYS}"),
            prices=(0.6, 1.8),
            volatility=(0.06, 0.12),
            turnover=(0.0, 0.0),
            lot=1,
            ticks=None,
            overnight=0.05,
        ),
    )
}


def find_market(name: str) -> Market:
    """The market of a name.

    Raises:
        ParameterError: If there is none, naming the nearest.
    """
    found = MARKETS.get(str(name).strip().lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(str(name).lower(), MARKETS, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(MARKETS)}."
    raise ParameterError(f"There is no market '{name}' to simulate; {hint}")


@dataclass(frozen=True, slots=True, eq=False)
class TimeGrid:
    """Half-hours of trading since the epoch; times are minutes since 1970, UTC.

    Attributes:
        start: When each begins. [B]
        session: When its session began. [B]
        date: Its trading date, in days since 1970. [B]
        closed: Hours for which the market was closed before it. [B]
        clock: Volatility usual at its time of day, as a factor on variance with mean 1. [B]
    """

    start: IntArray
    session: IntArray
    date: IntArray
    closed: FloatArray
    clock: FloatArray


@lru_cache(maxsize=8)
def grid(market: Market, year: int) -> TimeGrid:
    """The half-hours of a market until after the end of a year, in whole chunks.

    A later year's grid begins with that of an earlier one.

    Raises:
        CalendarError: If the calendar does not reach so far.
    """
    last = np.datetime64(f"{year + 1}-12-31")
    wall, length, date, into = _sessions(market, last)
    opens = _utc(market.zone, wall)
    ends = opens + length
    count = length // BLOCK
    keep = int(count.sum()) // CHUNK * CHUNK
    first = np.repeat(np.cumsum(count) - count, count)[:keep]
    inside = (np.arange(keep, dtype=np.int64) - first) * BLOCK
    session = np.repeat(opens, count)[:keep]
    shut = np.concatenate([[0], opens[1:] - ends[:-1]])
    closed = np.where(inside == 0, np.repeat(shut, count)[:keep], 0) / 60
    position = np.repeat(into, count)[:keep] + inside
    days = np.repeat(date, count)[:keep]
    factor = _time_of_day(market, position, np.repeat(wall, count)[:keep] + inside)
    return TimeGrid(session + inside, session, days, closed, factor)


def _sessions(market: Market, last: np.datetime64) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Sessions in order: opening on the wall clock, length, trading date, and trading minutes of that day before it."""
    every = np.arange(EPOCH, last + 1).astype("datetime64[D]").astype(np.int64)
    if market.calendar in (ALWAYS, FX):
        days = every if market.calendar == ALWAYS else every[(every + 3) % 7 < 5]
        return days * _DAY + market.turn, np.full(len(days), _DAY), days, np.zeros(len(days))
    plan = schedule(market.calendar, EPOCH, last)
    parts = []
    for kind, hours in enumerate(plan.hours):
        wanted = (plan.kind == kind) & (plan.dates >= EPOCH) & (plan.dates <= last)
        days, into = plan.dates[wanted].astype(np.int64), 0
        for opens, closes in hours:
            length = (closes - opens) // _MINUTE_NS // BLOCK * BLOCK
            parts.append(np.stack([days * _DAY + opens // _MINUTE_NS, days * 0 + length, days, days * 0 + into]))
            into += length
    table = np.concatenate(parts, axis=1)
    wall, length, date, before = table[:, np.argsort(table[0], kind="stable")]
    return wall, length, date, before.astype(np.float64)


def _time_of_day(market: Market, position: FloatArray, wall: IntArray) -> FloatArray:
    """Usual variance by the time of day: a wave around the clock, or high at both ends of a session."""
    if market.calendar in (ALWAYS, FX):
        busiest, height = (15.0, 0.45) if market.calendar == ALWAYS else (9.5, 0.6)
        return np.asarray(1 + height * np.cos(2 * np.pi * (wall % _DAY / 60 - busiest) / 24))
    share = (position + BLOCK / 2) / market.minutes
    return np.asarray(0.6 + 1.2 * (2 * share - 1) ** 2)


def opens_of(market: Market, blocks: TimeGrid, interval: Interval) -> IntArray:
    """When the candle opens that each half-hour belongs to, minutes since 1970, never decreasing (shape [B]).

    Shorter candles than half an hour begin with it and within it.
    """
    if interval.intraday:
        step = max(BLOCK, interval.seconds // 60)
        return blocks.session + (blocks.start - blocks.session) // step * step
    if interval.unit == "d":
        first = blocks.date
    elif interval.unit == "w":
        first = (blocks.date + 3) // 7 * 7 - 3  # 1970-01-01 was a Thursday
    else:
        first = blocks.date.view("M8[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    dates, back = np.unique(first, return_inverse=True)
    return _utc(market.zone, dates * _DAY + market.turn)[back]


def _utc(zone: str, wall: IntArray) -> IntArray:
    """A wall clock's minutes as minutes since 1970, UTC; sessions never open in an hour that comes twice."""
    if zone == "UTC":
        return wall
    index = pd.DatetimeIndex(wall.view("M8[m]").astype("datetime64[s]")).tz_localize(zone)
    return np.asarray(index.as_unit("s").asi8 // 60, dtype=np.int64)


def index_of(market: Market, opens: IntArray) -> pd.DatetimeIndex:
    """Opening times in the market's timezone, in microseconds."""
    naive = pd.DatetimeIndex(opens.view("M8[m]").astype("datetime64[us]"), name="timestamps")
    return naive.tz_localize("UTC").tz_convert(market.zone)
