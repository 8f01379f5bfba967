"""The random walk with the volatility of the recent past: hard to beat, and honest about how far prices go.

The close is a Gaussian random walk in logs without drift. Everything else of a candle (where it opens, how
far it reaches beyond its body, its volume) comes from a candle of the same recent past, drawn anew at each
step, so that the candles are valid by construction and look like the market's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.baselines.wrapping import Array, check, wrap
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast


def historical_volatility(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 64,
) -> Forecast:
    """Random walk of the log close without drift, its volatility that of the last ``window`` returns.

    Steps are normal with mean 0; their standard deviation is the sample's (n - 1), of one-step log returns of
    the close. Shocks are drawn from numpy streams keyed by (seed, path), so a path doesn't depend on how many
    others are asked for, nor its first steps on the horizon.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of returns to take the volatility and the candles' shapes from.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, or ``seed`` negative.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    if window < 2 or seed < 0:
        raise ParameterError(f"The window is at least 2 and the seed at least 0, not {window} and {seed}.")
    recent = _Recent.of(candles.frame.iloc[-window - 1 :].to_numpy())
    shocks, donors = _draw(seed, samples, horizon, len(recent.returns))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # `wrap` refuses what is no number
        paths = recent.continue_by(recent.sigma * shocks, donors)
    used = len(recent.returns)
    short = f"The volatility is that of {used} returns, fewer than the {window} asked for."
    details = {"seed": seed, "window": window, "sigma": recent.sigma}
    notes = (short,) if used < window else ()
    return wrap(paths, candles, timestamps, "historical-volatility", details, notes)


def _draw(seed: int, samples: int, horizon: int, candles: int) -> tuple[Array, NDArray[np.int64]]:
    """Standard normal shocks and the candles to take shapes from, both `[S, H]`, two streams a path."""
    shocks = np.empty((samples, horizon))
    donors = np.empty((samples, horizon), dtype=np.int64)
    for path in range(samples):
        shocks[path] = np.random.default_rng([seed, path, 0]).standard_normal(horizon)
        donors[path] = np.random.default_rng([seed, path, 1]).random(horizon) * candles
    return shocks, donors


@dataclass(frozen=True)
class _Recent:
    """The last W candles in logs: returns, opening gaps, wicks and turnover, each `[W]`."""

    last: float
    returns: Array
    gaps: Array
    upper: Array
    lower: Array
    volume: Array
    amount_per_price: Array

    @classmethod
    def of(cls, candles: Array) -> _Recent:
        """Take them from W + 1 candles `[W + 1, 6]`."""
        logs = np.log(candles[:, :4])
        opens, highs, lows, closes = logs[1:].T
        return cls(
            last=float(logs[-1, 3]),
            returns=np.diff(logs[:, 3]),
            gaps=opens - logs[:-1, 3],
            upper=highs - np.maximum(opens, closes),
            lower=np.minimum(opens, closes) - lows,
            volume=candles[1:, 4],
            amount_per_price=candles[1:, 5] / candles[1:, :4].mean(axis=1),
        )

    @property
    def sigma(self) -> float:
        """Standard deviation (n - 1) of the log returns."""
        return float(self.returns.std(ddof=1))

    @property
    def gap_share(self) -> float:
        """Regression of the opening gap on the return: the share of a move that happens before the open."""
        spread = np.square(self.returns - self.returns.mean()).sum()
        if spread == 0:
            return 0.0
        return float(np.clip(self.gaps @ (self.returns - self.returns.mean()) / spread, 0.0, 1.0))

    def continue_by(self, returns: Array, donors: NDArray[np.int64]) -> Array:
        """Candles `[S, H, 6]` whose closes follow ``returns`` and whose shapes are those of the ``donors``.

        The donor's gap is corrected by regression for the return being another than the donor's, so that gap
        and body keep the covariance they have in the history, instead of adding up to too much.
        """
        closes = self.last + np.cumsum(returns, axis=1)
        before = closes - returns
        opens = before + self.gaps[donors] + self.gap_share * (returns - self.returns[donors])
        highs = np.maximum(opens, closes) + self.upper[donors]
        lows = np.minimum(opens, closes) - self.lower[donors]
        prices = np.exp(np.stack([opens, highs, lows, closes], axis=-1))
        amount = self.amount_per_price[donors] * prices.mean(axis=-1)
        return np.concatenate([prices, self.volume[donors][..., None], amount[..., None]], axis=-1)
