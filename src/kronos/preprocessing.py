"""From candles to what the networks read, and back.

Notable here:
- the mean and the population standard deviation of every column come from the history given and from nothing else;
- calendar features are read from the wall clock as it is given: exchange-local for exchanges, UTC for crypto;
- `Prepared` is the published pre-processing, float32 throughout, which reproduces its numbers to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.candles import COLUMNS, PRICES
from kronos.errors import DataError, ParameterError
from kronos.zoo import Normalisation

EPSILON = 1e-5  # added to every standard deviation
STEPS = 8  # one-step volatilities in a unit of "steps": 24 candles ahead are within a unit, a clip at 5 is 40 away
PRICE_COLUMNS, CLOSE = len(PRICES), COLUMNS.index("close")
TIME_COLUMNS = ("minute", "hour", "weekday", "day", "month")

Floats = NDArray[np.float32] | NDArray[np.float64]
ScaleRule = Callable[[Floats, Floats], Floats]
Timestamps = pd.Series | pd.DatetimeIndex | NDArray[Any] | Sequence[Any]


@dataclass(frozen=True)
class ModelInput:
    """One series, ready for the networks.

    Attributes:
        x: Normalised candles ``[T, 6]`` float32.
        x_stamp: Calendar features of the history ``[T, 5]`` int64: minute, hour, weekday, day, month.
        y_stamp: Of the future ``[H, 5]``.
        mean: Of each column, ``[6]``.
        scale: What was divided by, ``[6]``: the population standard deviation of each column, and a little more.
        y_timestamp: The future times.
    """

    x: NDArray[np.float32]
    x_stamp: NDArray[np.int64]
    y_stamp: NDArray[np.int64]
    mean: Floats
    scale: Floats
    y_timestamp: pd.DatetimeIndex

    def restore(self, values: Floats) -> Floats:
        """Undo the normalisation of ``[..., 6]``."""
        restored: Floats = values * self.scale + self.mean
        return restored


def published_scale(std: Floats, mean: Floats) -> Floats:  # noqa: ARG001 (one signature for both scales)
    """The published scale: the standard deviation plus 1e-5, whatever the unit of price."""
    scale: Floats = std + EPSILON
    return scale


def unit_free_scale(std: Floats, mean: Floats) -> Floats:
    """The published scale where a column's spread is 0.01 or more, and its like for smaller ones.

    A constant added to the spread of a coin worth 1e-6 would make it look flat, and its forecasts a hundred times too
    wide. So the addition shrinks with the spread, and a column that never moves keeps a scale small beside its mean.
    """
    moving = std + np.minimum(EPSILON, 1e-3 * std)
    still = np.minimum(EPSILON, 1e-9 * np.abs(mean))
    return np.maximum(np.where(std > 1e-9 * np.abs(mean), moving, still), np.finfo(np.float32).tiny)


def normalisation_statistics(
    values: Floats, normalisation: Normalisation = "spread", scale_of: ScaleRule = unit_free_scale
) -> tuple[Floats, Floats]:
    """What is subtracted from the columns of candles, and what they are divided by: each ``[6]``.

    Args:
        values: The history ``[T, 6]``, and nothing after it.
        normalisation: ``spread``: the mean and the standard deviation of every column, as published. ``steps``: all
            prices share the last close and 8 times the root mean square of the changes from close to close, so that a
            step of one volatility has the same size in every window, and the shape of a candle is kept; volume and
            amount as published.
        scale_of: From standard deviation and mean to what is divided by.
    """
    location, spread = values.mean(axis=0), values.std(axis=0)
    if normalisation == "steps":
        close = values[:, CLOSE]
        location[:PRICE_COLUMNS] = close[-1]
        spread[:PRICE_COLUMNS] = STEPS * np.sqrt(np.square(np.diff(close)).mean()) if len(close) > 1 else 0.0
    return location, scale_of(spread, location)


def normalise(
    values: Floats, clip: float, scale_of: ScaleRule = unit_free_scale, normalisation: Normalisation = "spread"
) -> tuple[NDArray[np.float32], Floats, Floats]:
    """Normalise candles ``[T, 6]`` by their own statistics, and clip: ``(x, mean, scale)``."""
    mean, scale = normalisation_statistics(values, normalisation, scale_of)
    x = np.clip((values - mean) / scale, -clip, clip)
    return x.astype(np.float32), mean, scale


def as_index(timestamps: Timestamps, what: str) -> pd.DatetimeIndex:
    """Timestamps of any kind as an index.

    Args:
        timestamps: Series, index, array or list of times.
        what: Their name, for the error.

    Raises:
        DataError: If something in them is no time.
    """
    if pd.api.types.is_numeric_dtype(pd.Index(timestamps).dtype):
        raise DataError(f"{what} holds numbers; turn them into times first, as in pd.to_datetime(…, unit='ms').")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(timestamps))
    except (ValueError, TypeError) as error:
        raise DataError(f"{what} holds something that is no time: {error}.") from error
    if index.hasnans:
        raise DataError(f"{what} has no time in row {int(np.flatnonzero(index.isna())[0])}.")
    return index


def time_features(index: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Calendar features ``[T, 5]`` of times: minute, hour, weekday (Monday 0), day, month."""
    parts = (index.minute, index.hour, index.day_of_week, index.day, index.month)
    return np.stack([np.asarray(part, dtype=np.int64) for part in parts], axis=-1)


def calc_time_stamps(timestamps: Timestamps) -> pd.DataFrame:
    """Calendar features of times, a column each: minute, hour, weekday (Monday 0), day, month."""
    return pd.DataFrame(time_features(as_index(timestamps, "timestamps")), columns=list(TIME_COLUMNS))


def published_values(frame: pd.DataFrame) -> NDArray[np.float32]:
    """The six columns ``[T, 6]`` as the published system completes them.

    No volume: volume and amount are 0, a supplied amount too. Volume without amount: amount is the volume times the
    mean of the four prices.

    Raises:
        DataError: If a price column is missing, something is no number, NaN or infinite, or there are no rows.
    """
    missing = [name for name in PRICES if name not in frame.columns]
    if missing:
        raise DataError(f"The frame has no column {', '.join(missing)}; it needs open, high, low and close.")
    if len(frame) < 2:
        raise DataError(f"The history has {len(frame)} rows, but a forecast needs at least 2.")
    try:
        full = frame.loc[:, [name for name in COLUMNS if name in frame.columns]].astype(np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(f"The frame holds something that is no number: {error}.") from error
    if "volume" not in full.columns:
        full["volume"] = 0.0
        full["amount"] = 0.0
    elif "amount" not in full.columns:
        full["amount"] = full["volume"] * full[list(PRICES)].mean(axis=1)
    values = full[list(COLUMNS)].to_numpy(dtype=np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"Column {COLUMNS[column]} is {values[row, column]} in row {row}; fill or drop such rows first."
        )
    return values


def prepare_published(
    frame: pd.DataFrame,
    x_timestamp: pd.DatetimeIndex,
    y_timestamp: pd.DatetimeIndex,
    clip: float,
    normalisation: Normalisation = "spread",
) -> ModelInput:
    """The published pre-processing of one history.

    Raises:
        DataError: If the frame can't be used.
        ParameterError: If there are not as many timestamps as rows.
    """
    values = published_values(frame)
    if len(x_timestamp) != len(values):
        raise ParameterError(f"x_timestamp has {len(x_timestamp)} times for {len(values)} rows; give one for each.")
    if (x_timestamp.tz is None) != (y_timestamp.tz is None):
        raise ParameterError("x_timestamp and y_timestamp must both have a timezone, or neither.")
    if x_timestamp.tz is not None:
        y_timestamp = y_timestamp.tz_convert(x_timestamp.tz)  # features are read from one wall clock
    x, mean, scale = normalise(values, clip, published_scale, normalisation)
    return ModelInput(x, time_features(x_timestamp), time_features(y_timestamp), mean, scale, y_timestamp)
