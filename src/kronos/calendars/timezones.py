"""Between a history's stamps and a market's wall clock.

Markets are described in their own wall clock, as naive nanoseconds. A history may have a timezone, or be
naive, and naive stamps may mean the market's clock, UTC, or a broker's server clock; each possibility is
one `Clock`, and data decide.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

Stamps = npt.NDArray[np.int64]  # nanoseconds since 1970 of a naive wall clock
SECOND = 10**9
DAY = 86_400 * SECOND
NEW_YORK = "America/New_York"


@dataclass(frozen=True, slots=True)
class WallClock:
    """How stamps turn into a market's wall clock, and back.

    Attributes:
        index_zone: Timezone of the history's index; None if naive.
        source: Zone that naive stamps are meant in; None means that they already show the market's wall clock.
        market: The market's zone; None means that the history's own wall clock serves.
        shift_hours: Naive stamps run this far ahead of ``source`` (brokers' servers keep New York + 7).
        words: How to say it in a note.
    """

    index_zone: dt.tzinfo | None = None
    source: str | None = None
    market: str | None = None
    shift_hours: int = 0
    words: str = ""

    def to_wall(self, index: pd.DatetimeIndex) -> Stamps:
        """Stamps in the market's wall clock."""
        index = index.as_unit("ns")
        if self.index_zone is not None:
            return _stamps((index.tz_convert(self.market) if self.market else index).tz_localize(None))
        if self.source is None:
            return _stamps(index)
        moved = index - pd.Timedelta(hours=self.shift_hours)
        return _stamps(_localize(moved, self.source).tz_convert(self.market).tz_localize(None))

    def from_wall(self, wall: Stamps) -> pd.DatetimeIndex:
        """The market's wall clock in the history's own terms."""
        naive = pd.DatetimeIndex(wall.view("M8[ns]"))
        if self.index_zone is not None:
            zone = self.market if self.market else self.index_zone
            return _localize(naive, zone).tz_convert(self.index_zone)
        if self.source is None:
            return naive
        moved = _localize(naive, self.market or self.source).tz_convert(self.source).tz_localize(None)
        return moved + pd.Timedelta(hours=self.shift_hours)


def _stamps(naive: pd.DatetimeIndex) -> Stamps:
    return np.asarray(naive.as_unit("ns").asi8, dtype=np.int64)


def _localize(naive: pd.DatetimeIndex, zone: str | dt.tzinfo) -> pd.DatetimeIndex:
    # Of the hour that comes twice the first is meant; skipped clock times move to the next that exists.
    first = np.ones(len(naive), dtype=np.bool_)
    return naive.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")


def local_clock(index: pd.DatetimeIndex) -> WallClock:
    """The history's own wall clock."""
    return WallClock(index_zone=index.tz)


def readings(index: pd.DatetimeIndex, market: str) -> list[WallClock]:
    """The ways in which a history's stamps may be a market's wall clock, most plausible first."""
    if index.tz is not None:
        return [WallClock(index_zone=index.tz, market=market)]
    return [WallClock(market=market), WallClock(source="UTC", market=market, words="stamps read as UTC")]


def fx_readings(index: pd.DatetimeIndex) -> list[WallClock]:
    """Ways to read stamps of an FX week, which turns at 17:00 New York."""
    if index.tz is not None:
        return [WallClock(index_zone=index.tz, market=NEW_YORK)]
    return [
        WallClock(source="UTC", market=NEW_YORK, words="stamps read as UTC"),
        WallClock(market=NEW_YORK, words="stamps read as New York time"),
        WallClock(
            source=NEW_YORK,
            market=NEW_YORK,
            shift_hours=7,
            words="stamps read as a broker's New York + 7 hours",
        ),
    ]


def dates(wall: Stamps) -> npt.NDArray[np.datetime64]:
    """Calendar dates of wall-clock stamps."""
    return np.asarray(wall // DAY, dtype=np.int64).view("M8[D]")


def weekday(wall: Stamps) -> npt.NDArray[np.int64]:
    """0 is Monday; 1970-01-01 was a Thursday."""
    return np.asarray((wall // DAY + 3) % 7, dtype=np.int64)


def in_utc(clock: WallClock) -> WallClock:
    """The same reading of stamps, but with UTC for its wall clock."""
    if clock.index_zone is not None:
        return replace(clock, market="UTC")
    return replace(clock, source=clock.source or clock.market, market="UTC")


def utc_to_new_york(wall: Stamps) -> Stamps:
    """Naive UTC stamps as New York's wall clock shows them."""
    index = pd.DatetimeIndex(wall.view("M8[ns]")).tz_localize("UTC")
    return _stamps(index.tz_convert(NEW_YORK).tz_localize(None))
