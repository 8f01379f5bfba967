"""Baselines: what a forecast has to beat. Each looks at the history only and gives a `Forecast` too.

- `last_value` and `drift` are point forecasts: all their paths are the same, and their notes say so.
- `historical_volatility` is the random walk that a model of prices must beat before its bands mean anything;
  `ewma_volatility`, `har_volatility` and `garch_t` know more of volatility, `filtered_historical_simulation` and
  `block_bootstrap` of fat tails, `seasonal_naive` of the day's pattern. None knows a direction.
- `moving_average_drift` claims one, without a measured edge: a service's fallback, which stands in no table.
- `BASELINES` lists all others, each with a line for reports; `Baseline` is what another model has to look like.
- Path i of a seed is the same however many paths or steps are asked for.
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
