"""What a source of candles is: two protocols, and the page that travels between them.

- A `CandleSource` answers with clean `Candles`: local sources (files, Qlib, replay, simulation) are one by themselves.
- A `PageSource` is what an exchange offers: a page of rows at a time. `Downloads` turns it into a `CandleSource`
  that keeps what it fetched.
- Times are UTC and name the moment a candle opens, whatever the other side writes. A candle is closed once its
  interval has passed on the source's own clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pandas as pd

from kronos.candles import Candles
from kronos.intervals import Interval

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
