"""The baselines that stand in every table."""

from __future__ import annotations

from kronos.baselines.garch import fit_garch, garch_t
from kronos.baselines.har import har_volatility
from kronos.baselines.point import drift, last_value
from kronos.baselines.protocol import Entry
from kronos.baselines.resampling import block_bootstrap, filtered_historical_simulation
from kronos.baselines.seasonal import seasonal_naive
from kronos.baselines.volatility import ewma_volatility, historical_volatility

_ENTRIES = (
    Entry("last-value", "the close stays where it is; a point", last_value, point=True),
    Entry("drift", "the history's mean log return goes on; a point", drift, point=True),
    Entry("seasonal-naive", "each return is that of the same time yesterday; intraday only", seasonal_naive),
    Entry("historical-volatility", "random walk, volatility of the last 64 returns", historical_volatility),
    Entry("ewma-volatility", "random walk, RiskMetrics' moving volatility (λ = .94)", ewma_volatility),
    Entry(
        "filtered-historical-simulation",
        "past returns over their moving volatility, drawn again and rescaled along each path",
        filtered_historical_simulation,
    ),
    Entry("block-bootstrap", "blocks of the last 256 returns, drawn again without their mean", block_bootstrap),
    Entry(
        "garch-t", "GARCH(1,1) with Student's t, fitted to the last 512 returns", garch_t, needs="arch", fit=fit_garch
    ),
    Entry("har-volatility", "random walk, volatility regressed on the last 1, 5 and 22 candles'", har_volatility),
)

BASELINES: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
