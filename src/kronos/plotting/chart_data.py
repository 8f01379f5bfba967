"""Data of a chart: candles by position, bands, axis limits.

Positions count candles: 0 is the last candle of the history, which has positions ≤ 0; forecast step h is at h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.candles.columns import PRICES
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, Forecast, sample_quantiles
from kronos.forecasts.statistics import band_levels
from kronos.typing import FloatArray

MIN_BAND_PATHS = 20  # with fewer paths, the paths are drawn instead of bands
_MIN_BARS, _MAX_BARS = 60, 240


@dataclass(frozen=True)
class ChartData:
    """A forecast prepared for drawing.

    Attributes:
        forecast: The forecast.
        history: The last N candles of the history `[N, 6]`.
        times: Times of history and forecast `[N + H]`.
        closes: Closes of all paths, beginning with the last close of the history `[S, H + 1]`.
        bands: Level, lower and upper ends `[H + 1]` of each band, the widest first; empty if paths are few or equal.
        path: Index of the path drawn as candles.
        actual: Actual candles `[H, 6]`, NaN where unknown; None if not given.
    """

    forecast: Forecast
    history: FloatArray
    times: pd.DatetimeIndex
    closes: FloatArray
    bands: list[tuple[float, FloatArray, FloatArray]]
    path: int
    actual: FloatArray | None

    @property
    def horizon(self) -> int:
        """Number of forecast steps, H."""
        return self.forecast.horizon

    @property
    def first(self) -> int:
        """Position of the first candle."""
        return 1 - len(self.history)

    @property
    def last_close(self) -> float:
        """Last close of the history."""
        return self.forecast.last_close

    @property
    def candles(self) -> FloatArray:
        """Candles of the path `[H, 6]`."""
        candles: FloatArray = self.forecast.paths[self.path]
        return candles

    @property
    def median(self) -> FloatArray:
        """Median close, beginning with the last close of the history `[H + 1]`."""
        median: FloatArray = np.median(self.closes, axis=0)
        return median

    @property
    def is_point(self) -> bool:
        """Whether all paths have the same closes."""
        return bool((self.closes == self.closes[0]).all())

    @property
    def has_volume(self) -> bool:
        """Whether the history has volume."""
        return self.forecast.history.has_volume

    def price_limits(self) -> tuple[float, float]:
        """Return the limits of the price axis, with a margin."""
        shown = [self.history[:, :4], self.closes if not self.bands else np.stack(self.bands[0][1:])]
        shown.append(self.candles[:, :4])
        if self.actual is not None:
            shown.append(self.actual[:, :4])
        low = min(float(np.nanmin(prices)) for prices in shown)
        high = max(float(np.nanmax(prices)) for prices in shown)
        margin = 0.05 * (high - low) or 0.01 * high  # a constant price needs an axis too
        return max(0.0, low - margin), high + 1.8 * margin  # more at the top, for the as-of time


def make_chart_data(
    forecast: Forecast, actual: Candles | pd.DataFrame | None = None, history_bars: int | None = None
) -> ChartData:
    """Prepare a forecast for drawing.

    Raises:
        ParameterError: If ``history_bars`` is below 1.
        DataError: If ``actual`` lacks a column, or has no candle at any time of the forecast.
    """
    if history_bars is None:
        history_bars = int(np.clip(3 * forecast.horizon, _MIN_BARS, _MAX_BARS))
    if history_bars < 1:
        raise ParameterError(f"Invalid history_bars {history_bars}: choose at least 1.")
    frame = forecast.history.frame.iloc[-history_bars:]
    closes = np.pad(forecast.channel("close"), ((0, 0), (1, 0)), constant_values=forecast.last_close)
    few = forecast.samples < MIN_BAND_PATHS or bool((closes == closes[0]).all())
    return ChartData(
        forecast=forecast,
        history=frame.to_numpy(),
        times=pd.DatetimeIndex(frame.index.append(forecast.timestamps)),
        closes=closes,
        bands=[] if few else [_band(closes, level) for level in sorted(BANDS, reverse=True)],
        path=forecast.representative(),
        actual=None if actual is None else _at_times(actual, forecast),
    )


def _band(closes: FloatArray, level: float) -> tuple[float, FloatArray, FloatArray]:
    low, high = sample_quantiles(closes, band_levels(level))
    return level, low, high


def _at_times(actual: Candles | pd.DataFrame, forecast: Forecast) -> FloatArray:
    """Return the actual candles at the times of the forecast `[H, 6]`; missing volume and amount are 0."""
    frame = _actual_frame(actual, forecast)
    if not isinstance(frame.index, pd.DatetimeIndex) or (frame.index.tz is None) != (forecast.timestamps.tz is None):
        raise DataError("The actual candles need a DatetimeIndex, with a timezone if and only if the forecast has one.")
    aligned = frame.reindex(index=forecast.timestamps, columns=forecast.history.frame.columns)
    candles: FloatArray = aligned.to_numpy(dtype=np.float64, copy=True)  # may be read-only otherwise
    if np.isnan(candles[:, :4]).all():
        raise DataError("No actual candle has a time of the forecast; compare their first rows.")
    candles[:, 4:] = np.nan_to_num(candles[:, 4:])
    return candles


def _actual_frame(actual: Candles | pd.DataFrame, forecast: Forecast) -> pd.DataFrame:
    """Return the actual candles under the names of `COLUMNS`; other frames are read as `KronosPredictor.forecast` does.

    A frame in that form is used as it is, since it may be a single candle or have missing ones.

    Raises:
        DataError: If a frame cannot be read as candles.
    """
    if isinstance(actual, Candles):
        return actual.frame
    if not isinstance(actual, pd.DataFrame):
        raise DataError(f"The actual candles are of type {type(actual).__name__}: pass Candles or a DataFrame.")
    if isinstance(actual.index, pd.DatetimeIndex) and set(PRICES) <= set(actual.columns):
        return actual
    return Candles.from_frame(actual, interval=forecast.interval, timezone=forecast.history.timezone).frame
