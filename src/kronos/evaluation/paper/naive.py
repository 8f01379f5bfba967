"""What stands beside the model: the paper compares with learnt models only, never with doing nothing.

The last value says nothing about order, and its coefficients are none. So for prices and returns rules stand there too
that do: the trend of the whole history goes on, that of the last candles does, or it turns back. In a market that rose
a line that rises has positive coefficients in most windows, whoever drew it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from kronos.baselines import BASELINES
from kronos.candles import PRICES
from kronos.evaluation.forecasters import BaselineForecaster
from kronos.evaluation.paper.origins import Array, Walk, closes_before

LAST_VALUE, RANDOM_WALK = "last-value", "historical-volatility"
DRIFT, MOMENTUM, REVERSAL = "drift", "momentum", "reversal"
DIRECTED = (DRIFT, MOMENTUM, REVERSAL)
VOLATILITIES = (RANDOM_WALK, "garch-t", "har-volatility")
GENERATORS = (RANDOM_WALK, "block-bootstrap")

_LONG = 512  # candles of history, as other baselines see at most

RULES: Mapping[str, str] = MappingProxyType(
    {
        LAST_VALUE: "every price stays the last close; it orders nothing, so it has no coefficients",
        DRIFT: f"the mean log return of the last {_LONG} candles (or of as many as there are) goes on",
        MOMENTUM: "the mean log return of the last H candles goes on, H being the horizon",
        REVERSAL: "the same return with its sign turned",
    }
)


def rules(walk: Walk) -> dict[str, Array]:
    """What the naive rules say of every origin: open, high, low and close alike, ``[N, H, 4]`` by name."""
    last, horizon = closes_before(walk.plan), walk.windows.horizon
    recent = _slope(walk, horizon)
    slopes = {LAST_VALUE: 0 * recent, DRIFT: _slope(walk, _LONG), MOMENTUM: recent, REVERSAL: -recent}
    steps = np.arange(1, horizon + 1)
    return {name: _prices(last[:, None] * np.exp(slope[:, None] * steps)) for name, slope in slopes.items()}


def _slope(walk: Walk, back: int) -> Array:
    """Mean log return of the last candles of each origin, ``[N]``."""
    plan = walk.plan
    slope: Array = np.log(closes_before(plan) / closes_before(plan, back)) / np.minimum(back, plan.known - 1)
    return slope


def _prices(closes: Array) -> Array:
    prices: Array = np.repeat(closes[..., None], len(PRICES), axis=-1)
    return prices


def available(names: Sequence[str]) -> list[BaselineForecaster]:
    """Those of the baselines whose libraries are installed."""
    return [BaselineForecaster(BASELINES[name]) for name in names if BASELINES[name].available]
