"""Candles that follow moved closes: whole candles, not closes alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kronos.forecasts import Forecast

Array = NDArray[np.float64]

_LEAST, _MOST = 1 / 8, 8.0  # by how much a candle's gaps and wicks may be stretched


def move_candles(forecast: Forecast, returns: Array, opening: float = 0.0) -> Array:
    """The forecast's candles, moved to other closes.

    - The close becomes last close · exp(return).
    - A candle opens at the same distance, in logs, from the close before it as it did; the first one from the
      last known close, after ``opening`` is taken out of it.
    - Wicks keep their length in logs beyond the body.
    - Where the paths' steps spread more or less than before, gaps and wicks are stretched by the same ratio (mean
      absolute deviation of the steps from their median, after over before; between 1/8 and 8): candles keep their
      proportions. A shift of all paths alike stretches nothing.
    - The volume stays; the amount changes as the candle's mean price does.

    A candle is valid by construction: its high and low are its body's ends moved outwards.

    Args:
        forecast: Whose candles to move.
        returns: New cumulative log returns of the closes, `[S, H]`.
        opening: What to take out of the first opening gap, in logs: the tokenizer's level error.

    Returns:
        New candles `[S, H, 6]`.
    """
    opens, highs, lows, closes, volume, amount = np.moveaxis(forecast.paths, -1, 0)
    old = forecast.returns(cumulative=True)
    shift = returns - old
    if not shift.any() and opening == 0:
        return forecast.paths
    stretch = _stretch(old, returns)  # [H]
    before = np.concatenate([np.full((len(opens), 1), forecast.last_close), closes[:, :-1]], axis=1)
    gap = np.log(opens / before)
    moved = np.concatenate([np.zeros((len(opens), 1)), shift[:, :-1]], axis=1)  # of the close before
    moved[:, 0] -= stretch[0] * opening
    new_open = opens * np.exp(moved + (stretch - 1) * gap)
    new_close = closes * np.exp(shift)
    upper = np.log(highs / np.maximum(opens, closes)) * stretch
    lower = np.log(np.minimum(opens, closes) / lows) * stretch
    new_high = np.maximum(new_open, new_close) * np.exp(upper)
    new_low = np.minimum(new_open, new_close) * np.exp(-lower)
    prices = np.stack([new_open, new_high, new_low, new_close], axis=-1)
    new_amount = amount * (prices.sum(axis=-1) / (opens + highs + lows + closes))
    return np.concatenate([prices, volume[..., None], new_amount[..., None]], axis=-1)


def _stretch(old: Array, new: Array) -> Array:
    """Spread of each step's returns over the paths, new over old `[H]`; 1 where they don't differ."""
    before, after = _step_spread(old), _step_spread(new)
    ratio = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return np.clip(ratio, _LEAST, _MOST)


def _step_spread(cumulative: Array) -> Array:
    steps = np.diff(cumulative, axis=1, prepend=0.0)
    spread: Array = np.abs(steps - np.median(steps, axis=0)).mean(axis=0)
    return spread
