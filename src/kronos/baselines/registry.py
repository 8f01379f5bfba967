"""The registry of baselines, which every evaluation includes."""

from __future__ import annotations

from kronos.baselines.base import BaselineSpec
from kronos.baselines.bootstrap import block_bootstrap, filtered_historical_simulation
from kronos.baselines.garch import fit_garch, garch_t
from kronos.baselines.naive import drift, last_value, seasonal_naive
from kronos.baselines.volatility import ewma_volatility, har_volatility, historical_volatility

_SPECS = (
    BaselineSpec("last-value", "the last close, unchanged; a point forecast", last_value, point=True),
    BaselineSpec("drift", "the history's mean log return continued; a point forecast", drift, point=True),
    BaselineSpec(
        "seasonal-naive", "each return is that of the same time one day before; intraday only", seasonal_naive
    ),
    BaselineSpec("historical-volatility", "random walk, volatility of the last 64 returns", historical_volatility),
    BaselineSpec("ewma-volatility", "random walk, RiskMetrics' moving volatility (λ = .94)", ewma_volatility),
    BaselineSpec(
        "filtered-historical-simulation",
        "past returns over their moving volatility, resampled and rescaled along each path",
        filtered_historical_simulation,
    ),
    BaselineSpec("block-bootstrap", "blocks of the last 256 returns, resampled without their mean", block_bootstrap),
    BaselineSpec(
        "garch-t", "GARCH(1,1) with Student's t, fitted to the last 512 returns", garch_t, needs="arch", fit=fit_garch
    ),
    BaselineSpec(
        "har-volatility", "random walk, volatility regressed on that of the last 1, 5 and 22 candles", har_volatility
    ),
)

BASELINES: dict[str, BaselineSpec] = {spec.name: spec for spec in _SPECS}
