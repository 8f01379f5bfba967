"""Point forecasts: one future, repeated on every path."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.baselines.wrapping import Array, check, wrap
from kronos.candles import Candles
from kronos.forecasts import Forecast

_NOTE = "A point forecast: all paths are the same, so its bands and probabilities say nothing."


def last_value(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
) -> Forecast:
    """Everything stays as it is: all prices are the last close, volume and amount the last ones.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of (equal) paths, S.
        seed: Taken for the common signature; nothing is random here.
        timestamps: Times of the future candles; from the candles' calendar if not given.

    Returns:
        A point forecast of S equal paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1.
        DataError: If there is no candle.
    """
    check(candles, horizon, samples, least=1)
    closes = np.full(horizon, candles.frame["close"].iloc[-1])
    return wrap(_along(closes, candles, samples), candles, timestamps, "last-value", {"seed": seed}, (_NOTE,))


def drift(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
) -> Forecast:
    """The close goes on by the history's mean log return at every step.

    That is (log last close - log first close) / (candles - 1). Each candle opens at the close before it;
    volume and amount stay the last ones.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of (equal) paths, S.
        seed: Taken for the common signature; nothing is random here.
        timestamps: Times of the future candles; from the candles' calendar if not given.

    Returns:
        A point forecast of S equal paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1.
        DataError: If there are fewer than 2 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=2)
    history = candles.frame["close"].to_numpy()
    slope = (np.log(history[-1]) - np.log(history[0])) / (len(history) - 1)
    with np.errstate(over="ignore"):  # `wrap` refuses the infinities
        closes = history[-1] * np.exp(slope * np.arange(1, horizon + 1))
    details = {"seed": seed, "mean_log_return": float(slope)}
    return wrap(_along(closes, candles, samples), candles, timestamps, "drift", details, (_NOTE,))


def _along(closes: Array, candles: Candles, samples: int) -> Array:
    """Equal paths `[S, H, 6]` through the closes `[H]`, each candle opening at the close before it."""
    last = candles.frame.iloc[-1]
    opens = np.concatenate([[last["close"]], closes[:-1]])
    turnover = [np.full_like(closes, last[name]) for name in ("volume", "amount")]
    path = np.stack([opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, *turnover], axis=-1)
    return np.broadcast_to(path, (samples, *path.shape))
