"""Forecasts: sampled paths of future candles, and the statistics computed from them.

- `Forecast` holds all sample paths; averages, quantiles and probabilities are computed from them on demand.
- `Probability` is never shown as 0 % or 100 % and has a confidence interval that reflects the number of paths.
- `repair_candles` turns a model's raw samples into valid candles and returns the share it had to change.
"""

from kronos.forecasts.forecast import Forecast
from kronos.forecasts.metadata import ForecastMetadata
from kronos.forecasts.repair import repair_candles
from kronos.forecasts.statistics import BANDS, Probability, sample_quantiles

__all__ = ["BANDS", "Forecast", "ForecastMetadata", "Probability", "repair_candles", "sample_quantiles"]
