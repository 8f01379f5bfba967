"""What CoinGecko's numbers mean: rows as candles by their opening time, pairs as series; anything odd is refused."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, PRICES
from kronos.errors import SourceError
from kronos.intervals import Interval

# Answers are up to 15 minutes old, and a finished day shows 35 minutes later: until then the last candle may change.
_LAG, _DAILY_LAG = pd.Timedelta(minutes=20), pd.Timedelta(minutes=40)
_LATEST = 1e14  # milliseconds: far beyond any time that could be meant
_CHART_STEPS = (Interval(5, "m"), Interval(1, "h"), Interval(1, "d"))


def candle_rows(told: Any, interval: Interval, now: pd.Timestamp) -> pd.DataFrame:
    """CoinGecko's rows [milliseconds of the close, open, high, low, close] as candles by their opening time.

    Args:
        told: The rows, in any order; some may be doubled.
        interval: What was asked for.
        now: The time on CoinGecko's clock. Candles that closed too shortly before it may still change: left out.

    Returns:
        The columns of a `Page`, volume and amount NaN, in order, without rows between the grid's times.

    Raises:
        SourceError: If these are no such rows, or candles of another length.
    """
    table = _table(told, 1 + len(PRICES), "candles")
    table = table[np.isfinite(table).all(axis=1)]
    close = table[:, 0].astype(np.int64) // 1000
    _, first = np.unique(close, return_index=True)
    close, prices = close[first], table[first, 1:]
    obtained, on_grid = _spacing(close, interval.seconds)
    if obtained != interval.seconds:
        raise SourceError(
            f"CoinGecko answered with candles of {Interval.from_seconds(obtained)} where {interval} were asked for; "
            f"take another interval or span."
        )
    lag = _LAG if interval.intraday else _DAILY_LAG
    keep = on_grid & (close <= (now - lag).timestamp())
    frame = pd.DataFrame(np.nan, index=_moments(close[keep] - interval.seconds), columns=list(COLUMNS))
    frame[list(PRICES)] = prices[keep]
    return frame


def _spacing(close: np.ndarray, wanted: int) -> tuple[int, np.ndarray]:
    """Seconds between candles that close at these times (ascending, distinct), and which lie on their common grid."""
    if len(close) < 2:
        return wanted, close % wanted == 0
    offset = Counter((close % wanted).tolist()).most_common(1)[0][0]
    on_grid = close % wanted == offset
    steps = np.diff(close if on_grid[-1] else close[:-1])  # only the forming candle may be stamped with the moment
    if not len(steps):
        return wanted, on_grid
    usual = Counter(steps.tolist()).most_common(1)[0][0]
    # A coin that seldom trades leaves candles out, which makes steps longer but never shorter.
    return (wanted if int(np.gcd.reduce(steps)) == wanted else int(usual)), on_grid


def series(told: Any, name: str) -> pd.Series[float]:
    """Pairs [milliseconds, value] as a series by time."""
    table = _table(told, 2, name)
    series = pd.Series(table[:, 1], index=_moments(table[:, 0] / 1000), name=name, dtype=np.float64)
    return series[~series.index.duplicated(keep="last")].sort_index()


def chart_step(prices: pd.Series[float], coin: str) -> Interval:
    """What is nearest to the usual distance of a chart's moments."""
    if len(prices) < 2:
        raise SourceError(f"CoinGecko has fewer than two prices of {coin} in that time; ask for more days.")
    usual = float(np.median(np.diff(prices.index.to_numpy()) / np.timedelta64(1, "s")))
    return min(_CHART_STEPS, key=lambda step: abs(math.log(max(usual, 1) / step.seconds)))


def _table(told: Any, width: int, what: str) -> np.ndarray:
    """Rows of numbers as an array [rows, width], each with a time in milliseconds at its head."""
    refusal = SourceError(f"CoinGecko sent {what} that are not rows of {width} numbers with a time; try again later.")
    if not isinstance(told, list):
        raise refusal
    try:
        table = np.array(told, dtype=np.float64).reshape(-1, width)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal from error
    if len(table) != len(told) or not bool(((table[:, 0] > 0) & (table[:, 0] < _LATEST)).all()):
        raise refusal
    return table


def _moments(seconds: np.ndarray) -> pd.DatetimeIndex:
    """Seconds since 1970 as UTC times in microseconds."""
    stamps = np.asarray(np.asarray(seconds, dtype=np.float64) * 1e6, dtype="datetime64[us]")
    return pd.DatetimeIndex(stamps, tz="UTC", name="timestamps")


def numbers(row: object) -> dict[str, float]:
    """The finite numbers of a JSON object."""
    if not isinstance(row, dict):
        return {}
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
