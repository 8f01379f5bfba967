"""Scores of one forecast against the actual candles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, Forecast, log_returns, sample_quantiles
from kronos.forecasts.statistics import SAME_PRICE, band_levels
from kronos.metrics.probabilistic import coverage, crps
from kronos.typing import FloatArray

SIGMA_WINDOW = 64  # one-step returns for the unit σ, as in the historical-volatility baseline


def score(
    forecast: Forecast,
    actual: Candles | pd.DataFrame,
    horizons: Sequence[int] = (1, 8, 24),
) -> pd.DataFrame:
    """Score a forecast at some horizons against the actual candles.

    All scores are of the cumulative log return of the close since the last known one, r = log(close / last close), at
    exactly the h-th step:

    - ``crps``: fair CRPS of the paths' r;
    - ``crps_scaled``: the same in units of σ√h, with σ the standard deviation (n - 1) of the history's last 64 one-step
      log returns; NaN if they are constant;
    - ``mae``: absolute error of the paths' median r;
    - ``coverage_50``, ``coverage_80``, ``coverage_95``: 1 if the close lies within the central band of the paths'
      closes, else 0 (quantiles at k / (S + 1)); the mean over many forecasts is the coverage;
    - ``width_80``: width of the 80 % band in log returns.

    Candles are matched by time. Steps without a candle are NaN; horizons beyond the forecast's are left out.

    Args:
        forecast: The forecast.
        actual: The actual candles, or a frame indexed by time with a column ``close``; further rows are ignored.
        horizons: Steps ahead, counted from 1.

    Returns:
        One row per horizon (the index), with the columns above.

    Raises:
        ParameterError: If no horizon is between 1 and the forecast's.
        DataError: If ``actual`` has no close at any of the forecast's times.
    """
    selected = [h for h in horizons if 1 <= h <= forecast.horizon]
    if not selected or min(horizons) < 1:
        raise ParameterError(f"Invalid horizons {list(horizons)}: choose from 1 to {forecast.horizon}.")
    outcome = np.log(_closes_at(forecast, actual) / forecast.last_close)  # [H]
    predicted = forecast.returns(cumulative=True)  # [S, H]
    unit = history_sigma(forecast)
    rows = [_row(predicted[:, h - 1], outcome[h - 1], unit * np.sqrt(h)) for h in selected]
    return pd.DataFrame(rows, index=pd.Index(selected, name="horizon"))


def _row(samples: FloatArray, observed: float, unit: float) -> dict[str, float]:
    """Compute all scores of one step from log returns: samples `[S]` and the outcome."""
    error = float(crps(samples, observed))
    row = {
        "crps": error,
        "crps_scaled": error / unit if unit > 0 else float("nan"),
        "mae": float(abs(np.median(samples) - observed)),
    }
    for band in BANDS:
        low, high = np.log(sample_quantiles(np.exp(samples), band_levels(band)))  # the band of prices
        row[f"coverage_{band * 100:.0f}"] = coverage(low, high, observed, SAME_PRICE)
        if band == 0.8:
            row["width_80"] = float(high - low)
    return row


def _closes_at(forecast: Forecast, actual: Candles | pd.DataFrame) -> FloatArray:
    """Return the actual closes at the forecast's times `[H]`; NaN if unknown."""
    frame = actual.frame if isinstance(actual, Candles) else actual
    if "close" not in frame.columns or not isinstance(frame.index, pd.DatetimeIndex):
        raise DataError("The actual candles need a column 'close' and a DatetimeIndex.")
    if (frame.index.tz is None) != (forecast.timestamps.tz is None):
        raise DataError("The times of the forecast and of the actual candles must both have a timezone, or neither.")
    closes: FloatArray = frame["close"].reindex(forecast.timestamps).to_numpy(dtype=np.float64)
    if np.isnan(closes).all():
        raise DataError("There is no candle at any of the forecast's times in actual: compare their first rows.")
    return closes


def history_sigma(forecast: Forecast) -> float:
    """Return the standard deviation of the history's last one-step log returns; NaN with fewer than two."""
    closes = forecast.history.frame["close"].to_numpy()[-SIGMA_WINDOW - 1 :]
    return float(log_returns(closes).std(ddof=1)) if len(closes) > 2 else float("nan")
