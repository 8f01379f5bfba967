"""What callers may hand over, in the forms the predictor works with: named candles, and times of past and future."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from kronos.calendars import FutureTimes, future_times
from kronos.candles import Candles, split_long
from kronos.errors import DataError, ParameterError
from kronos.inference.normalising import Timestamps, as_index

Series = Mapping[str, Candles | pd.DataFrame] | Sequence[Candles] | pd.DataFrame


def history_index(df: pd.DataFrame, x_timestamp: Timestamps | None) -> pd.DatetimeIndex:
    """The times of a history's rows: as given, the frame's index, or its column ``timestamps``.

    Raises:
        DataError: If something in them is no time.
        ParameterError: If there are none.
    """
    if x_timestamp is not None:
        return as_index(x_timestamp, "x_timestamp")
    if isinstance(df.index, pd.DatetimeIndex):
        return df.index
    if "timestamps" in df.columns:
        return as_index(df["timestamps"], "Column timestamps")
    raise ParameterError("The frame has no times; give x_timestamp, an index of times, or a column timestamps.")


def as_candles(candles: Candles | pd.DataFrame) -> Candles:
    """Candles, cleaned where a frame is given."""
    return candles if isinstance(candles, Candles) else Candles.from_frame(candles)


def as_series(series: Series) -> list[tuple[str, Candles]]:
    """Names and candles, in the order given.

    Raises:
        DataError: If there are no series, or two of one name.
    """
    if isinstance(series, pd.DataFrame):
        named = list(split_long(series).items())
    elif isinstance(series, Mapping):
        named = [(str(name), as_candles(candles)) for name, candles in series.items()]
    else:
        named = [(candles.symbol or "", candles) for candles in series]
    if not named:
        raise DataError("There are no series to forecast.")
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Several series are called '{twice[0]}'; give each its own symbol, or a dictionary by name.")
    return named


def future(history: Candles, horizon: int, times: pd.DatetimeIndex | None) -> FutureTimes:
    """Future times as the caller gave them, or as the calendar tells them.

    Raises:
        ParameterError: If those given are of another number, timezone or order.
    """
    if times is None:
        return future_times(history.index, history.interval, horizon, history.calendar)
    if len(times) != horizon:
        raise ParameterError(f"There are {len(times)} timestamps for a horizon of {horizon}; give one for each candle.")
    if times.tz is None and history.index.tz is not None:
        times = times.tz_localize(history.index.tz)
    if (times.tz is None) != (history.index.tz is None):
        raise ParameterError("The timestamps have a timezone but the candles have none; give both one, or neither.")
    if not times.is_monotonic_increasing or not times.is_unique or times[0] <= history.end:
        raise ParameterError(f"The timestamps must increase, from after {history.end} on.")
    return FutureTimes(times, history.calendar or "given", "given", "Timestamps as given by the caller.")
