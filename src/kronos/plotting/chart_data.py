"""What a chart shows, sorted out before anything is drawn: candles by position, bands, limits.

Positions count candles: 0 is the last known one, the history lies below it, forecast step h at h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, Forecast, sample_quantiles
from kronos.forecasts.statistics import band_levels
from kronos.typing import FloatArray

FEWEST_PATHS = 20  # below it the paths are drawn instead of bands
_BARS_LEAST, _BARS_MOST = 60, 240


@dataclass(frozen=True)
class ChartData:
    """One forecast, ready to be drawn.

    Attributes:
        forecast: The forecast.
        history: The last N known candles `[N, 6]`.
        times: Times of all candles shown `[N + H]`.
        closes: Closes of all paths from the last known close on `[S, H + 1]`.
        bands: Per band its level, lower and upper ends `[H + 1]`, the widest first; empty with few or equal
            paths.
        chosen: The path drawn as candles.
        actual: What happened `[H, 6]`, NaN where unknown; None if not given.
    """

    forecast: Forecast
    history: FloatArray
    times: pd.DatetimeIndex
    closes: FloatArray
    bands: list[tuple[float, FloatArray, FloatArray]]
    chosen: int
    actual: FloatArray | None

    @property
    def horizon(self) -> int:
        """Steps ahead, H."""
        return self.forecast.horizon

    @property
    def first(self) -> int:
        """Position of the first candle shown."""
        return 1 - len(self.history)

    @property
    def last_close(self) -> float:
        """The last known close."""
        return self.forecast.last_close

    @property
    def candles(self) -> FloatArray:
        """The chosen path's candles `[H, 6]`."""
        path: FloatArray = self.forecast.paths[self.chosen]
        return path

    @property
    def median(self) -> FloatArray:
        """Median close from the last known one on `[H + 1]`."""
        middle: FloatArray = np.median(self.closes, axis=0)
        return middle

    @property
    def is_point(self) -> bool:
        """Whether all paths are the same."""
        return bool((self.closes == self.closes[0]).all())

    @property
    def has_volume(self) -> bool:
        """Whether there is volume to draw."""
        return self.forecast.history.has_volume

    def price_limits(self) -> tuple[float, float]:
        """Lowest and highest price drawn, with some room."""
        shown = [self.history[:, :4], self.closes if not self.bands else np.stack(self.bands[0][1:])]
        shown.append(self.candles[:, :4])
        if self.actual is not None:
            shown.append(self.actual[:, :4])
        low = min(float(np.nanmin(prices)) for prices in shown)
        high = max(float(np.nanmax(prices)) for prices in shown)
        room = 0.05 * (high - low) or 0.01 * high  # a constant price still needs an axis
        return max(0.0, low - room), high + 1.8 * room  # more above, where the as-of time stands


def make_scene(
    forecast: Forecast, actual: Candles | pd.DataFrame | None = None, history_bars: int | None = None
) -> ChartData:
    """Sort out what to show.

    Raises:
        ParameterError: If ``history_bars`` is below 1.
        DataError: If ``actual`` lacks a column, or no candle of it is at one of the forecast's times.
    """
    if history_bars is None:
        history_bars = int(np.clip(3 * forecast.horizon, _BARS_LEAST, _BARS_MOST))
    if history_bars < 1:
        raise ParameterError(f"A chart shows at least 1 candle of history, not {history_bars}.")
    frame = forecast.history.frame.iloc[-history_bars:]
    closes = np.pad(forecast.channel("close"), ((0, 0), (1, 0)), constant_values=forecast.last_close)
    few = forecast.samples < FEWEST_PATHS or bool((closes == closes[0]).all())
    return ChartData(
        forecast=forecast,
        history=frame.to_numpy(),
        times=pd.DatetimeIndex(frame.index.append(forecast.timestamps)),
        closes=closes,
        bands=[] if few else [_band(closes, level) for level in sorted(BANDS, reverse=True)],
        chosen=forecast.representative(),
        actual=None if actual is None else _at_times(actual, forecast),
    )


def _band(closes: FloatArray, level: float) -> tuple[float, FloatArray, FloatArray]:
    low, high = sample_quantiles(closes, band_levels(level))
    return level, low, high


def _at_times(actual: Candles | pd.DataFrame, forecast: Forecast) -> FloatArray:
    """The actual candles at the forecast's times `[H, 6]`, volume and amount 0 where they are not given."""
    frame = actual.frame if isinstance(actual, Candles) else actual
    missing = [name for name in ("open", "high", "low", "close") if name not in frame.columns]
    if missing:
        raise DataError(f"The actual candles have no column '{missing[0]}'.")
    if not isinstance(frame.index, pd.DatetimeIndex) or (frame.index.tz is None) != (forecast.timestamps.tz is None):
        raise DataError("The actual candles need an index of times, with a timezone just if the forecast has one.")
    wanted = frame.reindex(index=forecast.timestamps, columns=forecast.history.frame.columns)
    candles: FloatArray = wanted.to_numpy(dtype=np.float64)
    if np.isnan(candles[:, :4]).all():
        raise DataError("No actual candle is at any of the forecast's times; compare their first rows.")
    candles[:, 4:] = np.nan_to_num(candles[:, 4:])
    return candles
