"""From what a call names, a file or a symbol, to candles; and the cut of a replay."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from kronos.candles import Candles
from kronos.candles.findings import shown
from kronos.errors import ParameterError
from kronos.intervals import Interval
from kronos.serve.files import NotHere, ReadOptions

if TYPE_CHECKING:
    from kronos.mcp.desk import Desk

_USUAL = "1h"  # the interval of symbols where a call names none and the source has it
_MOST = 20_000  # candles of a symbol that one call fetches
_MOST_NAMES = 200  # of files that a wrong one is compared with
_HOLIDAYS = pd.Timedelta(days=10)  # that may lie between a time and the candles that follow it


@dataclass(frozen=True, slots=True)
class Series:
    """Which candles a call wants.

    Attributes:
        file: A name in the data folder; None for a symbol.
        symbol: An instrument of the source; None for a file.
        interval: A candle's length; None leaves it to the file, or takes an hour.
    """

    file: str | None
    symbol: str | None
    interval: str | None

    def check(self) -> None:
        """Refuse what says nothing, or two things.

        Raises:
            ParameterError: If not exactly one of file and symbol is named, or the interval is none.
        """
        if (self.file is None) == (self.symbol is None):
            raise ParameterError("Name either a file (list_candles tells which there are) or a symbol, and not both.")
        if self.interval is not None:
            Interval.parse(self.interval)


def read(desk: Desk, series: Series, records: int) -> Candles:
    """All candles of a file, or the latest of a symbol.

    Args:
        desk: Where they come from.
        series: Which.
        records: How many of a symbol, at most.

    Raises:
        KronosError: If they cannot be had.
    """
    if series.file is not None:
        return _of_file(desk, series.file, series.interval)
    interval = _interval(desk, series)
    return desk.source.candles(str(series.symbol), interval, records=min(records, _MOST))


def read_as_of(desk: Desk, series: Series, as_of: str, records: int, horizon: int) -> tuple[Candles, Candles]:
    """What was known at a time, and what came after.

    Args:
        desk: Where the candles come from.
        series: Which.
        as_of: The last time to be known.
        records: Candles of a symbol's history, at most.
        horizon: Candles that shall be revealed.

    Raises:
        ParameterError: If that is no time, or nothing lies before or after it.
        KronosError: If the candles cannot be had.
    """
    if series.file is not None:
        return _cut(_of_file(desk, series.file, series.interval), as_of)
    interval, time = _interval(desk, series), _time(as_of)
    ahead = 4 * horizon * interval.delta + _HOLIDAYS  # nights and weekends lie between a market's candles
    wanted = records + math.ceil(ahead / interval.delta)
    found = desk.source.candles(str(series.symbol), interval, end=time + ahead, records=min(wanted, _MOST))
    return _cut(found, as_of)


def _of_file(desk: Desk, name: str, interval: str | None) -> Candles:
    """A file's candles, called as the file is where nothing in it names them; the name keys the draws."""
    try:
        return desk.library.candles(name, ReadOptions(interval=interval))
    except NotHere:
        near = difflib.get_close_matches(name, [one.path for one in desk.library.files(_MOST_NAMES)], n=1)
        if not near:
            raise
        raise NotHere(f"There is no data file '{shown(name, 80)}'; did you mean {near[0]}?") from None


def _interval(desk: Desk, series: Series) -> Interval:
    """The length asked for, else an hour, else the shortest there is."""
    if series.interval is not None:
        return Interval.parse(series.interval).normalized()
    served = desk.source.intervals(str(series.symbol))
    usual = Interval.parse(_USUAL)
    return usual if served is None or usual in served else served[0]


def _time(text: str) -> pd.Timestamp:
    """A time as sources are asked for it: UTC."""
    try:
        time = pd.Timestamp(text)
    except (ValueError, TypeError, OverflowError):
        time = None
    if time is None or pd.isna(time):
        raise ParameterError(f"'{text[:40]}' is no time; write it like 2024-01-31 09:30.")
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _cut(candles: Candles, as_of: str) -> tuple[Candles, Candles]:
    """Hide what came after a time."""
    history = candles.until(as_of)
    actual = candles.tail(len(candles) - len(history))
    span = f"{candles.symbol} has candles from {candles.start} to {candles.end}"
    if not len(history):
        raise ParameterError(f"as_of {as_of[:40]} leaves no history: {span}.")
    if not len(actual):
        raise ParameterError(f"as_of {as_of[:40]} hides nothing: {span}; take an earlier time.")
    return history, actual
