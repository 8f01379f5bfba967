"""Candles for local servers: random walks, aggregation to longer intervals, and the forming candle."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

COLUMNS = ["open", "high", "low", "close", "volume", "amount"]
_HOW = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "amount": "sum"}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_INTERVAL = re.compile(r"(\d+)(mo|[smhdw])")


def utc(time: str | pd.Timestamp) -> pd.Timestamp:
    """Convert a time to UTC; a naive one is UTC."""
    stamp = pd.Timestamp(time)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")


def millis(time: pd.Timestamp) -> int:
    """Milliseconds since 1970."""
    return int(time.value) // 1_000_000


def walk(start: str, count: int, step: str = "1h", *, seed: int = 0, price: float = 100.0) -> pd.DataFrame:
    """Valid candles [count, 6] from ``start`` on, with decimals that survive serialization exactly."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, 0.005, count)))
    open_ = np.concatenate([[price], close[:-1]])
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.002, count)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.002, count)))
    volume = rng.lognormal(3, 1, count)
    columns = [open_, high, low, close, volume, volume * (open_ + close) / 2]
    index = pd.date_range(utc(start), periods=count, freq=length(step), name="timestamps")
    return pd.DataFrame(np.round(np.column_stack(columns), 5), columns=COLUMNS, index=index)


def length(interval: str) -> pd.Timedelta | pd.DateOffset:
    """Length of ``4h``, ``1w`` or ``1mo``.

    Raises:
        ValueError: If the text is not an interval.
    """
    count, unit = _parts(interval)
    return pd.DateOffset(months=count) if unit == "mo" else pd.Timedelta(seconds=count * _SECONDS[unit])


def _parts(interval: str) -> tuple[int, str]:
    match = _INTERVAL.fullmatch(interval)
    if match is None:
        raise ValueError(f"invalid interval: {interval}")
    return int(match[1]), match[2]


def openings(index: pd.DatetimeIndex, interval: str) -> pd.DatetimeIndex:
    """Opening times of the candles that these times belong to, on the UTC grid, with weeks from Mondays."""
    count, unit = _parts(interval)
    if unit == "mo":
        months = (index.year - 1970) * 12 + index.month - 1
        first = (months // count * count).to_numpy().astype("M8[M]")
        return pd.DatetimeIndex(first.astype("M8[ns]"), tz="UTC")
    step = count * _SECONDS[unit]
    monday = 4 * 86_400 if unit == "w" else 0  # 1970 began on a Thursday
    seconds = index.as_unit("s").asi8
    return pd.DatetimeIndex(((seconds - monday) // step * step + monday).astype("M8[s]"), tz="UTC").as_unit("ns")


def aggregate(frame: pd.DataFrame, interval: str, *, shift_hours: int = 0) -> pd.DataFrame:
    """Aggregate to a longer interval, on a grid that is a number of hours ahead of UTC."""
    shift = pd.Timedelta(hours=shift_hours)
    opens = openings(frame.index + shift, interval) - shift
    whole = frame.groupby(opens).agg(_HOW).round(5)
    whole.index.name = "timestamps"
    return whole


def at(frame: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Base candles as of a time: none that opens later, and the last one partially formed."""
    shown = frame[frame.index <= now]
    step = pd.Timedelta(np.min(np.diff(frame.index))) if len(frame) > 1 else pd.Timedelta(hours=1)
    if not len(shown) or shown.index[-1] + step <= now:
        return shown
    done = (now - shown.index[-1]) / step
    last = shown.iloc[-1]
    forming = last["open"] + (last - last["open"]) * done
    forming[["volume", "amount"]] = last[["volume", "amount"]] * done
    return pd.concat([shown.iloc[:-1], forming.round(5).to_frame().T.set_axis(shown.index[-1:])])


def visible(frame: pd.DataFrame, interval: str, now: pd.Timestamp, *, shift_hours: int = 0) -> pd.DataFrame:
    """Candles that an exchange shows at a time: the closed ones, and the forming one at the end."""
    return aggregate(at(frame, now), interval, shift_hours=shift_hours)


def closed(frame: pd.DataFrame, interval: str, now: pd.Timestamp) -> pd.DataFrame:
    """Candles of an interval that are closed at a time: what a client should return."""
    shown = visible(frame, interval, now)
    return shown[shown.index + length(interval) <= now]
