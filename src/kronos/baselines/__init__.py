"""Statistical baselines that a model should beat. Each is a function from a history to a `Forecast`.

- `last_value` and `drift` are point forecasts: all paths are equal.
- `historical_volatility` is a random walk, the minimum that the bands of a price model must beat. `ewma_volatility`,
  `har_volatility` and `garch_t` model volatility, `filtered_historical_simulation` and `block_bootstrap` fat tails, and
  `seasonal_naive` the daily pattern. None forecasts a direction.
- `moving_average_drift` does, without a measured edge: it is the fallback of the service and not in `BASELINES`.
- `BASELINES` lists all others with a description; `Baseline` is the protocol, and documents the common arguments.
"""

from kronos.baselines.adapters import closes_of_quantiles, from_closes
from kronos.baselines.base import Baseline, BaselineSpec, FittedBaseline
from kronos.baselines.bootstrap import block_bootstrap, filtered_historical_simulation
from kronos.baselines.garch import GarchFit, fit_garch, garch_t
from kronos.baselines.naive import drift, last_value, moving_average_drift, seasonal_naive
from kronos.baselines.registry import BASELINES
from kronos.baselines.volatility import ewma_volatility, har_volatility, historical_volatility

__all__ = [
    "BASELINES",
    "Baseline",
    "BaselineSpec",
    "FittedBaseline",
    "GarchFit",
    "block_bootstrap",
    "closes_of_quantiles",
    "drift",
    "ewma_volatility",
    "filtered_historical_simulation",
    "fit_garch",
    "from_closes",
    "garch_t",
    "har_volatility",
    "historical_volatility",
    "last_value",
    "moving_average_drift",
    "seasonal_naive",
]
