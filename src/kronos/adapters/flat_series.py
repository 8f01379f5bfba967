"""Series of single numbers as candles, and the search for the columns of real candles.

The model was trained on candles, and reads nothing else. A series that has one number per step becomes *flat* candles,
whose open, high, low and close are that number and which have no volume. The forecast of the series is the forecast of
the close.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kronos.candles import COLUMNS, PRICES, Candles, infer_interval
from kronos.candles.columns import NoCandlesError, find_layout
from kronos.errors import DataError
from kronos.formatting import Message
from kronos.intervals import Interval


@dataclass(frozen=True, eq=False)
class FlatSeries:
    """A series as flat candles.

    Attributes:
        candles: The candles. [T]
        offset: The constant that was added to the series, to be subtracted from forecasts; 0 for positive series.
        dropped: Number of values that were left out because they are not finite.
    """

    candles: Candles
    offset: float
    dropped: int


def flat_candles(
    values: ArrayLike, times: pd.DatetimeIndex, name: str, *, interval: Interval | None = None
) -> FlatSeries:
    """Convert a series of numbers to flat candles.

    - Open, high, low and close are the number; volume and amount are 0.
    - Values that are not finite are left out, with their times.
    - Prices are positive. If the lowest value is not, the series is raised by a constant, so that the lowest value
      equals the distance from the lowest to the highest, or 1 if all values are the same.

    Args:
        values: The series. [T]
        times: Its times, strictly increasing. [T]
        name: Name of the series, which random numbers depend on.
        interval: Interval of the times; None infers it from them.

    Raises:
        DataError: If values and times differ in number, no value is finite, or the interval cannot be inferred.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.shape != (len(times),):
        raise DataError(f"{name} has values of shape {series.shape} for {len(times)} times: pass one value per time.")
    try:
        spacing = infer_interval(times) if interval is None else interval
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    finite = np.isfinite(series)
    if not finite.any():
        raise DataError(f"{name} has no finite value among {len(series)}: leave it out.")
    known = series[finite]
    lowest, spread = float(known.min()), float(np.ptp(known))
    offset = 0.0 if lowest > 0 else (spread or 1.0) - lowest
    zeros = np.zeros_like(known)
    columns = [known + offset] * len(PRICES) + [zeros] * (len(COLUMNS) - len(PRICES))
    frame = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), index=times[finite].rename("timestamps"))
    candles = Candles(
        frame,
        name,
        spacing,
        timezone=None if times.tz is None else str(times.tz),
        has_volume=False,
        has_amount=False,
    )
    return FlatSeries(candles, offset, int((~finite).sum()))


def find_candle_columns(labels: Sequence[Hashable], name: str) -> Mapping[str, Hashable]:
    """Match labels to the columns of candles, by the names that files may use for them.

    Args:
        labels: Labels of a table.
        name: Name of the table in messages.

    Returns:
        The label of each column that is there, by canonical name. Empty if at most one of the four prices is: a close
        alone is no candle.

    Raises:
        DataError: If only some of the prices are there, or two labels have the same meaning.
    """
    try:
        return find_layout(labels, None, name).prices
    except NoCandlesError:
        return {}
    except DataError as error:
        message = error.args[0]
        if not isinstance(message, Message) or message.kind != "missing-columns":
            raise
        missing, known = message.values["columns"], message.values["labels"]
        raise DataError(f"{name} has no {message.values['word']} for {missing}; it has {known}: rename them.") from None


__all__ = ["FlatSeries", "find_candle_columns", "flat_candles"]
