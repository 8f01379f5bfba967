"""Normalised candles and calendar features: the networks' inputs, and the way back to prices.

- Candles are normalised by statistics of the history only; see `kronos.normalisation`.
- Calendar features are read from the clock of the market, however the timestamps are written: exchange-local for
  exchanges, UTC for crypto and FX; see `kronos.calendars.market_clock`.
- `prepare_published` reproduces the published pre-processing to the last digit: float32 throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.calendars import FutureTimes, future_times, market_clock
from kronos.candles import COLUMNS, PRICES, Candles, split_long
from kronos.errors import CalendarError, DataError, KronosError, ParameterError
from kronos.formatting import truncate
from kronos.normalisation import Floats, Scaler, normalise, published_scale
from kronos.zoo import Normalisation

_SERIES_COLUMNS = ("unique_id", "symbol", "ticker", "code", "instrument")  # of long frames
TIME_COLUMNS = ("minute", "hour", "weekday", "day", "month")

Timestamps = pd.Series | pd.DatetimeIndex | NDArray[Any] | Sequence[Any]


@dataclass(frozen=True)
class ModelInput:
    """One series as the networks read it.

    Attributes:
        x: Normalised candles ``[T, 6]`` float32.
        x_stamp: Calendar features of the history ``[T, 5]`` int64: minute, hour, weekday, day, month.
        y_stamp: Calendar features of the forecast's steps ``[H, 5]``.
        scaler: Statistics of the history.
        y_timestamp: Timestamps of the forecast's steps.
    """

    x: NDArray[np.float32]
    x_stamp: NDArray[np.int64]
    y_stamp: NDArray[np.int64]
    scaler: Scaler
    y_timestamp: pd.DatetimeIndex

    def restore(self, values: Floats) -> Floats:
        """Undo the normalisation of the forecast's steps ``[..., H, 6]``."""
        return self.scaler.inverse_transform(values)

    def restore_last(self, values: Floats) -> Floats:
        """Undo the normalisation of the history's last candle ``[6]``."""
        return self.scaler.inverse_transform_last(values)


def as_index(timestamps: Timestamps, name: str) -> pd.DatetimeIndex:
    """Convert a series, index, array or list of timestamps to an index.

    Args:
        timestamps: The timestamps.
        name: Their name in error messages.

    Raises:
        DataError: If a value is missing or not a timestamp.
    """
    if pd.api.types.is_numeric_dtype(pd.Index(timestamps).dtype):
        raise DataError(f"{name} holds numbers: convert them to timestamps, as in pd.to_datetime(…, unit='ms').")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(timestamps))
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} holds a value that is not a timestamp: {error}.") from error
    if index.hasnans:
        raise DataError(f"{name}, row {int(np.flatnonzero(index.isna())[0])}: the timestamp is missing.")
    return index


def time_features(index: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Calendar features ``[T, 5]`` of timestamps: minute, hour, weekday (Monday 0), day, month."""
    parts = (index.minute, index.hour, index.day_of_week, index.day, index.month)
    return np.stack([np.asarray(part, dtype=np.int64) for part in parts], axis=-1)


def market_time_features(candles: Candles) -> NDArray[np.int64]:
    """Calendar features ``[T, 5]`` of candles, on the clock of their market."""
    clock = market_clock(candles.index, candles.interval, candles.calendar)
    return time_features(clock.local(candles.index))


def calc_time_stamps(timestamps: Timestamps) -> pd.DataFrame:
    """Calendar features of timestamps, one column each: minute, hour, weekday (Monday 0), day, month."""
    return pd.DataFrame(time_features(as_index(timestamps, "timestamps")), columns=list(TIME_COLUMNS))


def published_values(frame: pd.DataFrame) -> NDArray[np.float32]:
    """The six columns ``[T, 6]``, with missing ones completed as the published system does.

    Without volume, volume and amount are 0, even if there is an amount. With volume but no amount, the amount is the
    volume times the mean of the four prices.

    Raises:
        DataError: If a price column is missing, a value is not a finite number, or there are fewer than 2 rows.
    """
    missing = [name for name in PRICES if name not in frame.columns]
    if missing:
        raise DataError(f"The frame has no column {', '.join(missing)}: it needs open, high, low and close.")
    if len(frame) < 2:
        raise DataError(f"The history has {len(frame)} rows: a forecast needs at least 2.")
    try:
        full = frame.loc[:, [name for name in COLUMNS if name in frame.columns]].astype(np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(f"The frame holds a value that is not a number: {error}.") from error
    if "volume" not in full.columns:
        full["volume"] = 0.0
        full["amount"] = 0.0
    elif "amount" not in full.columns:
        full["amount"] = full["volume"] * full[list(PRICES)].mean(axis=1)
    values = full[list(COLUMNS)].to_numpy(dtype=np.float32)
    invalid = np.argwhere(~np.isfinite(values))
    if len(invalid):
        row, column = invalid[0]
        raise DataError(f"Column {COLUMNS[column]}, row {row}: {values[row, column]}. Fill or drop such rows.")
    return values


def prepare_published(
    frame: pd.DataFrame,
    x_timestamp: pd.DatetimeIndex,
    y_timestamp: pd.DatetimeIndex,
    clip: float,
    normalisation: Normalisation = "spread",
) -> ModelInput:
    """Prepare one history with the published pre-processing.

    Raises:
        DataError: If the frame cannot be used.
        ParameterError: If the timestamps do not match the rows, or only one side has a timezone.
    """
    values = published_values(frame)
    if len(x_timestamp) != len(values):
        raise ParameterError(f"x_timestamp has {len(x_timestamp)} timestamps for {len(values)} rows: pass one per row.")
    if (x_timestamp.tz is None) != (y_timestamp.tz is None):
        raise ParameterError("x_timestamp and y_timestamp must both have a timezone or both have none.")
    if x_timestamp.tz is not None:
        y_timestamp = y_timestamp.tz_convert(x_timestamp.tz)  # one wall clock for all features
    x, scaler = normalise(values, clip, published_scale, normalisation)
    return ModelInput(x, time_features(x_timestamp), time_features(y_timestamp), scaler, y_timestamp)


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
    if not isinstance(candles, pd.DataFrame):
        raise DataError(_not_candles(candles))
    try:
        return Candles.from_frame(candles, symbol=name)
    except DataError as error:
        raise DataError(f"{name}: {error}" if name else str(error)) from error


def _not_candles(value: object) -> str:
    if isinstance(value, str | PathLike):
        return f"'{truncate(value, 80)}' is a path, not candles: read the file with kronos.read_candles."
    return f"A value of type {type(value).__name__} cannot be forecast: pass Candles or a DataFrame."


Skipped = dict[str, KronosError]  # series that cannot be forecast, by name


@contextmanager
def skip_unusable(name: str, skipped: Skipped | None) -> Iterator[None]:
    """Record the error of a series in ``skipped`` instead of raising it; raise it if that is None."""
    try:
        yield
    except (DataError, CalendarError) as error:
        if skipped is None:
            raise
        skipped[name] = error


def as_series(series: NamedCandles, skipped: Skipped | None = None) -> list[tuple[str, Candles]]:
    """Names and candles of several series, in the order given.

    Args:
        series: The series.
        skipped: Gets the errors of series that cannot be used; None raises the first one.

    Raises:
        DataError: If there are no series, two have the same name, or one (with ``skipped``: all) cannot be used.
    """
    named: list[tuple[str, Candles]] = []
    if isinstance(series, pd.DataFrame):
        named = _split_frame(series, skipped)
    elif isinstance(series, Mapping):
        for name, candles in series.items():
            with skip_unusable(str(name), skipped):
                named.append((str(name), as_candles(candles, str(name))))
    else:
        if isinstance(series, str | PathLike):
            raise DataError(_not_candles(series))
        if any(isinstance(candles, pd.DataFrame) for candles in series):
            raise DataError("Frames in a list have no names: pass a dictionary by name, or Candles with symbols.")
        named = [(candles.symbol or "", candles) for candles in map(as_candles, series)]
    if not named:
        raise next(iter((skipped or {}).values()), DataError("There are no series to forecast."))
    names = [name for name, _ in named]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"Several series are named '{repeated[0]}': set distinct symbols, or pass a dictionary.")
    return named


def _split_frame(frame: pd.DataFrame, skipped: Skipped | None) -> list[tuple[str, Candles]]:
    """The series of a long frame; if one cannot be used, each on its own."""
    try:
        return list(split_long(frame).items())
    except DataError:
        label = next((column for column in frame.columns if str(column).lower() in _SERIES_COLUMNS), None)
        if skipped is None or label is None:
            raise
    named: list[tuple[str, Candles]] = []
    for name, rows in frame.groupby(label, sort=False):
        with skip_unusable(str(name), skipped):
            named += split_long(rows).items()
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
        times = times.tz_convert(zone)
    if (times.tz is None) != (zone is None):
        raise ParameterError("The timestamps have a timezone, the candles have none: give both a timezone, or neither.")
    if not times.is_monotonic_increasing or not times.is_unique or times[0] <= history.end:
        raise ParameterError(f"The timestamps must increase and begin after {history.end}.")
    clock = market_clock(history.index, history.interval, history.calendar)
    return FutureTimes(times, history.calendar or "given", "given", "Timestamps as given by the caller.", clock)
