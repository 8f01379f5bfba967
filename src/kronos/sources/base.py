"""What a source of candles is: two protocols, and the page that travels between them.

- A `CandleSource` answers with clean `Candles`: local sources (files, Qlib, replay, simulation) are one by themselves.
- A `PageSource` is what an exchange offers: a page of rows at a time. `Downloads` turns it into a `CandleSource`
  that keeps what it fetched.
- Times are UTC and name the moment a candle opens, whatever the other side writes. A candle is closed once its
  interval has passed on the source's own clock.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import pandas as pd

from kronos.candles import Candles, Finding
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval

TICK = 1  # microsecond
_YEARS = range(1800, 2200)  # whose nanoseconds, and the spans between them, can be counted in 64 bits


def check_span(start: pd.Timestamp | None, end: pd.Timestamp | None, records: int | None) -> None:
    """Refuse spans that cannot hold candles.

    Raises:
        ParameterError: If the end is not after the start, one of them is no time or far off, or fewer than two candles
            are asked for.
    """
    for name, given in (("start", start), ("end", end)):
        if given is not None and pd.Timestamp(given).year not in _YEARS:
            raise ParameterError(f"The {name} {given} is out of range; take a time from {_YEARS[0]} to {_YEARS[-1]}.")
    if records is not None and records < 2:
        raise ParameterError(f"At least 2 records are needed, not {records}.")
    if start is not None and end is not None and utc(end) <= utc(start):
        raise ParameterError(f"The end {end} is not after the start {start}.")


def utc(time_: pd.Timestamp) -> pd.Timestamp:
    """A time in UTC; a naive one is taken to be UTC."""
    stamp = pd.Timestamp(time_)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")


def to_micros(time_: pd.Timestamp) -> int:
    """A time in microseconds since 1970."""
    return int(time_.value) // 1_000  # its value counts nanoseconds, whatever its unit


def from_micros(microseconds: int) -> pd.Timestamp:
    """A time from microseconds since 1970."""
    return pd.Timestamp(microseconds, unit="us", tz="UTC")


def plain(symbol: str) -> str:
    """A symbol as it is compared: ``BTC-USDT``, ``btc/usdt`` and ``BTC_USDT`` are ``btcusdt``."""
    return re.sub(r"[\s_./:\-]+", "", symbol).casefold()


def unknown_symbol(symbol: str, known: Iterable[str], where: str) -> ParameterError:
    """The error of a symbol that a source does not have, naming the nearest, or else some."""
    names = {plain(name): name for name in known}
    near = difflib.get_close_matches(plain(symbol), names, n=1)
    if near:
        return ParameterError(f"{where} has no '{truncate(symbol)}'; did you mean {names[near[0]]}?")
    listed = ", ".join(list(names.values())[:5]) + (" …" if len(names) > 5 else "")
    return ParameterError(f"{where} has no '{truncate(symbol)}'; it has {listed or 'none'}.")


def no_interval(symbol: str, interval: Interval, known: Iterable[Interval], where: str) -> ParameterError:
    """The error of an interval that a source does not have of an instrument."""
    listed = ", ".join(str(one) for one in known)
    return ParameterError(f"{where} has no {interval} candles of {truncate(symbol)}; it has {listed or 'none'}.")


def closing_time(opened: pd.Timestamp, interval: Interval) -> pd.Timestamp:
    """When a candle closes, UTC; its opening time is a wall clock or has a timezone."""
    return utc(opened + interval.offset)


def slice_request(
    candles: Candles,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    records: int | None,
    where: str,
) -> Candles:
    """The candles of a whole series that were asked for, in a frame of their own.

    Args:
        candles: All that the source has.
        start: First opening time, UTC; None for the earliest.
        end: Opening times from here on are not wanted, UTC; None for no end.
        records: At most so many, the latest; None for all.
        where: What the source is called in messages.

    Raises:
        ParameterError: If the span cannot hold candles.
        DataError: If there are none in it.
    """
    check_span(start, end, records)
    low, high = (None if time is None else _as_stamped(candles, time) for time in (start, end))
    index = candles.index.as_unit("ns")  # pandas looks for no time that is finer than what it looks in
    first = 0 if low is None else int(index.searchsorted(low))
    last = len(candles) if high is None else int(index.searchsorted(high))
    if records is not None:
        first = max(first, last - records)
    if first >= last:
        span = f"{candles.start} … {candles.end}" if len(candles) else "none at all"
        raise DataError(f"{where} has no {candles.interval} candles of {candles.symbol} in that time; it has {span}.")
    short = _short(candles, low, records, last - first, where)
    return replace(candles, frame=candles.frame.iloc[first:last].copy(), findings=(*short, *candles.findings))


def _short(
    candles: Candles, low: pd.Timestamp | None, records: int | None, count: int, where: str
) -> tuple[Finding, ...]:
    """A finding if there is less than asked for."""
    if records is not None and count < records:
        message = f"{where} has {count:,} of the {records:,} {candles.interval} candles of {candles.symbol} asked for."
        return (Finding("short-history", "warning", message, (), records - count),)
    if records is None and low is not None and low < candles.start:
        message = f"{where} has no {candles.interval} candles of {candles.symbol} before {candles.start}."
        return (Finding("short-history", "info", message),)
    return ()


def _as_stamped(candles: Candles, time: pd.Timestamp) -> pd.Timestamp:
    """A time in the candles' own terms."""
    zone = candles.index.tz
    return utc(time).tz_localize(None) if zone is None else utc(time).tz_convert(zone)


SETTLE = pd.Timedelta(seconds=2)  # how long after its close an exchange may still change a candle


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Rows that a source sent for one request.

    Attributes:
        frame: Columns open, high, low, close, volume, amount (NaN where not told) under a UTC index of opening times;
            in any order, doubled rows and the forming candle included.
        until: The request is answered for opening times before this: the next one begins here.
    """

    frame: pd.DataFrame
    until: pd.Timestamp


class PageSource(Protocol):
    """A remote source that answers in pages. Every request it makes is retried where that may help."""

    @property
    def name(self) -> str:
        """What it is called, and the first level of the store: ``binance``."""
        ...

    def now(self) -> pd.Timestamp:
        """The time on the source's own clock where it has one, else on this machine's; UTC."""
        ...

    def resolve(self, symbol: str) -> str:
        """The source's own name of an instrument, whatever the notation asked for (``BTC-USDT``, ``btcusdt``).

        Raises:
            ParameterError: If it has none, naming the nearest.
            SourceError: If it cannot be reached.
        """
        ...

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """The intervals it serves of an instrument, ascending."""
        ...

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Rows that open in [start, end), or the first part of them.

        Args:
            symbol: As `resolve` gave it.
            interval: One of `intervals`.
            start: First opening time wanted, UTC.
            end: Opening times from here on are not wanted, UTC; later than ``start``.

        Raises:
            SourceError: If it cannot be reached, or answers nonsense.
        """
        ...


@runtime_checkable
class CandleSource(Protocol):
    """Where candles come from."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether its candles are invented; the `Candles` it gives say so too."""
        ...

    def now(self) -> pd.Timestamp:
        """The time on the source's clock; UTC. A replay's clock shows the time it replays."""
        ...

    def intervals(self, symbol: str) -> tuple[Interval, ...] | None:
        """The intervals it serves of an instrument, ascending; None if any.

        Raises:
            ParameterError: If it does not have the instrument, naming the nearest.
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
        """Closed candles, oldest first.

        Args:
            symbol: The instrument, in any usual notation.
            interval: The candles' length.
            start: First opening time; None for as early as ``records`` asks, or as there is.
            end: Opening times from here on are not wanted; None for now.
            records: At most so many, the latest; None for all.

        Returns:
            The candles. Where there are fewer than asked for, a finding with code ``short-history`` says so.

        Raises:
            ParameterError: If it does not have the instrument or the interval.
            SourceError: If it cannot be reached.
            DataError: If there are no candles at all in that span.
        """
        ...
