"""Forecasts: every sampled path, and the questions people ask of them.

- A `Forecast` keeps all paths; averages, quantiles and probabilities are computed from them when asked for.
- `Probability` never reads 0 % or 100 %, and carries the interval that its number of paths allows.
- `mend` makes candles of what a model sampled, and says how many of them needed it.
"""

from kronos.forecasts.forecast import Forecast
from kronos.forecasts.metadata import ForecastMetadata
from kronos.forecasts.repair import repair_candles
from kronos.forecasts.statistics import BANDS, Probability, sample_quantiles

__all__ = ["BANDS", "Forecast", "ForecastMetadata", "Probability", "repair_candles", "sample_quantiles"]
