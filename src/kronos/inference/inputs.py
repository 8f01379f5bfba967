"""What callers may hand over, in the forms the predictor works with: named candles, and times of past and future."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from kronos.calendars import FutureTimes, future_times
from kronos.candles import Candles, split_long
from kronos.errors import CalendarError, DataError, ParameterError
from kronos.preprocessing import Timestamps, as_index

NamedCandles = Mapping[str, Candles | pd.DataFrame] | Sequence[Candles] | pd.DataFrame


def history_index(df: pd.DataFrame, x_timestamp: Timestamps | None) -> pd.DatetimeIndex:
    """The times of a history's rows: as given, the frame's index, or its column ``timestamps``.

    Raises:
        DataError: If something in them is no time.
        ParameterError: If there are none.
    """
    if x_timestamp is not None:
        return as_index(x_timestamp, "x_timestamp")
    if isinstance(df.index, pd.DatetimeIndex):
        return as_index(df.index, "The frame's index")
    if "timestamps" in df.columns:
        return as_index(df["timestamps"], "Column timestamps")
    raise ParameterError("The frame has no times; give x_timestamp, an index of times, or a column timestamps.")


def as_candles(candles: Candles | pd.DataFrame, name: str | None = None) -> Candles:
    """Candles, cleaned and named where a frame is given."""
    if isinstance(candles, Candles):
        return candles
    try:
        return Candles.from_frame(candles, symbol=name)
    except DataError as error:
        raise DataError(f"{name}: {error}" if name else str(error)) from error


def as_series(series: NamedCandles) -> list[tuple[str, Candles]]:
    """Names and candles, in the order given.

    Raises:
        DataError: If there are no series, or two of one name.
    """
    if isinstance(series, pd.DataFrame):
        named = list(split_long(series).items())
    elif isinstance(series, Mapping):
        named = [(str(name), as_candles(candles, str(name))) for name, candles in series.items()]
    else:
        if any(isinstance(candles, pd.DataFrame) for candles in series):
            raise DataError("Frames in a list have no names; give a dictionary by name, or Candles with symbols.")
        named = [(candles.symbol or "", candles) for candles in series]
    if not named:
        raise DataError("There are no series to forecast.")
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Several series are called '{twice[0]}'; give each its own symbol, or a dictionary by name.")
    return named


def resolve_future(name: str, history: Candles, horizon: int, times: pd.DatetimeIndex | None) -> FutureTimes:
    """Future times as the caller gave them, or as the calendar tells them.

    Args:
        name: Of the series, for errors.
        history: What they continue.
        horizon: How many.
        times: As given, or None.

    Raises:
        CalendarError: If the calendar can't tell them.
        ParameterError: If those given are of another number, timezone or order.
    """
    if times is None:
        try:
            return future_times(history.index, history.interval, horizon, history.calendar)
        except CalendarError as error:
            raise CalendarError(f"{name}: {error}" if name else str(error)) from error
    if len(times) != horizon:
        raise ParameterError(f"There are {len(times)} timestamps for a horizon of {horizon}; give one for each candle.")
    zone = history.index.tz
    if times.tz is None and zone is not None:
        try:
            times = times.tz_localize(zone)
        except ValueError as error:
            raise ParameterError(
                f"The timestamps have a time that {zone} skips or repeats; give them a timezone."
            ) from error
    elif zone is not None:
        times = times.tz_convert(zone)  # calendar features are read from the history's wall clock
    if (times.tz is None) != (zone is None):
        raise ParameterError("The timestamps have a timezone but the candles have none; give both one, or neither.")
    if not times.is_monotonic_increasing or not times.is_unique or times[0] <= history.end:
        raise ParameterError(f"The timestamps must increase, from after {history.end} on.")
    return FutureTimes(times, history.calendar or "given", "given", "Timestamps as given by the caller.")
