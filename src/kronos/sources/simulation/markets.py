"""Simulated markets: their calendars, trading half-hours, and opening times of candles.

Trading time is divided into half-hour blocks (`TimeGrid`). Candles of half an hour or more consist of whole blocks,
counted from the start of each session, also after a lunch break. Days begin at the market's midnight, FX days at 17:00
New York time of the evening before.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from kronos.calendars.sessions import ALWAYS, FX, schedule
from kronos.errors import ParameterError
from kronos.formatting import join_names
from kronos.intervals import Interval
from kronos.typing import FloatArray, IntArray

BLOCK_MINUTES = 30  # minutes
CHUNK_BLOCKS = 336  # blocks whose minutes are simulated together: one week of a market that never closes
EPOCH = np.datetime64("2018-01-01")  # a Monday, so that the first week and the first month are whole
_DAY = 1_440
_MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Market:
    """Trading hours of a kind of market, and the ranges of its instruments' properties.

    Attributes:
        name: ``crypto``, ``ashare``, ``us`` or ``fx``.
        calendar: Name of the calendar, such as ``XSHG``.
        zone: Timezone of the candles.
        day_start: Start of a trading day, in minutes after the midnight of its date.
        days: Approximate number of trading days per year.
        minutes: Minutes per trading day.
        intervals: Supported intervals, ascending.
        prices: Range of the reference price.
        volatility: Range of the annual volatility of log-returns.
        turnover: Range of the money traded in an average minute; 0 if the market has no volume.
        lot: Units per lot; 0 if lots are a fraction of a unit that depends on the instrument.
        ticks: Decimals of a price; None if they depend on the price.
        overnight: Variance of an hour with the market closed, as a share of an open hour's.
    """

    name: str
    calendar: str
    zone: str
    day_start: int
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
    def blocks_per_day(self) -> int:
        """Half-hours per trading day."""
        return self.minutes // BLOCK_MINUTES

    @property
    def blocks_per_year(self) -> float:
        """Half-hours per year."""
        return self.days * self.blocks_per_day


def _intervals(text: str) -> tuple[Interval, ...]:
    return tuple(map(Interval.parse, text.split()))


_MINUTES = "1m 3m 5m 10m 15m 30m 1h 2h"
_DAYS = "1d 1w 1mo"
MARKETS = {
    market.name: market
    for market in (
        Market(
            name="crypto",
            calendar=ALWAYS,
            zone="UTC",
            day_start=0,
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
            day_start=0,
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
            day_start=0,
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
            day_start=-7 * 60,
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
    """Return a market by its name.

    Raises:
        ParameterError: If there is no such market; suggests the nearest.
    """
    found = MARKETS.get(str(name).strip().lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(str(name).lower(), MARKETS, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"choose {join_names(list(MARKETS), conjunction='or')}."
    raise ParameterError(f"There is no simulated market '{name}'; {hint}")


@dataclass(frozen=True, slots=True, eq=False)
class TimeGrid:
    """Half-hour blocks of trading since the epoch; times are minutes since 1970, UTC.

    Attributes:
        start: Start of each block. [B]
        session: Start of its session. [B]
        date: Its trading date, in days since 1970. [B]
        closed: Hours for which the market was closed before it. [B]
        time_of_day: Factor of the time of day on the variance, with mean 1. [B]
    """

    start: IntArray
    session: IntArray
    date: IntArray
    closed: FloatArray
    time_of_day: FloatArray


@lru_cache(maxsize=8)
def build_grid(market: Market, year: int) -> TimeGrid:
    """Build the grid of a market to beyond the end of a year, in whole chunks.

    The grid of a later year begins with that of an earlier one.

    Raises:
        CalendarError: If the calendar does not reach that far.
    """
    last = np.datetime64(f"{year + 1}-12-31")
    local, length, date, elapsed = _sessions(market, last)
    opens = _to_utc_minutes(market.zone, local)
    ends = opens + length
    count = length // BLOCK_MINUTES
    keep = int(count.sum()) // CHUNK_BLOCKS * CHUNK_BLOCKS
    first = np.repeat(np.cumsum(count) - count, count)[:keep]
    inside = (np.arange(keep, dtype=np.int64) - first) * BLOCK_MINUTES
    session = np.repeat(opens, count)[:keep]
    pauses = np.concatenate([[0], opens[1:] - ends[:-1]])
    closed = np.where(inside == 0, np.repeat(pauses, count)[:keep], 0) / 60
    position = np.repeat(elapsed, count)[:keep] + inside
    days = np.repeat(date, count)[:keep]
    factor = _time_of_day(market, position, np.repeat(local, count)[:keep] + inside)
    return TimeGrid(session + inside, session, days, closed, factor)


def _sessions(market: Market, last: np.datetime64) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Sessions in order: local opening time, length, trading date, and minutes of earlier sessions on that date."""
    dates = np.arange(EPOCH, last + 1).astype("datetime64[D]").astype(np.int64)
    if market.calendar in (ALWAYS, FX):
        days = dates if market.calendar == ALWAYS else dates[(dates + 3) % 7 < 5]
        return days * _DAY + market.day_start, np.full(len(days), _DAY), days, np.zeros(len(days))
    plan = schedule(market.calendar, EPOCH, last)
    parts = []
    for kind, hours in enumerate(plan.hours):
        selected = (plan.kind == kind) & (plan.dates >= EPOCH) & (plan.dates <= last)
        days, elapsed = plan.dates[selected].astype(np.int64), 0
        for opens, closes in hours:
            length = (closes - opens) // _MINUTE_NS // BLOCK_MINUTES * BLOCK_MINUTES
            parts.append(np.stack([days * _DAY + opens // _MINUTE_NS, days * 0 + length, days, days * 0 + elapsed]))
            elapsed += length
    table = np.concatenate(parts, axis=1)
    local, length, date, before = table[:, np.argsort(table[0], kind="stable")]
    return local, length, date, before.astype(np.float64)


def _time_of_day(market: Market, position: FloatArray, local: IntArray) -> FloatArray:
    """Factor on the variance by time of day: a daily wave, or high at both ends of the trading day."""
    if market.calendar in (ALWAYS, FX):
        busiest, height = (15.0, 0.45) if market.calendar == ALWAYS else (9.5, 0.6)
        return np.asarray(1 + height * np.cos(2 * np.pi * (local % _DAY / 60 - busiest) / 24))
    share = (position + BLOCK_MINUTES / 2) / market.minutes
    return np.asarray(0.6 + 1.2 * (2 * share - 1) ** 2)


def opening_minutes(market: Market, blocks: TimeGrid, interval: Interval) -> IntArray:
    """Opening time of the candle that each block belongs to, in minutes since 1970, non-decreasing [B].

    For intervals below half an hour it is the start of the block.
    """
    if interval.intraday:
        step = max(BLOCK_MINUTES, interval.seconds // 60)
        return blocks.session + (blocks.start - blocks.session) // step * step
    if interval.unit == "d":
        first = blocks.date
    elif interval.unit == "w":
        first = (blocks.date + 3) // 7 * 7 - 3  # 1970-01-01 was a Thursday
    else:
        first = blocks.date.view("M8[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    dates, back = np.unique(first, return_inverse=True)
    return _to_utc_minutes(market.zone, dates * _DAY + market.day_start)[back]


def _to_utc_minutes(zone: str, local: IntArray) -> IntArray:
    """Convert local minutes to UTC minutes since 1970; no session opens in an ambiguous hour."""
    if zone == "UTC":
        return local
    index = pd.DatetimeIndex(local.view("M8[m]").astype("datetime64[s]")).tz_localize(zone)
    return np.asarray(index.as_unit("s").asi8 // 60, dtype=np.int64)


def to_index(market: Market, opens: IntArray) -> pd.DatetimeIndex:
    """Opening times in the market's timezone, in microseconds."""
    naive = pd.DatetimeIndex(opens.view("M8[m]").astype("datetime64[us]"), name="timestamps")
    return naive.tz_localize("UTC").tz_convert(market.zone)
