"""A market in memory as a source of pages, to test downloads without HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.sources import Page

HOUR = Interval(1, "h")


def rows(index: pd.DatetimeIndex, seed: int = 0) -> pd.DataFrame:
    """Valid candles at these times; the candle of a time does not depend on the other times."""
    noise = np.array([np.random.default_rng([seed, stamp]).random(5) for stamp in index.as_unit("s").asi8.tolist()])
    noise = noise.reshape(-1, 5)
    prices = 100 + noise[:, :4] * 10
    high, low = prices.max(axis=1), prices.min(axis=1)
    columns = [prices[:, 0], high, low, prices[:, 3], noise[:, 4] * 50, noise[:, 4] * 5_000]
    return pd.DataFrame(np.column_stack(columns), columns=list(COLUMNS), index=index.rename("timestamps"))


@dataclass
class Market:
    """A `PageSource` of one instrument, ``BTC/USDT``.

    Attributes:
        frame: All candles, past and future.
        clock: Current time; candles that have opened are served, including the forming one.
        size: Rows per page.
        disorder: Seed for shuffled and duplicated rows, or None.
        breaks_after: Number of pages after which all requests fail.
    """

    frame: pd.DataFrame
    clock: pd.Timestamp
    interval: Interval = HOUR
    size: int = 100
    disorder: int | None = None
    breaks_after: int | None = None
    pages: int = field(default=0)

    name = "memory"

    def now(self) -> pd.Timestamp:
        return self.clock

    def resolve(self, symbol: str) -> str:
        if symbol.replace("-", "/").upper() != "BTC/USDT":
            raise ParameterError(f"memory has no {symbol}; did you mean BTC/USDT?")
        return "BTC/USDT"

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        return (self.interval,)

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        self.pages += 1
        if self.breaks_after is not None and self.pages > self.breaks_after:
            raise SourceError("memory could not be reached; check the network.")
        shown = self.frame[(self.frame.index >= start) & (self.frame.index <= self.clock)]
        page = shown.iloc[: self.size]
        until = page.index[-1] + self.interval.delta if len(shown) > self.size else end
        if self.disorder is not None and len(page):
            rng = np.random.default_rng([self.disorder, self.pages])
            order = np.concatenate([np.arange(len(page)), rng.integers(0, len(page), 7)])
            page = page.iloc[rng.permutation(order)]
        return Page(page, max(until, start + pd.Timedelta(microseconds=1)))


def hours(start: str, count: int) -> pd.DatetimeIndex:
    """A number of hours, UTC."""
    return pd.date_range(start, periods=count, freq="h", tz="UTC")
