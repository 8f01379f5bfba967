"""Baselines: what a forecast has to beat. Each looks at the history only and gives a `Forecast` too.

- `last_value` and `drift` are point forecasts: all their paths are the same, and their notes say so.
- `historical_volatility` is the random walk that a model of prices must beat before its bands mean anything.
- Path i of a seed is the same however many paths or steps are asked for.
"""

from kronos.baselines.point import drift, last_value
from kronos.baselines.volatility import historical_volatility
from kronos.baselines.wrapping import Baseline

BASELINES: dict[str, Baseline] = {
    "last-value": last_value,
    "drift": drift,
    "historical-volatility": historical_volatility,
}

__all__ = ["BASELINES", "Baseline", "drift", "historical_volatility", "last_value"]
