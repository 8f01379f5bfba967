"""Conversion of a caller's candles and timestamps to what the predictor works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from kronos.calendars import FutureTimes, future_times
from kronos.candles import Candles, split_long
from kronos.errors import CalendarError, DataError, ParameterError
from kronos.preprocessing import Timestamps, as_index

NamedCandles = Mapping[str, Candles | pd.DataFrame] | Sequence[Candles] | pd.DataFrame


def history_index(df: pd.DataFrame, x_timestamp: Timestamps | None) -> pd.DatetimeIndex:
    """Timestamps of a history's rows: the given ones, else the frame's index, else its column ``timestamps``.

    Raises:
        DataError: If a value is not a timestamp.
        ParameterError: If there are no timestamps.
    """
    if x_timestamp is not None:
        return as_index(x_timestamp, "x_timestamp")
    if isinstance(df.index, pd.DatetimeIndex):
        return as_index(df.index, "The frame's index")
    if "timestamps" in df.columns:
        return as_index(df["timestamps"], "Column timestamps")
    raise ParameterError("The frame has no timestamps: pass x_timestamp, a DatetimeIndex or a column timestamps.")


def as_candles(candles: Candles | pd.DataFrame, name: str | None = None) -> Candles:
    """Candles as they are; a frame cleaned, with ``name`` as its symbol."""
    if isinstance(candles, Candles):
        return candles
    try:
        return Candles.from_frame(candles, symbol=name)
    except DataError as error:
        raise DataError(f"{name}: {error}" if name else str(error)) from error


def as_series(series: NamedCandles) -> list[tuple[str, Candles]]:
    """Names and candles of several series, in the order given.

    Raises:
        DataError: If there are no series, or two have the same name.
    """
    if isinstance(series, pd.DataFrame):
        named = list(split_long(series).items())
    elif isinstance(series, Mapping):
        named = [(str(name), as_candles(candles, str(name))) for name, candles in series.items()]
    else:
        if any(isinstance(candles, pd.DataFrame) for candles in series):
            raise DataError("Frames in a list have no names: pass a dictionary by name, or Candles with symbols.")
        named = [(candles.symbol or "", candles) for candles in series]
    if not named:
        raise DataError("There are no series to forecast.")
    names = [name for name, _ in named]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"Several series are named '{repeated[0]}': set distinct symbols, or pass a dictionary.")
    return named


def resolve_future(name: str, history: Candles, horizon: int, times: pd.DatetimeIndex | None) -> FutureTimes:
    """Timestamps of the forecast: the caller's, else those that the calendar predicts.

    Args:
        name: Name of the series, for messages.
        history: The candles to continue.
        horizon: Number of timestamps.
        times: The caller's timestamps, or None.

    Raises:
        CalendarError: If the calendar cannot predict them.
        ParameterError: If the caller's have another number, timezone or order.
    """
    if times is None:
        try:
            return future_times(history.index, history.interval, horizon, history.calendar)
        except CalendarError as error:
            raise CalendarError(f"{name}: {error}" if name else str(error)) from error
    if len(times) != horizon:
        raise ParameterError(f"There are {len(times)} timestamps for a horizon of {horizon}: pass one per candle.")
    zone = history.index.tz
    if times.tz is None and zone is not None:
        try:
            times = times.tz_localize(zone)
        except ValueError as error:
            raise ParameterError(
                f"A timestamp is skipped or repeated in {zone} by daylight saving time: pass times with a timezone."
            ) from error
    elif zone is not None:
        times = times.tz_convert(zone)  # calendar features are read from the history's wall clock
    if (times.tz is None) != (zone is None):
        raise ParameterError("The timestamps have a timezone, the candles have none: give both a timezone, or neither.")
    if not times.is_monotonic_increasing or not times.is_unique or times[0] <= history.end:
        raise ParameterError(f"The timestamps must increase and begin after {history.end}.")
    return FutureTimes(times, history.calendar or "given", "given", "Timestamps as given by the caller.")
