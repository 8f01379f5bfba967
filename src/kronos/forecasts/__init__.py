"""Forecasts: sampled paths of future candles, and the statistics computed from them.

- `Forecast` holds all sample paths; averages, quantiles and probabilities are computed from them on demand.
- `Probability` is never shown as 0 % or 100 % and has a confidence interval that reflects the number of paths.
- `Forecasts` holds those of several series by name, and makes one table of them.
- `repair_candles` turns a model's raw samples into valid candles and returns the share it had to change;
  `repair_reasons` returns why.
"""

from kronos.forecasts.forecast import Forecast
from kronos.forecasts.frames import Forecasts, FrameKind
from kronos.forecasts.metadata import ForecastMetadata
from kronos.forecasts.repair import repair_candles, repair_reasons
from kronos.forecasts.statistics import BANDS, Probability, log_returns, sample_quantiles

__all__ = [
    "BANDS",
    "Forecast",
    "ForecastMetadata",
    "Forecasts",
    "FrameKind",
    "Probability",
    "log_returns",
    "repair_candles",
    "repair_reasons",
    "sample_quantiles",
]
