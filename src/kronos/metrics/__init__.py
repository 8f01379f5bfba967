"""Metrics: how good a forecast was, once the candles are known.

- CRPS is the fair one, unbiased in the number of paths, so forecasts of 10 and of 1000 paths compare.
- Everything is scored on log returns and on the close's bands, never on price levels, so markets compare.
- `score` gives one row a horizon for one forecast; means over many forecasts are what to look at.
"""

from kronos.metrics.scores import coverage, crps, interval_width, pinball
from kronos.metrics.scoring import score

__all__ = ["coverage", "crps", "interval_width", "pinball", "score"]
