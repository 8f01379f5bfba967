"""Conversion between the times of a history and a market's wall clock.

Markets are described by their wall clock, in nanoseconds without timezone. The times of a history may have a timezone
or be naive; naive ones may be the market's clock, UTC, or the clock of a broker's server. Each possibility is a
`WallClock`, and the one that fits the history best is used.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kronos.typing import IntArray

Stamps = IntArray  # nanoseconds since 1970 of a wall clock, without timezone
SECOND = 10**9
DAY = 86_400 * SECOND
NEW_YORK = "America/New_York"


@dataclass(frozen=True, slots=True)
class WallClock:
    """Conversion of times to a market's wall clock and back.

    Attributes:
        index_zone: Timezone of the history's index; None if naive.
        source: Timezone of naive times; None if they are the market's wall clock.
        market: Timezone of the market; None for the history's own wall clock.
        shift_hours: Hours by which naive times are ahead of ``source`` (servers of brokers use New York + 7 hours).
        note: Description for people; empty for the usual case.
    """

    index_zone: dt.tzinfo | None = None
    source: str | None = None
    market: str | None = None
    shift_hours: int = 0
    note: str = ""

    def to_wall(self, index: pd.DatetimeIndex) -> Stamps:
        """Convert times to the market's wall clock."""
        index = index.as_unit("ns")
        if self.index_zone is not None:
            return _stamps((index.tz_convert(self.market) if self.market else index).tz_localize(None))
        if self.source is None:
            return _stamps(index)
        shifted = index - pd.Timedelta(hours=self.shift_hours)
        return _stamps(_localize(shifted, self.source).tz_convert(self.market).tz_localize(None))

    def from_wall(self, wall: Stamps) -> pd.DatetimeIndex:
        """Convert wall-clock stamps to times as the history has them."""
        naive = pd.DatetimeIndex(wall.view("M8[ns]"))
        if self.index_zone is not None:
            zone = self.market if self.market else self.index_zone
            return _localize(naive, zone).tz_convert(self.index_zone)
        if self.source is None:
            return naive
        shifted = _localize(naive, self.market or self.source).tz_convert(self.source).tz_localize(None)
        return shifted + pd.Timedelta(hours=self.shift_hours)


def _stamps(naive: pd.DatetimeIndex) -> Stamps:
    return np.asarray(naive.as_unit("ns").asi8, dtype=np.int64)


def _localize(naive: pd.DatetimeIndex, zone: str | dt.tzinfo) -> pd.DatetimeIndex:
    # Repeated times mean the first occurrence; skipped times move to the next existing one.
    first = np.ones(len(naive), dtype=np.bool_)
    return naive.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")


def local_clock(index: pd.DatetimeIndex) -> WallClock:
    """The wall clock of the history's own index."""
    return WallClock(index_zone=index.tz)


def clock_candidates(index: pd.DatetimeIndex, market: str) -> list[WallClock]:
    """Possible meanings of a history's times in a market, most plausible first."""
    if index.tz is not None:
        return [WallClock(index_zone=index.tz, market=market)]
    return [WallClock(market=market), WallClock(source="UTC", market=market, note="times read as UTC")]


def fx_clock_candidates(index: pd.DatetimeIndex) -> list[WallClock]:
    """Possible meanings of a history's times in FX, whose week begins and ends at 17:00 New York."""
    if index.tz is not None:
        return [WallClock(index_zone=index.tz, market=NEW_YORK)]
    return [
        WallClock(source="UTC", market=NEW_YORK, note="times read as UTC"),
        WallClock(market=NEW_YORK, note="times read as New York time"),
        WallClock(source=NEW_YORK, market=NEW_YORK, shift_hours=7, note="times read as a broker's New York + 7 hours"),
    ]


def weekday(wall: Stamps) -> IntArray:
    """Weekdays of wall-clock stamps, Monday being 0. [n]."""
    return np.asarray((wall // DAY + 3) % 7, dtype=np.int64)  # 1970-01-01 was a Thursday


def to_utc_clock(clock: WallClock) -> WallClock:
    """The same clock with UTC as the market's timezone."""
    if clock.index_zone is not None:
        return replace(clock, market="UTC")
    return replace(clock, source=clock.source or clock.market, market="UTC")


def utc_to_new_york(wall: Stamps) -> Stamps:
    """Convert naive UTC stamps to New York's wall clock."""
    index = pd.DatetimeIndex(wall.view("M8[ns]")).tz_localize("UTC")
    return _stamps(index.tz_convert(NEW_YORK).tz_localize(None))
