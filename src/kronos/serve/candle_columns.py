"""Candles in columns, as charts take them: epoch seconds and one list per channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kronos.calendars import future_times, infer_calendar
from kronos.candles import Candles
from kronos.errors import CalendarError
from kronos.typing import FloatArray

_PRICES = ("open", "high", "low", "close")
_SIGNIFICANT = 9  # digits; more are rounding errors of binary numbers
_RECENT = 2000  # candles that decide on the digits
_TOLERANCE = 1e-9


def epoch_seconds(index: pd.DatetimeIndex) -> list[int]:
    """Return times as whole seconds since 1970 in UTC; times without a timezone are counted as if they were UTC."""
    seconds: list[int] = (index.as_unit("ns").asi8 // 10**9).tolist()
    return seconds


def candle_columns(frame: pd.DataFrame, *, volume: bool) -> dict[str, Any]:
    """Return candles in columns.

    Args:
        frame: Candles, indexed by time. [n, ≥ 5]
        volume: Whether there is a volume.

    Returns:
        ``time`` (see `epoch_seconds`), ``open``, ``high``, ``low``, ``close`` and ``volume``, which may be None.
    """
    assert isinstance(frame.index, pd.DatetimeIndex)
    columns: dict[str, Any] = {"time": epoch_seconds(frame.index)}
    columns |= {name: frame[name].astype(float).tolist() for name in _PRICES}
    return columns | {"volume": frame["volume"].astype(float).tolist() if volume else None}


def price_digits(candles: Candles) -> int:
    """Return the digits after the decimal point that the latest prices are quoted with, from 0 to 10.

    Prices that were computed, and therefore have digits without end, get nine significant digits.
    """
    prices: FloatArray = candles.tail(_RECENT).frame[list(_PRICES)].to_numpy(dtype=np.float64).ravel()
    magnitude = int(np.floor(np.log10(np.median(prices))))
    longest = int(np.clip(_SIGNIFICANT - 1 - magnitude, 0, 10))
    for digits in range(longest):
        if np.all(np.abs(prices.round(digits) - prices) <= _TOLERANCE * prices):
            return digits
    return longest


def candle_page(candles: Candles, *, limit: int, before: int | None, ahead: int) -> dict[str, Any]:
    """Return the newest candles of a file that open before a time, with what a chart needs to continue them.

    Args:
        candles: The candles of the file.
        limit: Largest number of candles to return.
        before: Time of the first candle that is not returned, see `epoch_seconds`; None for the end of the file.
        ahead: Number of future times to return.
    """
    end = len(candles) if before is None else int(np.searchsorted(epoch_seconds(candles.index), before))
    part = candles.head(end).tail(limit)
    following = _following_times(candles, max(1, ahead))
    closes = None
    if candles.end.tz is not None and len(following):
        (closes,) = epoch_seconds(following[:1] + candles.interval.offset)
    return {
        "offset": end - len(part),
        "digits": price_digits(candles),
        "candles": candle_columns(part.frame, volume=candles.has_volume),
        "next": epoch_seconds(following[:ahead]),
        "next_close": closes,
    }


def _following_times(candles: Candles, horizon: int) -> pd.DatetimeIndex:
    """Return the times of the candles to come; empty if no calendar is given and the detected one ends before."""
    try:
        return future_times(candles.index, candles.interval, horizon, candles.calendar).times
    except CalendarError:
        if candles.calendar is not None:  # a name that does not exist, or does not suit the interval
            raise
        return candles.index[:0]


def calendar_of(candles: Candles) -> str:
    """Return the trading calendar of a file: the one given, or the one detected from its times."""
    return candles.calendar or infer_calendar(candles.index, candles.interval)
