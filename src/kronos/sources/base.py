"""Candle sources: two protocols, the page that a remote source answers with, and the base class of local sources.

- A `CandleSource` returns clean `Candles`. Local sources (files, Qlib, replay, simulation) implement it directly.
- A `PageSource` returns one page of rows at a time, as exchanges do. `CachedSource` turns it into a `CandleSource`
  that stores what it downloads.
- Times are UTC opening times, whatever convention the remote side uses. A candle is closed once its interval has
  passed on the source's own clock.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import pandas as pd

from kronos.candles import Candles, Finding
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message, truncate
from kronos.intervals import Interval

TICK = 1  # microsecond
SETTLE_DELAY = pd.Timedelta(seconds=2)  # an exchange may still change a candle this long after its close
_YEARS = range(1800, 2200)  # nanoseconds of these years, and of spans between them, fit into 64 bits


def to_utc(time: pd.Timestamp) -> pd.Timestamp:
    """Convert a time to UTC; a naive time is taken as UTC."""
    stamp = pd.Timestamp(time)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")


def to_micros(time: pd.Timestamp) -> int:
    """Microseconds since 1970 of a time."""
    return int(time.value) // 1_000  # `value` counts nanoseconds, whatever the unit of the timestamp


def from_micros(microseconds: int) -> pd.Timestamp:
    """UTC time of a number of microseconds since 1970."""
    return pd.Timestamp(microseconds, unit="us", tz="UTC")


def closing_time(opened: pd.Timestamp, interval: Interval) -> pd.Timestamp:
    """UTC closing time of a candle, given its opening time with its own timezone or none."""
    return to_utc(opened + interval.offset)


def normalize_symbol(symbol: str) -> str:
    """Drop separators and case: ``BTC-USDT``, ``btc/usdt`` and ``BTC_USDT`` all become ``btcusdt``."""
    return re.sub(r"[\s_./:\-]+", "", symbol).casefold()


def unknown_symbol(symbol: str, known: Iterable[str], source: str) -> ParameterError:
    """Error for a symbol that a source does not have; suggests the nearest one, or lists the first five."""
    names = {normalize_symbol(name): name for name in known}
    near = difflib.get_close_matches(normalize_symbol(symbol), names, n=1)
    if near:
        return ParameterError(f"{source} has no '{truncate(symbol)}'; did you mean {names[near[0]]}?")
    first = ", ".join(list(names.values())[:5]) + (" …" if len(names) > 5 else "")
    return ParameterError(f"{source} has no '{truncate(symbol)}'; it has {first or 'none'}.")


def unsupported_interval(symbol: str, interval: Interval, known: Iterable[Interval], source: str) -> ParameterError:
    """Error for an interval that a source does not have of an instrument; lists those it has."""
    available = ", ".join(map(str, known)) or "none"
    return ParameterError(f"{source} has no {interval} candles of {truncate(symbol)}; it has {available}.")


@dataclass(frozen=True, slots=True)
class CandleRange:
    """Which candles of a series are requested.

    Attributes:
        start: First opening time; None for the earliest. A naive time is UTC.
        end: End of the opening times, exclusive; None for no end.
        records: Maximum number of candles, the latest ones; None for all.
    """

    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    records: int | None = None

    def validate(self) -> None:
        """Reject ranges that cannot hold candles.

        Raises:
            ParameterError: If the end is not after the start, a time is missing or out of range, or ``records`` is
                below 2.
        """
        start, end = self.start, self.end
        for name, time in (("start", start), ("end", end)):
            if time is not None and pd.Timestamp(time).year not in _YEARS:
                raise ParameterError(f"Invalid {name} {time}: choose a time from {_YEARS[0]} to {_YEARS[-1]}.")
        if self.records is not None and self.records < 2:
            raise ParameterError(f"Invalid number of records {self.records}: choose at least 2.")
        if start is not None and end is not None and to_utc(end) <= to_utc(start):
            raise ParameterError(f"Invalid end {end}: choose a time after the start, {start}.")


def slice_request(candles: Candles, requested: CandleRange, source: str) -> Candles:
    """Return the requested part of a whole series, in a frame of its own.

    Args:
        candles: The whole series.
        requested: Range and number of candles.
        source: Name of the source in messages.

    Raises:
        ParameterError: If the range cannot hold candles.
        DataError: If there are no candles in it.
    """
    requested.validate()
    start, end = (None if time is None else _in_timezone(candles, time) for time in (requested.start, requested.end))
    index = candles.index.as_unit("ns")  # pandas cannot search an index for a time of a finer unit
    first = 0 if start is None else int(index.searchsorted(start))
    last = len(candles) if end is None else int(index.searchsorted(end))
    if requested.records is not None:
        first = max(first, last - requested.records)
    if first >= last:
        available = f"{candles.start} … {candles.end}" if len(candles) else "none at all"
        raise DataError(
            f"{source} has no {candles.interval} candles of {candles.symbol} in that range; it has {available}."
        )
    short = _shortfall(candles, start, requested.records, last - first, source)
    return replace(candles, frame=candles.frame.iloc[first:last].copy(), findings=(*short, *candles.findings))


def _shortfall(
    candles: Candles, start: pd.Timestamp | None, records: int | None, count: int, source: str
) -> tuple[Finding, ...]:
    """Finding about a history that is shorter than requested, if it is."""
    if records is not None and count < records:
        message = Message(
            "source-short",
            "{source} has {count} of the {records} requested {interval} candles of {symbol}.",
            source=source,
            count=f"{count:,}",
            records=f"{records:,}",
            interval=f"{candles.interval}",
            symbol=f"{candles.symbol}",
        )
        return (Finding("short-history", "warning", message, (), records - count),)
    if records is None and start is not None and start < candles.start:
        message = Message(
            "source-begins",
            "{source} has no {interval} candles of {symbol} before {start}.",
            source=source,
            interval=f"{candles.interval}",
            symbol=f"{candles.symbol}",
            start=f"{candles.start}",
        )
        return (Finding("short-history", "info", message),)
    return ()


def _in_timezone(candles: Candles, time: pd.Timestamp) -> pd.Timestamp:
    zone = candles.index.tz
    return to_utc(time).tz_localize(None) if zone is None else to_utc(time).tz_convert(zone)


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Rows of one request to a remote source.

    Attributes:
        frame: Columns open, high, low, close, volume, amount (NaN if unknown), indexed by UTC opening time. Rows may be
            unordered or duplicated and include the forming candle.
        until: The page is complete for opening times before this; the next request starts here.
    """

    frame: pd.DataFrame
    until: pd.Timestamp


class PageSource(Protocol):
    """A remote source that is read page by page. Implementations retry requests that fail for a while."""

    @property
    def name(self) -> str:
        """Name of the source, also its folder in the cache: ``binance``."""
        ...

    def now(self) -> pd.Timestamp:
        """UTC time on the source's clock if it has one, else on this machine's."""
        ...

    def resolve(self, symbol: str) -> str:
        """Resolve a symbol in any notation (``BTC-USDT``, ``btcusdt``) to the source's own name.

        Raises:
            ParameterError: If the source does not have the instrument; suggests the nearest.
            SourceError: If the source cannot be reached.
        """
        ...

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Supported intervals of an instrument, ascending."""
        ...

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Return the rows that open in [start, end), or the first part of them.

        Args:
            symbol: Name of the instrument, from `resolve`.
            interval: One of `intervals`.
            start: First opening time, UTC.
            end: End of the opening times, UTC, exclusive; later than ``start``.

        Raises:
            SourceError: If the source cannot be reached, or its answer is unusable.
        """
        ...


@runtime_checkable
class CandleSource(Protocol):
    """A source of closed candles."""

    @property
    def name(self) -> str:
        """Name of the source."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether any of its candles are simulated; each `Candles` object is labelled too."""
        ...

    def now(self) -> pd.Timestamp:
        """UTC time on the source's clock. A replay's clock shows the time it replays."""
        ...

    def intervals(self, symbol: str) -> tuple[Interval, ...] | None:
        """Supported intervals of an instrument, ascending; None if any interval is supported.

        Raises:
            ParameterError: If the source does not have the instrument; suggests the nearest.
        """
        ...

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """Return closed candles, oldest first.

        Args:
            symbol: The instrument, in any usual notation.
            interval: Length of the candles.
            start: First opening time; None for as early as ``records`` needs, or the earliest available.
            end: End of the opening times, exclusive; None for now.
            records: Maximum number of candles, the latest ones; None for all.

        Returns:
            The candles, with a ``short-history`` finding if there are fewer than requested.

        Raises:
            ParameterError: If the source does not have the instrument or the interval.
            SourceError: If the source cannot be reached.
            DataError: If there are no candles in that range.
        """
        ...


class LocalSource(ABC):
    """Base class of the `CandleSource` implementations that need no network.

    Attributes:
        name: Name of the source.
    """

    name: str

    @property
    @abstractmethod
    def simulated(self) -> bool:
        """Whether any of the candles are simulated."""

    @abstractmethod
    def now(self) -> pd.Timestamp:
        """UTC time on the source's clock."""

    @abstractmethod
    def intervals(self, symbol: str) -> tuple[Interval, ...] | None:
        """Supported intervals of an instrument, ascending; see `CandleSource.intervals`."""

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """Return closed candles, oldest first; see `CandleSource.candles`."""
        return self._select(symbol, interval, CandleRange(start, end, records))

    @abstractmethod
    def _select(self, symbol: str, interval: Interval, requested: CandleRange) -> Candles:
        """Return the requested candles; validates the range."""
